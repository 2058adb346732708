"""``quota list|set|unset|import``: limits by project, tier and model."""

from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import asking, output, quota_import, wiring
from keypool_cli.cli.options import Json, Reason, Yes, examples, limit, new_group
from keypool_cli.errors import UsageError

if TYPE_CHECKING:
    from keypool_cli.registry.values import Actor, QuotaScope
    from keypool_cli.service.quotas import QuotaView

group = new_group("Limits, by project, tier and model; the most specific wins.")

Tier = Annotated[str | None, typer.Option(metavar="TIER", help="Every project of this tier.")]
Project = Annotated[str | None, typer.Option(metavar="PROJECT", help="One project.")]
Model = Annotated[
    str | None, typer.Option(metavar="MODEL", help="One model; without it, every model.")
]
Limit = Annotated[str | None, typer.Option(metavar="N", help="0 or more, or unlimited.")]


@group.command(
    "list",
    epilog=examples("keypool quota list --project p1", "keypool quota list --defaults --tier free"),
)
def list_(
    ctx: typer.Context,
    *,
    tier: Tier = None,
    project: Project = None,
    model: Model = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="What keypool assumes of each tier instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List limits that were set or learned, or are assumed."""
    from keypool_cli.service import quotas

    if defaults and project is not None:
        raise UsageError("keypool assumes limits by tier, not by project", hint="say --tier TIER")
    _find(ctx, project)
    found = [
        row
        for row in (quotas.default_quotas() if defaults else wiring.read(ctx, quotas.list_quotas))
        if tier in {None, row.tier}
        and project in {None, row.project}
        and model in {None, row.model}
    ]
    if as_json:
        output.print_json({"quotas": found})
    elif found:
        _print_quotas(ctx, found)
    else:
        output.say(ctx, "no limits to list: keypool's defaults hold, and what refusals teach")
        output.hint(ctx, "to see those: keypool quota list --defaults")
        output.hint(ctx, "to set one: keypool quota set --project PROJECT --rpm 10")


@group.command(
    "set",
    epilog=examples(
        "keypool quota set --project p1 --model gemini-2.5-flash --rpm 10 --tpm 250000",
        "keypool quota set --tier tier1 --rpd unlimited",
    ),
)
def set_(
    ctx: typer.Context,
    *,
    tier: Tier = None,
    project: Project = None,
    model: Model = None,
    rpm: Limit = None,
    tpm: Limit = None,
    rpd: Limit = None,
    in_flight: Limit = None,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Set limits at one scope; those not named stay. 0: the model is not offered."""
    from keypool_cli.cli.suggesting import model_meant
    from keypool_cli.service import quotas

    del yes  # nothing is asked here
    values = _limits({"rpm": rpm, "tpm": tpm, "rpd": rpd, "in_flight": in_flight})
    scope = _scope(tier, project, model)
    by = wiring.actor(reason)
    row = wiring.change(ctx, lambda ports: quotas.set_quota(ports, scope, values, by=by))
    if as_json:
        output.print_json({"quota": row})
        return
    output.line(_in_words(row))
    output.hint(ctx, None if row.model is None else model_meant(row.model, ()))


@group.command(
    "unset",
    epilog=examples(
        "keypool quota unset --project p1 --model gemini-2.5-flash --rpm --yes",
        "keypool quota unset --learned --project p1 --yes",
    ),
)
def unset(
    ctx: typer.Context,
    *,
    tier: Tier = None,
    project: Project = None,
    model: Model = None,
    rpm: Annotated[bool, typer.Option("--rpm", help="Only this limit.")] = False,
    tpm: Annotated[bool, typer.Option("--tpm", help="Only this limit.")] = False,
    rpd: Annotated[bool, typer.Option("--rpd", help="Only this limit.")] = False,
    in_flight: Annotated[bool, typer.Option("--in-flight", help="Only this limit.")] = False,
    learned: Annotated[
        bool, typer.Option("--learned", help="What refusals taught instead.")
    ] = False,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Take back limits that were set at exactly this scope."""
    from keypool_cli.service import quotas

    scope = _scope(tier, project, model)
    named = {"rpm": rpm, "tpm": tpm, "rpd": rpd, "in_flight": in_flight}
    chosen = [name for name, wanted in named.items() if wanted]
    if learned and (chosen or tier):
        raise UsageError(
            "--learned goes with --project and --model only", hint="see: keypool quota unset --help"
        )
    by = wiring.actor(reason)
    there = wiring.read(
        ctx, lambda ports: quotas.may_unset(ports, scope, chosen, learned=learned, by=by)
    )
    if there:
        what = "learned limits" if learned else "limits"
        asking.confirm(f"Unset the {what} of {scope.place}?", yes=yes)
    removed = _unset(ctx, scope, chosen, learned=learned, by=by) if there else []
    if as_json:
        output.print_json({"removed": removed})
    elif not removed:
        output.say(ctx, f"nothing to unset: no limit of {scope.place} is learned")
        output.hint(ctx, "those that are: keypool quota list")
    for row in () if as_json else removed:
        output.line(f"unset: {_in_words(row)}")


def _unset(
    ctx: typer.Context,
    scope: "QuotaScope",
    chosen: list[str],
    *,
    learned: bool,
    by: "Actor",
) -> "list[QuotaView]":
    import msgspec

    from keypool_cli.core.model import DIMENSIONS
    from keypool_cli.service import quotas

    if learned:
        return wiring.change(ctx, lambda ports: quotas.forget_learned(ports, scope, by=by))
    before, after = wiring.change(
        ctx, lambda ports: quotas.unset_quota(ports, scope, chosen, by=by)
    )
    kept = {name: None for name in DIMENSIONS if after and getattr(after, name) is not None}
    return [msgspec.structs.replace(before, **kept)]


def _find(ctx: typer.Context, project: str | None) -> None:
    from keypool_cli.service import projects

    if project is not None:
        wiring.read(ctx, lambda ports: projects.show_project(ports, project))


def _scope(tier: str | None, project: str | None, model: str | None) -> "QuotaScope":
    from keypool_cli.registry.values import QuotaScope

    if tier is not None and project is not None:
        raise UsageError("--tier and --project exclude each other")
    return QuotaScope(project=project, tier=tier, model=model)


def _limits(texts: dict[str, str | None]) -> dict[str, int]:
    values = {name: limit(text, name) for name, text in texts.items()}
    chosen = {name: value for name, value in values.items() if value is not None}
    if not chosen:
        raise UsageError(
            "no limit is named", hint="name one of --rpm, --tpm, --rpd, --in-flight with a number"
        )
    return chosen


def _print_quotas(ctx: typer.Context, found: "list[QuotaView]") -> None:
    columns = ("SCOPE", "MODEL", "RPM", "TPM", "RPD", "IN-FLIGHT", "FROM", "SINCE")
    rows = [
        (
            _scope(row.tier, row.project, row.model).owner,
            row.model or "every model",
            row.rpm,
            row.tpm,
            row.rpd,
            row.in_flight,
            row.provenance,
            output.instant(row.at, 10),
        )
        for row in found
    ]
    output.print_table(ctx, columns, rows, whole=columns[:5])


def _in_words(row: "QuotaView") -> str:
    from keypool_cli.core.model import DIMENSIONS

    values = {name: getattr(row, name) for name in DIMENSIONS}
    said = ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)
    return f"{_scope(row.tier, row.project, row.model).place}: {said}"


quota_import.register(group)
