"""What commands print: data on stdout, words on stderr.

A table on a terminal, tab-separated lines without a header when piped, JSON where asked.
"""

import select
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from keypool_cli.cli.wiring import session

if TYPE_CHECKING:
    from msgspec import Struct
    from rich.console import Console

SCHEMA = 1
"""Version of what ``--json`` prints."""


def on_terminal() -> bool:
    """Whether stdout is read by a person."""
    return sys.stdout.isatty()


def clean(text: str) -> str:
    """``text`` on one line and without control characters, which could steer a terminal."""
    if text.isprintable():  # nearly always, and a hundred times as fast
        return text
    return "".join(c if c.isprintable() else " " for c in text)


def reader_gone() -> bool:
    """Whether nobody reads stdout any more, as behind ``| head``."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors are told without being asked for
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _clean_cells(text: str) -> str:
    if text.replace("\t", "").isprintable():
        return text
    return "\t".join(map(clean, text.split("\t")))


def say(ctx: typer.Context, text: str) -> None:
    """Tell the person something, unless they asked for quiet."""
    if not session(ctx).quiet:
        sys.stderr.write(clean(text) + "\n")


def hint(ctx: typer.Context, text: str | None) -> None:
    """Name what to do next, if there is anything."""
    if text is not None:
        say(ctx, f"hint: {text}")


def line(text: str) -> None:
    """Print one line of data, at once: whoever follows must not wait for a full buffer."""
    lines([text])


def lines(texts: Iterable[str]) -> None:
    """Print lines of data together."""
    sys.stdout.write("".join(f"{_clean_cells(text)}\n" for text in texts))
    sys.stdout.flush()


def print_json(payload: object) -> None:
    """Print JSON: readable on a terminal, one line when piped. A mapping gets its schema here."""
    import msgspec

    whole = {"schema": SCHEMA, **payload} if isinstance(payload, Mapping) else payload
    text = msgspec.json.encode(whole)
    if on_terminal():
        text = msgspec.json.format(text, indent=2)
    sys.stdout.write(text.decode() + "\n")
    sys.stdout.flush()


def print_json_line(payload: object) -> None:
    """Print one object of a stream of JSON lines."""
    import msgspec

    sys.stdout.write(msgspec.json.encode(payload).decode() + "\n")
    sys.stdout.flush()


def print_table(
    ctx: typer.Context,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    whole: Collection[str] = (),
) -> None:
    """Print rows; None is an empty cell. whole: columns that a narrow terminal shortens last."""
    cells = [["" if cell is None else clean(str(cell)) for cell in row] for row in rows]
    if not on_terminal():
        sys.stdout.writelines("\t".join(row) + "\n" for row in cells)
        return
    from rich.text import Text

    from keypool_cli.cli.tables import Column, FittedTable

    filled = [
        Column(name, [Text(row[index]) for row in cells], whole=name in whole)
        for index, name in enumerate(columns)
    ]
    screen, table = console(ctx), FittedTable(filled)
    screen.print(table if table.width <= screen.width else table.without_empty())


def instant(text: str | None, cells: int = 16) -> str | None:
    """An ISO-8601 instant: for a person to the minute (10 cells: the day), piped as it is."""
    return text if text is None or not on_terminal() else text[:cells].replace("T", " ")


def print_view(
    ctx: typer.Context, noun: str, view: "Struct", texts: Mapping[str, str], *, as_json: bool
) -> None:
    """Print one thing, a field a line; fields without a value are left out.

    noun: names it in JSON. texts: fields as people read them.
    """
    if as_json:
        print_json({noun: view})
        return
    import msgspec

    fields = {**msgspec.structs.asdict(view), **texts}
    rows = [(name, value) for name, value in fields.items() if value not in (None, "")]
    print_table(ctx, ("", ""), rows)


def console(ctx: typer.Context) -> "Console":
    """The terminal that data goes to, with colour as asked."""
    from rich.console import Console

    color = session(ctx).color
    return Console(
        file=sys.stdout,
        highlight=False,
        no_color=None if color is None else not color,
        force_terminal=True if color else None,
    )


def counted(count: int, noun: str) -> str:
    """``1 key``, ``2 keys``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels as they are written on the command line."""
    return ",".join(f"{name}={value}" for name, value in labels.items())
