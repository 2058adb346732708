"""``reset``: clear cooldowns, and tell exactly what changed."""

import shlex
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import asking, output, wiring
from keypool_cli.cli.options import Json, Reason, Yes, examples
from keypool_cli.errors import UsageError

if TYPE_CHECKING:
    from keypool_cli.core.model import Key
    from keypool_cli.registry.values import Actor
    from keypool_cli.service.configured import Configured
    from keypool_cli.service.ports import Ports
    from keypool_cli.service.resetting_values import Cleared, Held, ResetOutcome, ResetRequest


def reset(
    ctx: typer.Context,
    key: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY...]", help="Keys whose projects to free.")
    ] = None,
    *,
    project: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="Free one project.")
    ] = None,
    pool: Annotated[
        str | None, typer.Option(metavar="POOL", help="Free every project of a pool; asks.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Free everything; asks.")] = False,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="On this model only.")] = None,
    counters: Annotated[
        bool, typer.Option("--counters", help="Also empty minute windows and day counts; asks.")
    ] = False,
    failures: Annotated[
        bool, typer.Option("--failures", help="Also what refusals excluded or declared dead.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell, and change nothing.")] = False,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Clear cooldowns, and tell what changed.

    A key's quota is its project's, so the project's cooldowns and those of its billing account
    are cleared too; not with --model, which lifts nothing that stops other models as well. What
    stays is told, with the command that lifts it. Counters stay unless --counters empties them.
    Other projects of the account lose their cooldowns and nothing else.
    """
    from keypool_cli.service.resetting_values import ResetRequest

    if (bool(key) + (project is not None) + (pool is not None) + everything) != 1:
        raise UsageError(
            "name what to reset: keys, --project, --pool or --all, and one of them only",
            hint="see: keypool reset --help",
        )
    request = ResetRequest(
        keys=tuple(key or ()),
        project=project,
        pool=pool,
        everything=everything,
        model=model,
        counters=counters,
        failures=failures,
        dry_run=dry_run,
    )
    wiring.read(ctx, lambda ports: _find(ports, request))
    if not dry_run and (pool is not None or everything or counters):
        asking.confirm(_question(request), yes=yes)
    _carry_out(ctx, request, reason, as_json=as_json)


def _carry_out(
    ctx: typer.Context, request: "ResetRequest", reason: str | None, *, as_json: bool
) -> None:
    by = wiring.actor(reason)
    outcome, still_dead, hints = wiring.live(ctx, lambda ports: _reset(ports, request, by))
    if as_json:
        output.print_json(_as_json(outcome, still_dead, request))
    else:
        _tell(outcome, request)
        _tell_held(ctx, outcome, request)
        _tell_dead(ctx, still_dead)
        if not still_dead:
            for each in hints:
                output.hint(ctx, each)


async def _find(ports: "Ports", request: "ResetRequest") -> None:
    """Look names up before anything is asked; raises NotFoundError with names that are alike."""
    registry = ports.registry
    for name in request.keys:
        await ports.call(registry.keys.find, name)
    if request.project is not None:
        await ports.call(registry.projects.find, request.project)
    if request.pool is not None:
        await ports.call(registry.pools.find, request.pool)


async def _reset(
    ports: "Ports", request: "ResetRequest", by: "Actor"
) -> "tuple[ResetOutcome, list[Key], list[str]]":
    """What the reset did, the keys that are dead still, and what else may hold the projects."""
    from keypool_cli.service import resetting
    from keypool_cli.service.loaded import loaded_models
    from keypool_cli.service.sync import read_configured

    configured = await read_configured(ports)
    outcome = await resetting.reset(ports, configured, request, by=by)
    dead = resetting.dead_keys(configured, resetting.named(configured, request))
    limited = {row.model for row in configured.catalog.quotas if row.model is not None}
    models = limited | {*await loaded_models(ports)} | configured.catalog.aliases.keys()
    hints = [] if outcome.cleared or outcome.held else _hints(configured, outcome, request, models)
    return outcome, [] if request.failures else dead, hints


def _question(request: "ResetRequest") -> str:
    places = [*request.keys, request.project, request.pool and f"pool {request.pool}"]
    where = ", ".join(filter(None, places)) or "everything"
    also = " with its minute windows and day counts" if request.counters else ""
    return f"Reset {where}{also}?"


def _tell(outcome: "ResetOutcome", request: "ResetRequest") -> None:
    if not outcome.cleared:
        nothing = "nothing was reset" if outcome.held else "nothing to reset"
        output.line(f"{nothing} in {', '.join(outcome.projects) or 'an empty registry'}")
        return
    verb = "would reset" if request.dry_run else "reset"
    for each in outcome.cleared:
        place = each.subject if each.model is None else f"{each.subject} / {each.model}"
        output.line(f"{verb} {each.what} of {place}: {_before(each)} -> {_after(each)}")
    if outcome.freed:
        verb = "would free" if request.dry_run else "freed"
        output.line(f"{verb} keys: {', '.join(outcome.freed)}")


def _tell_held(ctx: typer.Context, outcome: "ResetOutcome", request: "ResetRequest") -> None:
    for each in outcome.held:
        output.line(_stays(each))
    if outcome.held:
        first = outcome.held[0]
        whole = request.model is not None and first.mark.model is None
        why = "that takes a reset of the whole project" if whole else "to lift what refusals shut"
        output.hint(ctx, f"{why}: {_lifting(first)}")


def _stays(held: "Held") -> str:
    """Who stays how, on what, until when and why."""
    from keypool_cli.service.instants import iso

    mark = held.mark
    who = (
        held.project if mark.billing_account is None else f"billing account {mark.billing_account}"
    )
    until = f" until {iso(mark.until_at_ms)}" if mark.until_at_ms else ""
    where = mark.model or "every model"
    return f"{who} stays {_STAYS[mark.kind]} on {where}{until}: {mark.reason} ({mark.rule})"


def _lifting(held: "Held") -> str:
    failures = " --failures" if held.needs_failures else ""
    return f"keypool reset --project {shlex.quote(held.project)}{failures}"


def _tell_dead(ctx: typer.Context, still_dead: "list[Key]") -> None:
    for key in still_dead:
        output.say(ctx, f"{key.name} stays dead: {key.reason or key.rule}")
    if still_dead:
        name = shlex.quote(still_dead[0].name)
        output.hint(
            ctx, f"keypool rotate {name}, or if upstream was wrong: keypool reset {name} --failures"
        )


def _hints(
    configured: "Configured", outcome: "ResetOutcome", request: "ResetRequest", models: set[str]
) -> list[str]:
    """What may be behind it where there was nothing to reset."""
    from keypool_cli.cli.suggesting import MOST_HINTS, model_meant, what_holds

    if not outcome.projects:
        return ["to store a key: keypool add NAME --project PROJECT"]
    meant = model_meant(request.model, models) if request.model is not None else None
    if meant is not None:
        return [meant]
    names = " ".join(f"--project {shlex.quote(each)}" for each in outcome.projects[:MOST_HINTS])
    full = f"no cooldown and no operator holds it; whether it is full: keypool status {names}"
    return [*islice(what_holds(configured, outcome.projects), MOST_HINTS)] or [full]


def _before(cleared: "Cleared") -> str:
    from keypool_cli.service.instants import iso

    until = f"until {iso(cleared.until_at_ms)}" if cleared.until_at_ms else None
    rule = f"({cleared.rule})" if cleared.rule else None
    return " ".join(filter(None, (cleared.was, _WAS.get(cleared.what), until, rule))) or "set"


def _after(cleared: "Cleared") -> str:
    if cleared.what in {"minute window", "day count", "failures"}:
        return "0"
    return "ready" if cleared.what == "dead key" else "none"


def _as_json(
    outcome: "ResetOutcome", still_dead: "list[Key]", request: "ResetRequest"
) -> dict[str, object]:
    from keypool_cli.service.instants import iso_or_none

    cleared = [
        {
            "what": each.what,
            "subject": each.subject,
            "model": each.model,
            "rule": each.rule,
            "until": iso_or_none(each.until_at_ms),
            "before": _before(each),
            "after": _after(each),
        }
        for each in outcome.cleared
    ]
    return {
        "dry_run": request.dry_run,
        "cleared": cleared,
        "projects": outcome.projects,
        "freed": outcome.freed if cleared else (),
        "still_dead": [key.name for key in still_dead],
        "held": [_held_as_json(each) for each in outcome.held],
    }


def _held_as_json(held: "Held") -> dict[str, object]:
    from keypool_cli.service.instants import iso_or_none

    mark = held.mark
    return {
        "what": _STAYS[mark.kind],
        "scope": mark.scope,
        "subject": mark.billing_account or held.project,
        "model": mark.model,
        "rule": mark.rule,
        "reason": mark.reason,
        "until": iso_or_none(mark.until_at_ms),
        "command": _lifting(held),
    }


_STAYS = {"cool": "cooling", "exclude": "excluded", "disable": "disabled"}
_WAS = {
    "dead key": "dead",
    "exclusion": "excluded",
    "disabled": "disabled",
    "day end": "counted by two days",
}


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(
        epilog=examples(
            "keypool reset k1",
            "keypool reset --project p1 --model gemini-2.5-flash --dry-run",
            'keypool reset --pool main --yes --reason "quota was raised"',
        )
    )(reset)
