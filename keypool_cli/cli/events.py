"""``events``: who did what, and every refusal."""

from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import output, wiring
from keypool_cli.cli.options import Json, examples

if TYPE_CHECKING:
    from keypool_cli.errors import UnreachableError
    from keypool_cli.registry.values import EventFilter
    from keypool_cli.service.events import EventView
    from keypool_cli.service.ports import Ports

_LOOK_EVERY_S = 0.5

COLUMNS = ("AT", "KIND", "SUBJECT", "BY", "HOST", "REASON", "DETAIL")


def events(
    ctx: typer.Context,
    *,
    kind: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="One kind (key.added), or all of a noun (key)."),
    ] = None,
    subject: Annotated[
        str | None, typer.Option(metavar="NAME", help="About this key, project, pool or client.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="SPAN", help="Not older than 90s, 15m, 2h or 3d.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, help="The newest that many.")
    ] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they happen.")] = False,
    as_json: Json = False,
) -> None:
    """Show who did what, and every refusal, the newest last.

    With --follow --json, one JSON object a line. Piped, the detail is JSON as well.
    """
    from keypool_cli.registry.values import EventFilter
    from keypool_cli.service import events as log

    wanted = EventFilter(kind=kind, subject=subject, limit=limit, since_ms=_since_ms(since))
    if follow:
        wiring.read(ctx, lambda ports: _while_read(_follow(ctx, ports, wanted, as_json=as_json)))
        return
    found = wiring.read(ctx, lambda ports: log.list_events(ports, wanted))
    if as_json:
        output.print_json({"events": found})
    elif found:
        _print(ctx, found)
    elif kind or subject or since:
        output.say(ctx, "no event is as asked")
    else:
        output.say(ctx, "no events to list")
        output.hint(ctx, "every change is logged: keypool add NAME --project PROJECT")


def _since_ms(since: str | None) -> int | None:
    import time

    from keypool_cli.cli.durations import seconds_of

    return None if since is None else int((time.time() - seconds_of(since)) * 1000)


def _print(ctx: typer.Context, found: "Sequence[EventView]") -> None:
    if not output.on_terminal():
        output.print_table(ctx, COLUMNS, [_row(each) for each in found])
        return
    from keypool_cli.cli.event_text import detail_text, when, who

    rows = [(when(e), e.kind, e.subject, who(e), e.reason, detail_text(e.detail)) for e in found]
    columns = ("AT (UTC)", "KIND", "SUBJECT", "BY", "REASON", "DETAIL")
    output.print_table(ctx, columns, rows, whole=columns[:2])


async def _while_read(printing: Coroutine[None, None, None]) -> None:
    """Print until nobody reads it: the next event, which would show that, may be hours away."""
    import asyncio

    task = asyncio.create_task(printing)
    try:
        while not (await asyncio.wait([task], timeout=_LOOK_EVERY_S))[0]:
            if output.reader_gone():
                raise BrokenPipeError
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await task


async def _follow(
    ctx: typer.Context, ports: "Ports", wanted: "EventFilter", *, as_json: bool
) -> None:
    from keypool_cli.cli.event_text import line_of
    from keypool_cli.service.events import follow_events

    def away(err: "UnreachableError") -> None:
        output.say(ctx, f"{err}; going on as soon as it is back")

    async for each in follow_events(ports, wanted, away=away):
        if as_json:
            output.print_json_line(each)
        elif output.on_terminal():
            output.line(line_of(each))
        else:
            output.line("\t".join(_row(each)))


def _row(event: "EventView") -> tuple[str, ...]:
    import json

    detail = json.dumps(event.detail, ensure_ascii=False) if event.detail else ""
    reason = event.reason or ""
    return (event.at, event.kind, event.subject, event.actor, event.host, reason, detail)


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(
        epilog=examples(
            "keypool events --kind key -n 20",
            "keypool events --subject k1",
            "keypool events --kind refusal --since 15m",
        )
    )(events)
