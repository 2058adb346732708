# keypool's completion for bash 3.2 or later. Made by: keypool completions bash
# Verbs and options stand below; only names of keys, projects, pools, models and clients are asked
# of keypool. To use it: eval "$(keypool completions bash)", or put it where bash-completion looks.

_keypool_at() {
  case "$1" in
@TABLE@
  *) _keypool_verbs='' _keypool_options='' _keypool_arguments=() _keypool_endless='' ;;
  esac
}

_keypool_holds() {
  case "$1" in
@HOLDS@
  *) _keypool_kind='' ;;
  esac
}

_keypool_names() {
  local name
  while IFS= read -r name; do
    printf -v name %q "$name"
    COMPREPLY+=("$name")
  done < <("${COMP_WORDS[0]}" __complete "$1" "$2" "$_keypool_home" 2>/dev/null)
}

_keypool_values() {
  case "$1" in
  any | '') ;;
  files) COMPREPLY=($(compgen -f -- "$2")); compopt -o filenames 2>/dev/null ;;
  folders) COMPREPLY=($(compgen -d -- "$2")); compopt -o filenames 2>/dev/null ;;
  keys | projects | pools | models | clients) _keypool_names "$1" "$2" ;;
  *) COMPREPLY=($(compgen -W "$1" -- "$2")) ;;
  esac
}

_keypool() {
  local IFS=$' \t\n' current="${COMP_WORDS[COMP_CWORD]}" path='' count=0 option='' word i=1
  local _keypool_verbs _keypool_options _keypool_endless _keypool_kind _keypool_home=''
  local -a _keypool_arguments
  COMPREPLY=()
  _keypool_at ''
  while ((i < COMP_CWORD)); do
    word="${COMP_WORDS[i]}"
    option=''
    case "$word" in
    -?*)
      _keypool_holds "$path $word"
      if [[ -n $_keypool_kind ]]; then
        [[ ${COMP_WORDS[i + 1]} == '=' ]] && ((i++))
        ((i++))
        [[ $word == --home && i -lt COMP_CWORD ]] && _keypool_home="${COMP_WORDS[i]}"
        ((i >= COMP_CWORD)) && option="$word"
      fi
      ;;
    *)
      if [[ " $_keypool_verbs " == *" $word "* ]]; then
        path="${path:+$path }$word"
        _keypool_at "$path"
      else
        ((count++))
      fi
      ;;
    esac
    ((i++))
  done
  [[ $current == '=' ]] && current=''
  if [[ -n $option ]]; then
    _keypool_holds "$path $option"
    _keypool_values "$_keypool_kind" "$current"
  elif [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$_keypool_options" -- "$current"))
  elif [[ -n $_keypool_verbs ]]; then
    COMPREPLY=($(compgen -W "$_keypool_verbs" -- "$current"))
  else
    word="${_keypool_arguments[count]}"
    [[ -z $word && -n $_keypool_endless ]] && word="$_keypool_endless"
    _keypool_values "$word" "$current"
  fi
}

complete -F _keypool keypool
