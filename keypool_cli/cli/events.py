"""``events``: who did what, and every refusal."""

from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import output, wiring
from keypool_cli.cli.options import Json, examples

if TYPE_CHECKING:
    from keypool_cli.registry.values import EventFilter
    from keypool_cli.service.events import EventView
    from keypool_cli.service.ports import Ports

COLUMNS = ("AT", "KIND", "SUBJECT", "BY", "HOST", "REASON", "DETAIL")


def events(
    ctx: typer.Context,
    *,
    kind: Annotated[
        str | None, typer.Option(help="One kind (key.added), or all of a subject (key.).")
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="About this key, project, pool or client.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest that many.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they happen.")] = False,
    as_json: Json = False,
) -> None:
    """Show the audit log, the newest last. With --follow --json, one JSON object a line."""
    from keypool_cli.registry.values import EventFilter
    from keypool_cli.service import events as log

    wanted = EventFilter(kind=kind, subject=subject, limit=limit)
    if follow:
        wiring.read(ctx, lambda ports: _follow(ports, wanted, as_json=as_json))
        return
    found = wiring.read(ctx, lambda ports: log.list_events(ports, wanted))
    if as_json:
        output.print_json({"events": found})
    elif found:
        output.print_table(ctx, COLUMNS, [_row(each) for each in found])
    else:
        output.say(ctx, "no events to list")
        output.hint(ctx, "every change is logged: keypool add NAME --project PROJECT")


async def _follow(ports: "Ports", wanted: "EventFilter", *, as_json: bool) -> None:
    from keypool_cli.service.events import follow_events

    async for each in follow_events(ports, wanted):
        if as_json:
            output.print_json_line(each)
        else:
            output.line("\t".join(_row(each)))


def _row(event: "EventView") -> tuple[str, ...]:
    import json

    detail = json.dumps(event.detail, ensure_ascii=False) if event.detail else ""
    reason = event.reason or ""
    return (event.at, event.kind, event.subject, event.actor, event.host, reason, detail)


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(epilog=examples("keypool events --kind key. -n 20", "keypool events --subject k1"))(
        events
    )
