"""``status``: the answer first, then why, then the command that helps."""

from collections.abc import Sequence
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import output, wiring
from keypool_cli.cli.options import Json, Labels, examples, pairs
from keypool_cli.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from keypool_cli.cli.status_filter import Shown, Thresholds
    from keypool_cli.service.configured import Configured
    from keypool_cli.service.mirror import Look
    from keypool_cli.service.standing import Status

WATCH_S = 2.0

Some = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this one. Repeatable.")]


def status(
    ctx: typer.Context,
    *,
    pool: Some = None,
    project: Some = None,
    model: Some = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATE",
            help="Only ready, full, cooling, excluded, disabled or dead. Repeatable.",
        ),
    ] = None,
    label: Labels = None,
    sort: Annotated[
        str,
        typer.Option(
            metavar="ORDER", help="Rows by problems, project, model, rpm, tpm, rpd, leases or left."
        ),
    ] = "problems",
    watch: Annotated[
        float | None,
        typer.Option(
            metavar="[S]",
            help=f"Look again every S seconds, {WATCH_S:g} without S, until Ctrl-C.",
            min=0.1,
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit 8 when a pool has no capacity (on each --model)."),
    ] = False,
    min_ready: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="With --check: projects needed, 1 if none is named."),
    ] = None,
    max_used: Annotated[
        str | None,
        typer.Option(metavar="PERCENT", help="With --check: exit 8 above this share of a limit."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show who is ready and what is used of what.

    Limits are marked: c configured, l learned from a refusal, d keypool's default.
    Piped, the headline of each pool comes first, then a tab-separated line for each project and
    model: pool, project, model, state, rpm, tpm, rpd, leases, seconds left, reason, keys.
    A label is a project's own or one of its keys'. --max-used counts, for each pool and model,
    what all projects that can serve have used together.
    """
    from keypool_cli.cli.status_filter import Shown, Thresholds, share_of

    if watch is not None and check:
        raise UsageError("--watch and --check exclude each other")
    for name, value in (("--min-ready", min_ready), ("--max-used", max_used)):
        if value is not None and not check:
            raise UsageError(f"{name} belongs to --check", hint=f"add --check, or leave {name} out")
    asked = Thresholds(min_ready or 1, share_of(max_used)) if check else None
    names = (frozenset(project or ()), frozenset(model or ()), _states(state))
    shown = Shown(*names, labels=pairs(label), sort=order(sort))
    wiring.look(ctx, lambda look: _show(ctx, look, pool or [], shown, (watch, asked, as_json)))


def with_watch_interval(words: Sequence[str]) -> list[str]:
    """The command line with ``--watch`` completed: Typer knows no option with an optional value."""
    done = []
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        bare = word == "--watch" and (not following or following.startswith("-"))
        done.append(f"--watch={WATCH_S:g}" if bare else word)
    return done


def _states(names: Sequence[str] | None) -> frozenset[str]:
    from keypool_cli.service.standing import STATES

    unknown = set(names or ()) - set(STATES)
    if unknown:
        raise UsageError(
            f"no state is called {min(unknown)!r}", hint=f"states are: {', '.join(STATES)}"
        )
    return frozenset(names or ())


def order(name: str) -> str:
    """A name that rows can be sorted by. Raises UsageError."""
    from keypool_cli.cli.status_text import ORDERS

    if name not in ORDERS:
        raise UsageError(
            f"rows cannot be sorted by {name!r}", hint=f"--sort takes: {', '.join(ORDERS)}"
        )
    return name


async def _show(
    ctx: typer.Context,
    look: "Look",
    pools: Sequence[str],
    shown: "Shown",
    how: "tuple[float | None, Thresholds | None, bool]",
) -> None:
    """how: seconds between pictures, what to check, and whether JSON is wanted."""
    from keypool_cli.cli.status_filter import check, hides_all, unserved

    every_s, asked, as_json = how
    if every_s is not None:
        await _watch(ctx, look, pools, shown, (every_s, as_json))
    whole, chosen = await ask(look, pools, shown)
    _print(ctx, chosen, shown.sort, as_json=as_json)
    for meant in _models_meant(whole, shown) if hides_all(chosen) else ():
        output.hint(ctx, meant)
    if look.away is not None:
        output.say(ctx, away_text(look))
    models = frozenset(map((await look.configured()).bucket, shown.models))
    if asked is not None:
        check(whole, replace(asked, models=models))
    unread = {each.model for each in whole.unread}
    for pool, model in () if as_json else unserved(whole, models - unread):
        # The headline speaks of every model; whoever names one asks about that.
        output.say(ctx, f"pool {pool!r}: no project is able to serve on {model}")
        output.hint(ctx, f"to see why: keypool explain --pool {quote(pool)} --model {quote(model)}")
    refuse_unread(chosen)


def refuse_unread(found: "Status") -> None:
    """Raise UnreachableError where models could not be shown, when all others have been."""
    from keypool_cli.service.standing import told_unread

    if found.unread:
        raise UnreachableError(told_unread(found), hint="bring that node back: keypool doctor")


def _models_meant(whole: "Status", shown: "Shown") -> list[str]:
    from keypool_cli.cli.suggesting import model_meant

    used = {m.model for pool in whole.pools for each in pool.projects for m in each.models}
    found = [model_meant(each, used) for each in sorted(shown.models)]
    return [each for each in found if each is not None]


async def ask(look: "Look", pools: Sequence[str], shown: "Shown") -> "tuple[Status, Status]":
    """The status of the pools, whole and with the chosen rows only. Raises NotFoundError."""
    import asyncio

    from keypool_cli.cli.status_filter import filtered
    from keypool_cli.service.status import stand

    configured = await look.configured()
    await find_pools(look, configured, pools)
    for name in shown.projects - configured.projects.keys():
        await asyncio.to_thread((await look.registry()).projects.find, name)
    models = await look.models()
    whole = await stand(look.engine, configured, pools=pools, models=models)
    return whole, filtered(whole, shown.among(configured))


async def find_pools(look: "Look", configured: "Configured", names: Sequence[str]) -> None:
    """Raise NotFoundError if a pool is unknown, with names that are alike: SQL knows them."""
    import asyncio

    for name in set(names) - configured.pools.keys():
        await asyncio.to_thread((await look.registry()).pools.find, name)


def away_text(look: "Look") -> str:
    """What to say when the database cannot be used, and only the live store's word is shown."""
    return f"{look.away}; names and limits are shown as the live store last heard of them"


def _print(ctx: typer.Context, found: "Status", sort: str, *, as_json: bool) -> None:
    from keypool_cli.cli import status_text
    from keypool_cli.cli.status_filter import hides_all

    if as_json:
        from keypool_cli.service.standing import promised

        output.print_json(promised(found))
        return
    if output.on_terminal() and found.pools:
        from keypool_cli.cli.status_view import picture

        output.console(ctx).print(picture(found, sort=sort))
    else:
        output.lines(status_text.lines(found, sort))
    if not found.pools:
        where = wiring.where_stored(wiring.settings(ctx))
        output.say(ctx, f"nothing is configured yet in {where}")
    elif hides_all(found):
        output.say(ctx, "no row is as asked")
        return
    for advice in status_text.advice(found):
        output.hint(ctx, advice)


async def _watch(
    ctx: typer.Context,
    look: "Look",
    pools: Sequence[str],
    shown: "Shown",
    how: tuple[float, bool],
) -> None:
    """Show the status again and again, until interrupted. how: seconds between, and whether JSON."""
    import asyncio

    from keypool_cli.service.standing import told_unread

    every_s, as_json = how
    terminal = output.console(ctx) if output.on_terminal() and not as_json else None
    if terminal is None or terminal.is_dumb_terminal:
        while True:
            _, chosen = await ask(look, pools, shown)
            _print(ctx, chosen, shown.sort, as_json=as_json)
            if chosen.unread:
                output.say(ctx, told_unread(chosen))
            await asyncio.sleep(every_s)
            if terminal is not None:
                output.line("")  # pictures that follow one another are told apart
    from rich.live import Live

    from keypool_cli.cli.status_view import picture

    _, chosen = await ask(look, pools, shown)
    first = picture(chosen, with_advice=True, sort=shown.sort)
    with Live(first, console=terminal, screen=True, auto_refresh=False) as live:
        while True:
            live.refresh()
            await asyncio.sleep(every_s)
            _, chosen = await ask(look, pools, shown)
            live.update(picture(chosen, with_advice=True, sort=shown.sort))


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(
        epilog=examples(
            "keypool status",
            "keypool status --pool main --state cooling --sort left",
            "keypool status --check --min-ready 2 --max-used 90%",
        )
    )(status)
