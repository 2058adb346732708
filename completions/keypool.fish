# keypool's completion for fish 3.1 or later. Made by: keypool completions fish
# Verbs and options stand below; only names of keys, projects, pools, models and clients are asked
# of keypool. To use it: keypool completions fish | source, or write it to
# ~/.config/fish/completions/keypool.fish

function __keypool_at
    set -g __keypool_verbs
    set -g __keypool_options
    set -g __keypool_arguments
    set -g __keypool_endless ''
    switch "$argv[1]"
        case ''
            set __keypool_verbs 'add'\t'Store a key.' 'list'\t'List keys, never their secrets.' 'show'\t'Show what is known of a key, except its secret.' 'disable'\t'Set keys aside; leases that run end by themselves.' 'enable'\t'Make keys ready again, whoever set them aside.' 'remove'\t'Remove a key and its secret; its project stays.' 'rotate'\t'Give a key another secret.' 'import'\t'Store the keys of a file, each line by itself.' 'export'\t'Write what is stored, without secrets, to be read again.' 'apply'\t'Make the registry as a TOML or YAML file declares it.' 'check'\t'Ask Gemini about keys; no generation quota is spent.' 'drain'\t'Disable keys, then wait until no lease is left.' 'reset'\t'Clear cooldowns, and tell what changed.' 'status'\t'Show who is ready and what is used of what.' 'top'\t'Watch limits, leases, queues and errors as they move.' 'explain'\t'Tell which project a request would get.' 'events'\t'Show who did what, and every refusal, the newest last.' 'doctor'\t'Examine the stores, clocks, secrets, limits and files.' 'probe'\t'Fit the token estimates to Gemini\'s own counts.' 'env'\t'Print the exports that bring SDKs to the daemon.' 'serve'\t'Run the daemon until SIGTERM or Ctrl-C.' 'simulate'\t'Run a local Gemini with real quota behaviour.' 'demo'\t'Watch all of it at work against a simulated Gemini.' 'guide'\t'Show a guide, or list them.' 'completions'\t'Print the completion script of a shell.' 'quota'\t'Limits, by project, tier and model; the most specific...' 'project'\t'Google Cloud projects: the holders of quota.' 'pool'\t'Named sets of projects, chosen from by a policy.' 'client'\t'Applications that may use the daemon, and their tokens.' 'config'\t'The settings in force.'
            set __keypool_options '--home'\t'Data folder.' '--quiet'\t'No words on stderr.' '-q'\t'No words on stderr.' '--color'\t'Colours, or none, whatever NO_COLOR says.' '--no-color'\t'Colours, or none, whatever NO_COLOR says.' '--verbose'\t'Also where it looks, and how long it takes.' '-v'\t'Also where it looks, and how long it takes.' '--debug'\t'Show tracebacks.' '--version'\t'Show it.' '--help'\t'Show help.'
        case 'add'
            set __keypool_options '--project'\t'Its Google Cloud project; made if new.' '--pool'\t'A pool to put the project in; made if new.' '--tier'\t'Usage tier of a new project.' '--priority'\t'Priority of a new project; larger is first.' '--label'\t'Repeatable.' '-l'\t'Repeatable.' '--from-stdin'\t'Read the secret from stdin.' '--from-env'\t'Read the secret from this variable.' '--from-file'\t'Read the secret from a file.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'any'
            set __keypool_endless ''
        case 'list'
            set __keypool_options '--project'\t'Only keys of this project.' '--pool'\t'Only keys in this pool.' '--state'\t'Only ready, disabled or dead ones.' '--label'\t'Repeatable.' '-l'\t'Repeatable.' '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'show'
            set __keypool_options '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'keys'
            set __keypool_endless ''
        case 'disable'
            set __keypool_options '--reason'\t'Why; goes into the audit log.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'keys'
            set __keypool_endless 'keys'
        case 'enable'
            set __keypool_options '--reason'\t'Why; goes into the audit log.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'keys'
            set __keypool_endless 'keys'
        case 'remove'
            set __keypool_options '--reason'\t'Why; goes into the audit log.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'keys'
            set __keypool_endless ''
        case 'rotate'
            set __keypool_options '--from-stdin'\t'Read the secret from stdin.' '--from-env'\t'Read the secret from this variable.' '--from-file'\t'Read the secret from a file.' '--reason'\t'Why; goes into the audit log.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'keys'
            set __keypool_endless ''
        case 'import'
            set __keypool_options '--format'\t'Where neither name nor first line tell it.' '--project'\t'For lines that name none.' '--pool'\t'For lines that name none.' '--dry-run'\t'Show the plan, and change nothing.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'files'
            set __keypool_endless ''
        case 'export'
            set __keypool_options '--format'\t'Keys as csv or jsonl, everything as toml.' '--reveal'\t'With secrets; on a terminal only, and logged.' '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'apply'
            set __keypool_options '--file'\t'The declaration; - is stdin.' '-f'\t'The declaration; - is stdin.' '--format'\t'Where the name does not tell it; else TOML.' '--prune'\t'Remove what its sections do not name; asks first.' '--dry-run'\t'Show the changes, and make none.' '--reason'\t'Why; goes into the audit log.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'check'
            set __keypool_options '--pool'\t'All keys of this pool instead.' '--all'\t'All keys instead.' '--model'\t'Count tokens with this model, too; else list models.' '--set-dead'\t'Take keys that Gemini refuses out of service.' '--reason'\t'Why; goes into the audit log.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'keys'
            set __keypool_endless 'keys'
        case 'drain'
            set __keypool_options '--project'\t'All keys of this project instead.' '--timeout'\t'Seconds to wait at most; 0 does not wait.' '--reason'\t'Why; goes into the audit log.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'keys'
            set __keypool_endless 'keys'
        case 'reset'
            set __keypool_options '--project'\t'Free one project.' '--pool'\t'Free every project of a pool; asks.' '--all'\t'Free everything; asks.' '--model'\t'On this model only.' '--counters'\t'Also empty minute windows and day counts; asks.' '--failures'\t'Also what refusals excluded or declared dead.' '--dry-run'\t'Tell, and change nothing.' '--reason'\t'Why; goes into the audit log.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'keys'
            set __keypool_endless 'keys'
        case 'status'
            set __keypool_options '--pool'\t'Only this one. Repeatable.' '--project'\t'Only this one. Repeatable.' '--model'\t'Only this one. Repeatable.' '--state'\t'Only ready, full, cooling, excluded, disabled or dead. Repeatable.' '--label'\t'Repeatable.' '-l'\t'Repeatable.' '--sort'\t'Rows by problems, project, model, rpm, tpm, rpd, leases or left.' '--watch'\t'Look again every S seconds, 2 without S, until Ctrl-C.' '--check'\t'Exit 8 when a pool has no capacity (on each --model).' '--min-ready'\t'With --check: projects needed, 1 if none is named.' '--max-used'\t'With --check: exit 8 above this share of a limit.' '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'top'
            set __keypool_options '--pool'\t'Only this one. Repeatable.' '--every'\t'Seconds between.' '--sort'\t'Rows by problems, project, model, rpm, tpm, rpd, leases or left.' '--limit'\t'Rows at most, where they are printed.' '-n'\t'Rows at most, where they are printed.' '--once'\t'One look, and end.' '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'explain'
            set __keypool_options '--model'\t'The model that is asked for.' '--pool'\t'The pool to choose from.' '--tokens'\t'Input tokens of the request.' '--requests'\t'Booked together.' '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'events'
            set __keypool_options '--kind'\t'One kind (key.added), or all of a noun (key).' '--subject'\t'About this key, project, pool or client.' '--since'\t'Not older than 90s, 15m, 2h or 3d.' '--limit'\t'The newest that many.' '-n'\t'The newest that many.' '--follow'\t'Go on as they happen.' '-f'\t'Go on as they happen.' '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'doctor'
            set __keypool_options '--offline'\t'Ask nothing of Gemini.' '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'probe'
            set __keypool_options '--model'\t'Repeatable; without it: every model in use.' '-m'\t'Repeatable; without it: every model in use.' '--check'\t'Write nothing; exit 9 when estimates have drifted.' '--all'\t'Check with all samples, not only a fixed half.' '--samples'\t'Your own texts beside the shipped ones.' '--only-samples'\t'Your own texts instead of the shipped ones.' '--pool'\t'Count with keys of this pool only.' '--offline'\t'Ask nobody: measure against stored counts.' '--tokenizer'\t'Offline: count with a tokenizer.model or .json; google for the SDK\'s own.' '--junit'\t'Write JUnit XML, too.' '--markdown'\t'Print Markdown.' '--reason'\t'Why; goes into the audit log.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'env'
            set __keypool_options '--url'\t'Where the daemon is, if it is elsewhere.' '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'serve'
            set __keypool_options '--host'\t'Where to listen.' '--port'\t'0 lets the system choose.' '--workers'\t'Processes that share the work.' '--auth'\t'Ask for tokens; not without, beyond loopback.' '--no-auth'\t'Ask for tokens; not without, beyond loopback.' '--behind-proxy'\t'A proxy before it speaks TLS.' '--tls-cert'\t'Speak TLS with this certificate (PEM).' '--tls-key'\t'Its private key (PEM, mode 0600).' '--access-log'\t'A line on stderr for each call.' '--insecure-upstream'\t'Accept http:// beyond loopback.' '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'simulate'
            set __keypool_options '--config'\t'A world as JSON or TOML.' '--host'\t'Where to listen.' '--port'\t'0 lets the system choose.' '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'demo'
            set __keypool_options '--json'\t'Print JSON.' '--keep'\t'Keep the scratch home.' '--help'\t'Show help.'
        case 'guide'
            set __keypool_options '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'quickstart concepts operating apply recipes quotas http ci'
            set __keypool_endless ''
        case 'completions'
            set __keypool_options '--write'\t'Write all three into this folder.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'bash zsh fish'
            set __keypool_endless ''
        case 'quota'
            set __keypool_verbs 'list'\t'List limits that were set or learned, or are assumed.' 'set'\t'Set limits at one scope; those not named stay.' 'unset'\t'Take back limits that were set at exactly this scope.' 'import'\t'Set limits from a table, such as AI Studio\'s.'
            set __keypool_options '--help'\t'Show help.'
        case 'quota list'
            set __keypool_options '--tier'\t'Every project of this tier.' '--project'\t'One project.' '--model'\t'One model; without it, every model.' '--defaults'\t'What keypool assumes of each tier instead.' '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'quota set'
            set __keypool_options '--tier'\t'Every project of this tier.' '--project'\t'One project.' '--model'\t'One model; without it, every model.' '--rpm'\t'0 or more, or unlimited.' '--tpm'\t'0 or more, or unlimited.' '--rpd'\t'0 or more, or unlimited.' '--in-flight'\t'0 or more, or unlimited.' '--reason'\t'Why; goes into the audit log.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'quota unset'
            set __keypool_options '--tier'\t'Every project of this tier.' '--project'\t'One project.' '--model'\t'One model; without it, every model.' '--rpm'\t'Only this limit.' '--tpm'\t'Only this limit.' '--rpd'\t'Only this limit.' '--in-flight'\t'Only this limit.' '--learned'\t'What refusals taught instead.' '--reason'\t'Why; goes into the audit log.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'quota import'
            set __keypool_options '--tier'\t'Set them for this tier.' '--project'\t'Set them for this project.' '--seen'\t'When Google showed this; else today.' '--dry-run'\t'Show the limits, and set none.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'files'
            set __keypool_endless ''
        case 'project'
            set __keypool_verbs 'list'\t'List projects.' 'show'\t'Show a project, its pools and keys.' 'set'\t'Change what is named; the rest stays.' 'remove'\t'Remove a project with its limits.'
            set __keypool_options '--help'\t'Show help.'
        case 'project list'
            set __keypool_options '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'project show'
            set __keypool_options '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'projects'
            set __keypool_endless ''
        case 'project set'
            set __keypool_options '--tier'\t'Usage tier; `none` clears it.' '--priority'\t'Larger is chosen first.' '--billing-account'\t'Its billing account; `none` clears it.' '--egress-proxy'\t'Proxy its calls leave through; `-` reads it from stdin, `none` clears it.' '--label'\t'Repeatable.' '-l'\t'Repeatable.' '--enable'\t'Whether it may be used.' '--disable'\t'Whether it may be used.' '--create'\t'Make the project first.' '--reason'\t'Why; goes into the audit log.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'projects'
            set __keypool_endless ''
        case 'project remove'
            set __keypool_options '--with-keys'\t'Its keys too.' '--reason'\t'Why; goes into the audit log.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'projects'
            set __keypool_endless ''
        case 'pool'
            set __keypool_verbs 'list'\t'List pools.' 'show'\t'Show a pool and its projects.' 'set'\t'Change what is named; the rest stays.' 'remove'\t'Remove a pool; its projects and keys stay.'
            set __keypool_options '--help'\t'Show help.'
        case 'pool list'
            set __keypool_options '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'pool show'
            set __keypool_options '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'pools'
            set __keypool_endless ''
        case 'pool set'
            set __keypool_options '--policy'\t'Most headroom first, or the least that fits.' '--wait'\t'Seconds a request waits by default.' '--add-project'\t'Repeatable.' '--remove-project'\t'Repeatable.' '--shared-resources'\t'Whether clients may use each other\'s files, caches and batches.' '--own-resources'\t'Whether clients may use each other\'s files, caches and batches.' '--create'\t'Make the pool first.' '--reason'\t'Why; goes into the audit log.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'pools'
            set __keypool_endless ''
        case 'pool remove'
            set __keypool_options '--reason'\t'Why; goes into the audit log.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'pools'
            set __keypool_endless ''
        case 'client'
            set __keypool_verbs 'add'\t'Add an application.' 'list'\t'List applications, never their tokens.' 'revoke'\t'Refuse a client\'s token from now on.'
            set __keypool_options '--help'\t'Show help.'
        case 'client add'
            set __keypool_options '--pool'\t'A pool it may use; else all. Repeatable.' '--model'\t'A model it may use; else all. Repeatable.' '--scope'\t'Of lease, proxy, read, admin; lease and proxy if none is named.' '--rpm'\t'Its requests a minute and model.' '--tpm'\t'Its tokens a minute and model.' '--reports'\t'usage: its errors cool and disable nothing.' '--expires'\t'When its token ends.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'any'
            set __keypool_endless ''
        case 'client list'
            set __keypool_options '--json'\t'Print JSON.' '--help'\t'Show help.'
        case 'client revoke'
            set __keypool_options '--reason'\t'Why; goes into the audit log.' '--yes'\t'Do not ask.' '-y'\t'Do not ask.' '--json'\t'Print JSON.' '--help'\t'Show help.'
            set __keypool_arguments 'clients'
            set __keypool_endless ''
        case 'config'
            set __keypool_verbs 'show'\t'Show each setting and where it was set.'
            set __keypool_options '--help'\t'Show help.'
        case 'config show'
            set __keypool_options '--json'\t'Print JSON.' '--help'\t'Show help.'
    end
