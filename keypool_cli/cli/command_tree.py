"""The command line as data: every verb, what it takes, and what may stand there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args, get_origin

import typer.main

from keypool_cli.cli.guide import TOPICS
from keypool_cli.core.tiers import FREE, TIER_1, TIER_2, TIER_3
from keypool_cli.service.standing import STATES

NOTHING, ANYTHING, FILES, FOLDERS = "", "any", "files", "folders"
"""What follows: no value at all, a value that nobody can guess, a file, a folder."""

NAMES = ("keys", "projects", "pools", "models", "clients")
"""What is asked of the registry; anything else is a list of words."""

_HOLDS = {
    "key": "keys",
    "project": "projects",
    "add_project": "projects",
    "remove_project": "projects",
    "pool": "pools",
    "model": "models",
    "client": "clients",
    "file": FILES,
    "from_file": FILES,
    "config": FILES,
    "junit": FILES,
    "home": FOLDERS,
    "write": FOLDERS,
    "samples": FOLDERS,
    "topic": " ".join(TOPICS),
    "tier": f"{FREE} {TIER_1} {TIER_2} {TIER_3}",
    "state": " ".join(STATES),
}


@dataclass(frozen=True, slots=True)
class Option:
    """An option: its spellings, its help in one line, and what follows it."""

    spellings: tuple[str, ...]
    help: str
    holds: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: the words that call it after ``keypool``, and what may come next.

    verbs: name to help, of a noun. arguments: what each holds; endless: the last one repeats.
    """

    path: str
    verbs: Mapping[str, str]
    options: Sequence[Option]
    arguments: Sequence[str]
    endless: bool


def entries(app: typer.Typer) -> list[Entry]:
    """Every command that is not hidden, ``keypool`` itself first."""
    return list(_entries(typer.main.get_command(app), ""))


def holders(tree: Sequence[Entry]) -> dict[str, list[str]]:
    """By what they hold: the options that take a value, each as ``'VERB --option'``, quoted."""
    found: dict[str, list[str]] = {}
    for entry in tree:
        for option in entry.options:
            for word in option.spellings if option.holds != NOTHING else ():
                found.setdefault(option.holds, []).append(f"'{entry.path} {word}'")
    return dict(sorted(found.items()))


def _entries(command: object, path: str) -> Iterator[Entry]:
    below: Mapping[str, object] = getattr(command, "commands", {})
    shown = {name: each for name, each in below.items() if not getattr(each, "hidden", False)}
    params = list(getattr(command, "params", ()))
    arguments = [each for each in params if each.param_type_name == "argument"]
    yield Entry(
        path=path,
        verbs={name: _summary(each) for name, each in shown.items()},
        options=[*map(_option, (p for p in params if p not in arguments)), _HELP],
        arguments=[_holds(each) for each in arguments],
        endless=any(each.nargs == -1 for each in arguments),
    )
    for name, each in shown.items():
        yield from _entries(each, f"{path} {name}".strip())


_HELP = Option(("--help",), "Show help.", NOTHING)


def _summary(command: object) -> str:
    return str(getattr(command, "get_short_help_str")(limit=58))  # noqa: B009  # Click's, untyped


def _option(param: object) -> Option:
    spellings = (*getattr(param, "opts", ()), *getattr(param, "secondary_opts", ()))
    flag = getattr(param, "is_flag", False) or getattr(param, "count", False)
    text = str(getattr(param, "help", None) or "")
    return Option(tuple(spellings), text, NOTHING if flag else _holds(param))


def _holds(param: object) -> str:
    choices = _choices(getattr(getattr(param, "type_descriptor", None), "annotation", None))
    return " ".join(choices) or _HOLDS.get(str(getattr(param, "name", "")), ANYTHING)


def _choices(annotation: object) -> list[str]:
    """The words of a Literal, alone or in a union."""
    inner = get_args(annotation)
    if get_origin(annotation) is Literal:
        return [str(each) for each in inner]
    return [word for each in inner for word in _choices(each)]
