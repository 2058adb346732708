"""``top``: the pools as they work, redrawn while one looks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import output, wiring
from keypool_cli.cli.options import Json, examples
from keypool_cli.cli.status import Some, away_text, refuse_unread

if TYPE_CHECKING:
    from rich.console import Console

    from keypool_cli.service.mirror import Look
    from keypool_cli.service.top import Top


@dataclass(frozen=True, slots=True)
class How:
    """What to show, and how. limit: rows where they are printed one after another."""

    pools: Sequence[str]
    sort: str
    every_s: float
    limit: int
    once: bool
    as_json: bool


def top(
    ctx: typer.Context,
    *,
    pool: Some = None,
    every: Annotated[float, typer.Option(metavar="S", min=0.2, help="Seconds between.")] = 1.0,
    sort: Annotated[
        str,
        typer.Option(
            metavar="ORDER", help="Rows by problems, project, model, rpm, tpm, rpd, leases or left."
        ),
    ] = "problems",
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-n", metavar="N", min=1, help="Rows at most, where they are printed."
        ),
    ] = 100,
    once: Annotated[bool, typer.Option("--once", help="One look, and end.")] = False,
    as_json: Json = False,
) -> None:
    """Watch limits, leases, queues and errors as they move.

    On a terminal it fills the screen until q; piped, it prints a JSON line each time it looks.
    Keys: q quit, s sort, / filter, p pause, arrows choose, Enter opens a project, Esc goes back.
    Sparklines show the last minute of the window's use, the newest on the right.
    """
    from keypool_cli.cli.status import order

    how = How(pool or [], order(sort), every, limit, once, as_json or not output.on_terminal())
    wiring.look(ctx, lambda look: _top(ctx, look, how))


async def _top(ctx: typer.Context, look: "Look", how: How) -> None:
    from keypool_cli.cli.top_screen import show

    terminal = output.console(ctx)
    if how.once or how.as_json or terminal.is_dumb_terminal:
        await _print(look, how, terminal)
    else:
        await show(terminal, lambda: read(look, how), how)
    if look.away is not None:
        output.say(ctx, away_text(look))


async def _print(look: "Look", how: How, terminal: "Console") -> None:
    """Print what is seen at each look, one after another."""
    import asyncio

    while True:
        found = await read(look, how)
        _print_one(found, how, terminal)
        if how.once:
            refuse_unread(found.status)
            return
        await asyncio.sleep(how.every_s)


def _print_one(found: "Top", how: How, terminal: "Console") -> None:
    from keypool_cli.cli import top_text
    from keypool_cli.cli.status_text import rows_of

    rows = rows_of(found.projects, how.sort)
    if how.as_json:
        output.print_json_line(top_text.json_line(found, rows, how.limit))
    elif terminal.is_dumb_terminal:
        output.lines(top_text.lines(found, rows, how.limit))
    else:
        from keypool_cli.cli.top_view import printed

        terminal.print(printed(found, rows[: how.limit], more=len(rows) - how.limit))


async def read(look: "Look", how: How) -> "Top":
    """What there is to see now. Raises NotFoundError for a pool that is unknown."""
    from keypool_cli.cli.status import find_pools
    from keypool_cli.service.top import read_top

    configured = await look.configured()
    await find_pools(look, configured, how.pools)
    return await read_top(look.engine, configured, pools=how.pools, models=await look.models())


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(
        epilog=examples("keypool top --once --sort tpm", "keypool top --once --pool main --json")
    )(top)
