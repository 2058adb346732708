"""``status``: the answer first, then why, then the command that helps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import output, wiring
from keypool_cli.cli.options import Json, examples
from keypool_cli.errors import NoCapacityError, UsageError

if TYPE_CHECKING:
    from keypool_cli.service.ports import Ports
    from keypool_cli.service.status import PoolStatus, Status

WATCH_S = 2.0

Some = Annotated[list[str] | None, typer.Option(help="Only this one. Repeatable.")]


@dataclass(frozen=True, slots=True)
class Shown:
    """Which rows to show; empty shows all. The headline always speaks of the whole pool."""

    projects: frozenset[str]
    models: frozenset[str]
    states: frozenset[str]


def status(
    ctx: typer.Context,
    *,
    pool: Some = None,
    project: Some = None,
    model: Some = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help="Only ready, full, cooling, excluded, disabled or dead. Repeatable."),
    ] = None,
    watch: Annotated[
        float | None,
        typer.Option(
            metavar="[S]", help=f"Redraw every S seconds; {WATCH_S:g} without S.", min=0.1
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit 8 when a pool has no capacity.")
    ] = False,
    min_ready: Annotated[
        int, typer.Option(metavar="N", min=1, help="With --check: projects needed.")
    ] = 1,
    as_json: Json = False,
) -> None:
    """Show who is ready and what is used of what.

    Limits are marked: c configured, l learned from a refusal, d keypool's default.
    Piped, the headline of each pool comes first, then a tab-separated line for each project and
    model: pool, project, model, state, rpm, tpm, rpd, leases, seconds left, reason, keys.
    """
    if watch is not None and check:
        raise UsageError("--watch and --check exclude each other")
    pools, shown = pool or [], _shown(project, model, state)
    if watch is not None:
        wiring.live(ctx, lambda ports: _watch(ctx, ports, pools, shown, (watch, as_json)))
        return
    found = wiring.live(ctx, lambda ports: _once(ports, pools, shown))
    _print(ctx, found, as_json=as_json)
    if check:
        _check(found, min_ready)


def with_watch_interval(words: Sequence[str]) -> list[str]:
    """The command line with ``--watch`` completed: Typer knows no option with an optional value."""
    done = []
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        bare = word == "--watch" and not following.replace(".", "", 1).isdigit()
        done.append(f"--watch={WATCH_S:g}" if bare else word)
    return done


def _shown(projects: list[str] | None, models: list[str] | None, states: list[str] | None) -> Shown:
    from keypool_cli.service.status import STATES

    unknown = set(states or ()) - set(STATES)
    if unknown:
        raise UsageError(
            f"no state is called {min(unknown)!r}", hint=f"states are: {', '.join(STATES)}"
        )
    return Shown(frozenset(projects or ()), frozenset(models or ()), frozenset(states or ()))


async def _once(ports: "Ports", pools: Sequence[str], shown: Shown) -> "Status":
    from keypool_cli.service.status import status as read_status
    from keypool_cli.service.sync import read_configured

    # Looked up in SQL first: its errors name what is alike.
    for name in pools:
        await ports.call(ports.registry.pools.find, name)
    for name in sorted(shown.projects):
        await ports.call(ports.registry.projects.find, name)
    found = await read_status(ports, await read_configured(ports), pools=pools)
    return _filtered(found, shown)


def _filtered(found: "Status", shown: Shown) -> "Status":
    from msgspec.structs import replace

    if not (shown.projects or shown.models or shown.states):
        return found
    return replace(found, pools=[_filtered_pool(each, shown) for each in found.pools])


def _filtered_pool(pool: "PoolStatus", shown: Shown) -> "PoolStatus":
    from msgspec.structs import replace

    projects = []
    for project in pool.projects:
        models = [
            each
            for each in project.models
            if (not shown.models or each.model in shown.models)
            and (not shown.states or each.state in shown.states)
        ]
        fits = not shown.projects or project.project in shown.projects
        whole = not shown.models and (not shown.states or project.state in shown.states)
        if fits and (models or whole):
            projects.append(replace(project, models=models))
    return replace(pool, projects=projects)


def _print(ctx: typer.Context, found: "Status", *, as_json: bool) -> None:
    from keypool_cli.cli import status_text

    if as_json:
        output.print_json(found)
        return
    if output.on_terminal() and found.pools:
        from keypool_cli.cli.status_view import picture

        output.console(ctx).print(picture(found))
    else:
        for text in status_text.lines(found):
            output.line(text)
    advice = status_text.advice(found)
    if not found.pools:
        output.say(ctx, "nothing is configured yet: there are no pools, projects or keys")
    if advice is not None:
        output.hint(ctx, advice)


def _check(found: "Status", min_ready: int) -> None:
    short = [each.pool for each in found.pools if each.ready + each.full < min_ready]
    if short or not found.pools:
        names = f"pool {', '.join(map(repr, short))}" if short else "the registry, being empty,"
        raise NoCapacityError(f"{names} has fewer than {min_ready} projects able to serve")


async def _watch(
    ctx: typer.Context,
    ports: "Ports",
    pools: Sequence[str],
    shown: Shown,
    how: tuple[float, bool],
) -> None:
    """Show the status again and again, until interrupted. how: seconds between, and whether JSON."""
    import asyncio

    every_s, as_json = how
    terminal = output.console(ctx) if output.on_terminal() and not as_json else None
    if terminal is None or terminal.is_dumb_terminal:
        while True:
            _print(ctx, await _once(ports, pools, shown), as_json=as_json)
            await asyncio.sleep(every_s)
    from rich.live import Live

    from keypool_cli.cli.status_view import picture

    first = picture(await _once(ports, pools, shown), with_advice=True)
    with Live(first, console=terminal, screen=True, auto_refresh=False) as live:
        while True:
            live.refresh()
            await asyncio.sleep(every_s)
            live.update(picture(await _once(ports, pools, shown), with_advice=True))


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(
        epilog=examples(
            "keypool status",
            "keypool status --pool main --state cooling",
            "keypool status --check --min-ready 2",
        )
    )(status)
