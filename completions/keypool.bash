# keypool's completion for bash 3.2 or later. Made by: keypool completions bash
# Verbs and options stand below; only names of keys, projects, pools, models and clients are asked
# of keypool. To use it: eval "$(keypool completions bash)", or put it where bash-completion looks.

_keypool_at() {
  case "$1" in
  '')
    _keypool_verbs='add list show disable enable remove rotate import export apply check drain reset status top explain events doctor probe env serve simulate demo guide completions quota project pool client config'
    _keypool_options='--home --quiet -q --color --no-color --verbose -v --debug --version --help'
    _keypool_arguments=() _keypool_endless='' ;;
  add)
    _keypool_verbs=''
    _keypool_options='--project --pool --tier --priority --label -l --from-stdin --from-env --from-file --yes -y --json --help'
    _keypool_arguments=(any) _keypool_endless='' ;;
  list)
    _keypool_verbs=''
    _keypool_options='--project --pool --state --label -l --json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  show)
    _keypool_verbs=''
    _keypool_options='--json --help'
    _keypool_arguments=(keys) _keypool_endless='' ;;
  disable)
    _keypool_verbs=''
    _keypool_options='--reason --yes -y --json --help'
    _keypool_arguments=(keys) _keypool_endless=keys ;;
  enable)
    _keypool_verbs=''
    _keypool_options='--reason --yes -y --json --help'
    _keypool_arguments=(keys) _keypool_endless=keys ;;
  remove)
    _keypool_verbs=''
    _keypool_options='--reason --yes -y --json --help'
    _keypool_arguments=(keys) _keypool_endless='' ;;
  rotate)
    _keypool_verbs=''
    _keypool_options='--from-stdin --from-env --from-file --reason --yes -y --json --help'
    _keypool_arguments=(keys) _keypool_endless='' ;;
  import)
    _keypool_verbs=''
    _keypool_options='--format --project --pool --dry-run --yes -y --json --help'
    _keypool_arguments=(files) _keypool_endless='' ;;
  export)
    _keypool_verbs=''
    _keypool_options='--format --reveal --json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  apply)
    _keypool_verbs=''
    _keypool_options='--file -f --format --prune --dry-run --reason --yes -y --json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  check)
    _keypool_verbs=''
    _keypool_options='--pool --all --model --set-dead --reason --yes -y --json --help'
    _keypool_arguments=(keys) _keypool_endless=keys ;;
  drain)
    _keypool_verbs=''
    _keypool_options='--project --timeout --reason --yes -y --json --help'
    _keypool_arguments=(keys) _keypool_endless=keys ;;
  reset)
    _keypool_verbs=''
    _keypool_options='--project --pool --all --model --counters --failures --dry-run --reason --yes -y --json --help'
    _keypool_arguments=(keys) _keypool_endless=keys ;;
  status)
    _keypool_verbs=''
    _keypool_options='--pool --project --model --state --label -l --sort --watch --check --min-ready --max-used --json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  top)
    _keypool_verbs=''
    _keypool_options='--pool --every --sort --limit -n --once --json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  explain)
    _keypool_verbs=''
    _keypool_options='--model --pool --tokens --requests --json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  events)
    _keypool_verbs=''
    _keypool_options='--kind --subject --since --limit -n --follow -f --json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  doctor)
    _keypool_verbs=''
    _keypool_options='--offline --json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  probe)
    _keypool_verbs=''
    _keypool_options='--model -m --check --all --samples --only-samples --pool --offline --tokenizer --junit --markdown --reason --yes -y --json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  env)
    _keypool_verbs=''
    _keypool_options='--url --json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  serve)
    _keypool_verbs=''
    _keypool_options='--host --port --workers --auth --no-auth --behind-proxy --tls-cert --tls-key --access-log --insecure-upstream --json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  simulate)
    _keypool_verbs=''
    _keypool_options='--config --host --port --json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  demo)
    _keypool_verbs=''
    _keypool_options='--json --keep --help'
    _keypool_arguments=() _keypool_endless='' ;;
  guide)
    _keypool_verbs=''
    _keypool_options='--json --help'
    _keypool_arguments=('quickstart concepts operating apply recipes quotas http ci') _keypool_endless='' ;;
  completions)
    _keypool_verbs=''
    _keypool_options='--write --json --help'
    _keypool_arguments=('bash zsh fish') _keypool_endless='' ;;
  quota)
    _keypool_verbs='list set unset import'
    _keypool_options=--help
    _keypool_arguments=() _keypool_endless='' ;;
  'quota list')
    _keypool_verbs=''
    _keypool_options='--tier --project --model --defaults --json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  'quota set')
    _keypool_verbs=''
    _keypool_options='--tier --project --model --rpm --tpm --rpd --in-flight --reason --yes -y --json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  'quota unset')
    _keypool_verbs=''
    _keypool_options='--tier --project --model --rpm --tpm --rpd --in-flight --learned --reason --yes -y --json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  'quota import')
    _keypool_verbs=''
    _keypool_options='--tier --project --seen --dry-run --yes -y --json --help'
    _keypool_arguments=(files) _keypool_endless='' ;;
  project)
    _keypool_verbs='list show set remove'
    _keypool_options=--help
    _keypool_arguments=() _keypool_endless='' ;;
  'project list')
    _keypool_verbs=''
    _keypool_options='--json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  'project show')
    _keypool_verbs=''
    _keypool_options='--json --help'
    _keypool_arguments=(projects) _keypool_endless='' ;;
  'project set')
    _keypool_verbs=''
    _keypool_options='--tier --priority --billing-account --egress-proxy --label -l --enable --disable --create --reason --yes -y --json --help'
    _keypool_arguments=(projects) _keypool_endless='' ;;
  'project remove')
    _keypool_verbs=''
    _keypool_options='--with-keys --reason --yes -y --json --help'
    _keypool_arguments=(projects) _keypool_endless='' ;;
  pool)
    _keypool_verbs='list show set remove'
    _keypool_options=--help
    _keypool_arguments=() _keypool_endless='' ;;
  'pool list')
    _keypool_verbs=''
    _keypool_options='--json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  'pool show')
    _keypool_verbs=''
    _keypool_options='--json --help'
    _keypool_arguments=(pools) _keypool_endless='' ;;
  'pool set')
    _keypool_verbs=''
    _keypool_options='--policy --wait --add-project --remove-project --shared-resources --own-resources --create --reason --yes -y --json --help'
    _keypool_arguments=(pools) _keypool_endless='' ;;
  'pool remove')
    _keypool_verbs=''
    _keypool_options='--reason --yes -y --json --help'
    _keypool_arguments=(pools) _keypool_endless='' ;;
  client)
    _keypool_verbs='add list revoke'
    _keypool_options=--help
    _keypool_arguments=() _keypool_endless='' ;;
  'client add')
    _keypool_verbs=''
    _keypool_options='--pool --model --scope --rpm --tpm --reports --expires --yes -y --json --help'
    _keypool_arguments=(any) _keypool_endless='' ;;
  'client list')
    _keypool_verbs=''
    _keypool_options='--json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  'client revoke')
    _keypool_verbs=''
    _keypool_options='--reason --yes -y --json --help'
    _keypool_arguments=(clients) _keypool_endless='' ;;
  config)
    _keypool_verbs=show
    _keypool_options=--help
    _keypool_arguments=() _keypool_endless='' ;;
  'config show')
    _keypool_verbs=''
    _keypool_options='--json --help'
    _keypool_arguments=() _keypool_endless='' ;;
  *) _keypool_verbs='' _keypool_options='' _keypool_arguments=() _keypool_endless='' ;;
  esac
}

