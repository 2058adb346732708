"""The parts of ``completion.fish`` that the command line decides."""

from collections.abc import Sequence

from keypool_cli.cli.command_tree import Entry


def case(entry: Entry) -> str:
    """What may follow at one place of the command line."""
    verbs = [f"{_quoted(name)}\\t{_quoted(text)}" for name, text in entry.verbs.items()]
    options = [
        f"{_quoted(word)}\\t{_quoted(each.help)}"
        for each in entry.options
        for word in each.spellings
    ]
    endless = entry.arguments[-1] if entry.endless else ""
    lines = [f"        case {_quoted(entry.path)}"]
    if verbs:
        lines.append(f"            set __keypool_verbs {' '.join(verbs)}")
    lines.append(f"            set __keypool_options {' '.join(options)}")
    if entry.arguments:
        arguments = " ".join(map(_quoted, entry.arguments))
        lines.append(f"            set __keypool_arguments {arguments}")
        lines.append(f"            set __keypool_endless {_quoted(endless)}")
    return "\n".join(lines)


def holding(kind: str, places: Sequence[str]) -> str:
    """What kind of value follows these options."""
    return f"        case {' '.join(places)}\n            set __keypool_kind {_quoted(kind)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
