#compdef keypool
# keypool's completion for zsh. Made by: keypool completions zsh
# Verbs and options stand below; only names of keys, projects, pools, models and clients are asked
# of keypool. To use it: keypool completions --write DIR, with DIR in fpath before compinit runs.

_keypool_at() {
  verbs=() options=() arguments=() endless=''
  case "$1" in
@TABLE@
  esac
}

_keypool_holds() {
  case "$1" in
@HOLDS@
  *) holds='' ;;
  esac
}

_keypool_values() {
  case "$1" in
  any | '') return 1 ;;
  files) _files ;;
  folders) _files -/ ;;
  keys | projects | pools | models | clients)
    local -a names
    names=("${(@f)$("${(Q)words[1]}" __complete "$1" "${(Q)PREFIX}" "$home" 2>/dev/null)}")
    names=(${names:#})
    compadd -a names
    ;;
  *) compadd -- ${=1} ;;
  esac
}

_keypool() {
  local path_='' word holds option='' endless home=''
  local -a verbs options arguments
  local -i i=2 count=1
  _keypool_at ''
  while ((i < CURRENT)); do
    word="${words[i]}" option=''
    case "$word" in
    -?*)
      if [[ $word != *=* ]]; then
        _keypool_holds "$path_ $word"
        if [[ -n $holds ]]; then
          ((i += 1))
          ((i >= CURRENT)) && option="$word"
          [[ $word == --home && $i -lt $CURRENT ]] && home="${(Q)words[i]}"
        fi
      fi
      ;;
    *)
      if ((${#verbs[(r)$word:*]})); then
        path_="${path_:+$path_ }$word"
        _keypool_at "$path_"
      else
        ((count += 1))
      fi
      ;;
    esac
    ((i += 1))
  done
  if [[ -z $option && ${words[CURRENT]} == --*=* ]]; then
    option="${words[CURRENT]%%=*}"
    compset -P '*='
  fi
  if [[ -n $option ]]; then
    _keypool_holds "$path_ $option"
    _keypool_values "$holds"
  elif [[ ${words[CURRENT]} == -* ]]; then
    _describe -o 'option' options
  elif ((${#verbs})); then
    _describe 'verb' verbs
  else
    word="${arguments[count]}"
    [[ -z $word ]] && word="$endless"
    _keypool_values "$word"
  fi
}

if [[ $funcstack[1] == _keypool ]]; then
  _keypool "$@"
else
  compdef _keypool keypool
fi
