"""What a person at ``top`` has chosen, and what each key does to that."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from keypool_cli.cli.status_text import ORDERS, Row
from keypool_cli.cli.top_keys import NAMES

RowId = tuple[str, str]
"""A project's name and a model's, empty for none."""


@dataclass(frozen=True, slots=True)
class State:
    """The person's choices.

    wanted: text that rows must hold. typing: whether keys go into it. chosen: the row pointed at.
    opened: a project that is shown alone. done: the person has quit.
    """

    sort: str = "problems"
    wanted: str = ""
    typing: bool = False
    paused: bool = False
    chosen: RowId | None = None
    opened: str | None = None
    done: bool = False


def row_id(row: Row) -> RowId:
    """What a row is known by while its place changes."""
    return row[0].project, row[1].model if row[1] is not None else ""


def matching(rows: Sequence[Row], wanted: str) -> list[Row]:
    """Rows whose project, model, state or keys hold the text, whatever its case."""
    text = wanted.casefold()
    if not text:
        return list(rows)
    return [
        row
        for row in rows
        if any(text in each.casefold() for each in (*row_id(row), row[2]))
        or any(text in key.name.casefold() for key in row[0].keys)
    ]


def place(rows: Sequence[Row], chosen: RowId | None) -> int:
    """Where the chosen row is; the first where it is no longer."""
    return next((index for index, row in enumerate(rows) if row_id(row) == chosen), 0)


def press(state: State, key: str, rows: Sequence[Row], *, page: int) -> State:
    """What a key makes of the choices. rows: those now shown, in their order; page: how many fit."""
    if state.typing:
        return _typed(state, key)
    name = NAMES.get(key, "")
    return _switched(state, name) or _moved(state, name, rows, page)


def _switched(state: State, name: str) -> State | None:
    """What keys do that have nothing to do with the rows; None for other keys."""
    match name:
        case "quit":
            return replace(state, done=True)
        case "sort" | "sort back":
            return replace(state, sort=_next_order(state.sort, 1 if name == "sort" else -1))
        case "filter":
            return replace(state, typing=True, opened=None)
        case "pause":
            return replace(state, paused=not state.paused)
        case "escape":
            return _back(state)
        case _:
            return None


def _typed(state: State, key: str) -> State:
    match NAMES.get(key):
        case "enter":
            return replace(state, typing=False)
        case "escape":
            return replace(state, typing=False, wanted="")
        case "rub out":
            return replace(state, wanted=state.wanted[:-1])
        case _:
            wanted = state.wanted + key if key.isprintable() else state.wanted
            return replace(state, wanted=wanted)


def _back(state: State) -> State:
    if state.opened is not None:
        return replace(state, opened=None)
    return replace(state, wanted="")


def _next_order(order: str, step: int) -> str:
    names = list(ORDERS)
    return names[(names.index(order) + step) % len(names)]


def _moved(state: State, name: str, rows: Sequence[Row], page: int) -> State:
    if not rows:
        return state
    at = place(rows, state.chosen)
    if name == "enter":
        return replace(state, chosen=row_id(rows[at]), opened=rows[at][0].project)
    steps = {"up": -1, "down": 1, "page up": -page, "page down": page}
    steps |= {"first": -len(rows), "last": len(rows)}
    if name not in steps:
        return state
    # The first step points at the first row: none was pointed at.
    moved = at if name == "down" and state.chosen is None else at + steps[name]
    return replace(state, chosen=row_id(rows[min(max(moved, 0), len(rows) - 1)]), opened=None)