end

function __keypool_holds
    set -g __keypool_kind ''
    switch "$argv[1]"
        case 'client add --reports'
            set __keypool_kind 'all usage'
        case 'add --priority' 'add --label' 'add -l' 'add --from-env' 'list --label' 'list -l' 'disable --reason' 'enable --reason' 'remove --reason' 'rotate --from-env' 'rotate --reason' 'apply --reason' 'check --reason' 'drain --timeout' 'drain --reason' 'reset --reason' 'status --label' 'status -l' 'status --sort' 'status --watch' 'status --min-ready' 'status --max-used' 'top --every' 'top --sort' 'top --limit' 'top -n' 'explain --tokens' 'explain --requests' 'events --kind' 'events --subject' 'events --since' 'events --limit' 'events -n' 'probe --tokenizer' 'probe --reason' 'env --url' 'serve --host' 'serve --port' 'serve --workers' 'serve --tls-cert' 'serve --tls-key' 'serve --access-log' 'simulate --host' 'simulate --port' 'quota set --rpm' 'quota set --tpm' 'quota set --rpd' 'quota set --in-flight' 'quota set --reason' 'quota unset --reason' 'quota import --seen' 'project set --priority' 'project set --billing-account' 'project set --egress-proxy' 'project set --label' 'project set -l' 'project set --reason' 'project remove --reason' 'pool set --wait' 'pool set --reason' 'pool remove --reason' 'client add --scope' 'client add --rpm' 'client add --tpm' 'client add --expires' 'client revoke --reason'
            set __keypool_kind 'any'
        case 'import --format'
            set __keypool_kind 'csv jsonl env'
        case 'export --format'
            set __keypool_kind 'csv jsonl toml'
        case 'add --from-file' 'rotate --from-file' 'apply --file' 'apply -f' 'probe --junit' 'simulate --config'
            set __keypool_kind 'files'
        case ' --home' 'probe --samples' 'completions --write'
            set __keypool_kind 'folders'
        case 'add --tier' 'quota list --tier' 'quota set --tier' 'quota unset --tier' 'quota import --tier' 'project set --tier'
            set __keypool_kind 'free tier1 tier2 tier3'
        case 'check --model' 'reset --model' 'status --model' 'explain --model' 'probe --model' 'probe -m' 'quota list --model' 'quota set --model' 'quota unset --model' 'client add --model'
            set __keypool_kind 'models'
        case 'add --pool' 'list --pool' 'import --pool' 'check --pool' 'reset --pool' 'status --pool' 'top --pool' 'explain --pool' 'probe --pool' 'client add --pool'
            set __keypool_kind 'pools'
        case 'add --project' 'list --project' 'import --project' 'drain --project' 'reset --project' 'status --project' 'quota list --project' 'quota set --project' 'quota unset --project' 'quota import --project' 'pool set --add-project' 'pool set --remove-project'
            set __keypool_kind 'projects'
        case 'list --state' 'status --state'
            set __keypool_kind 'ready full cooling excluded disabled dead'
        case 'pool set --policy'
            set __keypool_kind 'spread pack'
        case 'apply --format'
            set __keypool_kind 'toml yaml'
    end
