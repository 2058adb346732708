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
@TABLE@
    end
end

function __keypool_holds
    set -g __keypool_kind ''
    switch "$argv[1]"
@HOLDS@
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
