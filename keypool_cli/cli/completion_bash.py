"""The parts of ``completion.bash`` that the command line decides."""

import shlex
from collections.abc import Sequence

from keypool_cli.cli.command_tree import Entry


def case(entry: Entry) -> str:
    """What may follow at one place of the command line."""
    options = " ".join(word for each in entry.options for word in each.spellings)
    arguments = " ".join(shlex.quote(each) for each in entry.arguments)
    endless = shlex.quote(entry.arguments[-1]) if entry.endless else "''"
    return (
        f"  {shlex.quote(entry.path)})\n"
        f"    _keypool_verbs={shlex.quote(' '.join(entry.verbs))}\n"
        f"    _keypool_options={shlex.quote(options)}\n"
        f"    _keypool_arguments=({arguments}) _keypool_endless={endless} ;;"
    )


def holding(kind: str, places: Sequence[str]) -> str:
    """What kind of value follows these options."""
    return f"  {' | '.join(places)})\n    _keypool_kind={shlex.quote(kind)} ;;"