end

function __keypool_values
    switch "$argv[1]"
        case any ''
        case files
            __fish_complete_path "$argv[2]"
        case folders
            __fish_complete_directories "$argv[2]"
        case keys projects pools models clients
            command $__keypool_command __complete $argv[1] "$argv[2]" "$__keypool_home" 2>/dev/null
        case '*'
            string split ' ' -- $argv[1]
    end
end

function __keypool_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -g __keypool_command $words[1]
    set -g __keypool_home ''
    set -l path ''
    set -l count 1
    set -l option ''
    set -l i 2
    __keypool_at ''
    while test $i -le (count $words)
        set -l word $words[$i]
        set option ''
        if string match -q -- '-?*' $word
            if not string match -q -- '*=*' $word
                __keypool_holds "$path $word"
                if test -n "$__keypool_kind"
                    set i (math $i + 1)
                    if test $i -gt (count $words)
                        set option $word
                    else if test $word = --home
                        set __keypool_home $words[$i]
                    end
                end
            end
        else if string match -q -- $word\t'*' $__keypool_verbs
            set path (string trim -- "$path $word")
            __keypool_at "$path"
        else
            set count (math $count + 1)
        end
        set i (math $i + 1)
    end
    if test -n "$option"
        __keypool_holds "$path $option"
        __keypool_values "$__keypool_kind" "$current"
    else if string match -q -- '--*=*' $current
        set -l parts (string split -m 1 = -- $current)
        __keypool_holds "$path $parts[1]"
        for value in (__keypool_values "$__keypool_kind" "$parts[2]")
            echo "$parts[1]=$value"
        end
    else if string match -q -- '-*' $current
        printf '%s\n' $__keypool_options
    else if set -q __keypool_verbs[1]
        printf '%s\n' $__keypool_verbs
    else
        set -l holds $__keypool_arguments[$count]
        test -z "$holds"; and set holds $__keypool_endless
        __keypool_values "$holds" "$current"
    end
end

complete -c keypool -f -a '(__keypool_complete)'
