"""The parts of ``completion.zsh`` that the command line decides."""

from collections.abc import Sequence

from keypool_cli.cli.command_tree import Entry


def case(entry: Entry) -> str:
    """What may follow at one place of the command line."""
    verbs = [f"{name}:{text}" for name, text in entry.verbs.items()]
    options = [f"{word}:{each.help}" for each in entry.options for word in each.spellings]
    endless = entry.arguments[-1] if entry.endless else ""
    return (
        f"  {_quoted(entry.path)})\n"
        f"    verbs=({' '.join(map(_quoted, verbs))})\n"
        f"    options=({' '.join(map(_quoted, options))})\n"
        f"    arguments=({' '.join(map(_quoted, entry.arguments))}) endless={_quoted(endless)} ;;"
    )


def holding(kind: str, places: Sequence[str]) -> str:
    """What kind of value follows these options."""
    return f"  {' | '.join(places)}) holds={_quoted(kind)} ;;"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