_keypool_holds() {
  case "$1" in
  'client add --reports')
    _keypool_kind='all usage' ;;
  'add --priority' | 'add --label' | 'add -l' | 'add --from-env' | 'list --label' | 'list -l' | 'disable --reason' | 'enable --reason' | 'remove --reason' | 'rotate --from-env' | 'rotate --reason' | 'apply --reason' | 'check --reason' | 'drain --timeout' | 'drain --reason' | 'reset --reason' | 'status --label' | 'status -l' | 'status --sort' | 'status --watch' | 'status --min-ready' | 'status --max-used' | 'top --every' | 'top --sort' | 'top --limit' | 'top -n' | 'explain --tokens' | 'explain --requests' | 'events --kind' | 'events --subject' | 'events --since' | 'events --limit' | 'events -n' | 'probe --tokenizer' | 'probe --reason' | 'env --url' | 'serve --host' | 'serve --port' | 'serve --workers' | 'serve --tls-cert' | 'serve --tls-key' | 'serve --access-log' | 'simulate --host' | 'simulate --port' | 'quota set --rpm' | 'quota set --tpm' | 'quota set --rpd' | 'quota set --in-flight' | 'quota set --reason' | 'quota unset --reason' | 'quota import --seen' | 'project set --priority' | 'project set --billing-account' | 'project set --egress-proxy' | 'project set --label' | 'project set -l' | 'project set --reason' | 'project remove --reason' | 'pool set --wait' | 'pool set --reason' | 'pool remove --reason' | 'client add --scope' | 'client add --rpm' | 'client add --tpm' | 'client add --expires' | 'client revoke --reason')
    _keypool_kind=any ;;
  'import --format')
    _keypool_kind='csv jsonl env' ;;
  'export --format')
    _keypool_kind='csv jsonl toml' ;;
  'add --from-file' | 'rotate --from-file' | 'apply --file' | 'apply -f' | 'probe --junit' | 'simulate --config')
    _keypool_kind=files ;;
  ' --home' | 'probe --samples' | 'completions --write')
    _keypool_kind=folders ;;
  'add --tier' | 'quota list --tier' | 'quota set --tier' | 'quota unset --tier' | 'quota import --tier' | 'project set --tier')
    _keypool_kind='free tier1 tier2 tier3' ;;
  'check --model' | 'reset --model' | 'status --model' | 'explain --model' | 'probe --model' | 'probe -m' | 'quota list --model' | 'quota set --model' | 'quota unset --model' | 'client add --model')
    _keypool_kind=models ;;
  'add --pool' | 'list --pool' | 'import --pool' | 'check --pool' | 'reset --pool' | 'status --pool' | 'top --pool' | 'explain --pool' | 'probe --pool' | 'client add --pool')
    _keypool_kind=pools ;;
  'add --project' | 'list --project' | 'import --project' | 'drain --project' | 'reset --project' | 'status --project' | 'quota list --project' | 'quota set --project' | 'quota unset --project' | 'quota import --project' | 'pool set --add-project' | 'pool set --remove-project')
    _keypool_kind=projects ;;
  'list --state' | 'status --state')
    _keypool_kind='ready full cooling excluded disabled dead' ;;
  'pool set --policy')
    _keypool_kind='spread pack' ;;
  'apply --format')
    _keypool_kind='toml yaml' ;;
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
