"""``quota import``: limits from a pasted table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import asking, output, wiring
from keypool_cli.cli.options import Json, Yes, examples
from keypool_cli.errors import KeypoolError, PartlyDoneError, UsageError

if TYPE_CHECKING:
    from keypool_cli.cli.quota_table import Row
    from keypool_cli.registry.values import Actor
    from keypool_cli.service.ports import Ports


def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="CSV, TSV or Markdown; - is stdin.")],
    *,
    tier: Annotated[
        str | None, typer.Option(metavar="TIER", help="Set them for this tier.")
    ] = None,
    project: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="Set them for this project.")
    ] = None,
    seen: Annotated[
        str | None, typer.Option(metavar="DATE", help="When Google showed this; else today.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the limits, and set none.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Set limits from a table, such as AI Studio's.

    Its columns: Model, RPM, TPM, RPD. 250K, 1.5M, 1,000, unlimited and "3 / 250K" (used of limit)
    are understood; displayed names become ids (Gemini 2.5 Flash: gemini-2.5-flash), so look at
    --dry-run first. The audit log keeps file and date. Exit 7 when some lines were refused, 1 when
    all were.
    """
    from keypool_cli.cli.quota_table import read_table

    del yes  # nothing is asked here
    if (tier is None) == (project is None):
        raise UsageError("name --tier or --project", hint="see: keypool quota import --help")
    rows = read_table(asking.given_text(file))
    source = "stdin" if file == "-" else file
    by = wiring.actor(f"imported from {source}, as shown on {_day(seen)}")
    problems = wiring.change(
        ctx, lambda ports: _set_all(ports, rows, (project, tier), by, dry_run=dry_run)
    )
    _report(ctx, rows, problems, dry_run=dry_run, as_json=as_json)
    if problems and len(problems) < len(rows):
        raise PartlyDoneError(f"{len(problems)} of {len(rows)} lines were refused")
    if problems or not rows:
        raise KeypoolError(f"every line was refused ({len(rows)})")


def _day(seen: str | None) -> str:
    from datetime import UTC, date, datetime

    try:
        return (date.fromisoformat(seen) if seen else datetime.now(UTC).date()).isoformat()
    except ValueError:
        raise UsageError(f"--seen is a date such as 2026-11-22, not {seen!r}") from None


async def _set_all(
    ports: "Ports",
    rows: "Sequence[Row]",
    place: tuple[str | None, str | None],
    by: "Actor",
    *,
    dry_run: bool,
) -> dict[int, str]:
    """Set each line's limits; answers by line number why each other was refused."""
    from keypool_cli.registry.values import QuotaScope
    from keypool_cli.service import projects, quotas

    project, tier = place
    if project is not None:
        await projects.show_project(ports, project)
    problems = {row.number: row.problem for row in rows if row.problem is not None}
    for row in rows:
        if row.problem is None and not dry_run:
            try:
                scope = QuotaScope(project, tier, row.model)
                await quotas.set_quota(ports, scope, row.values, by=by)
            except UsageError as err:
                problems[row.number] = str(err)
    return problems


def _report(
    ctx: typer.Context,
    rows: "Sequence[Row]",
    problems: dict[int, str],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    from keypool_cli.cli.quota_table import DIMENSIONS
    from keypool_cli.core.quota import shown

    done = "would set" if dry_run else "set"
    table = [
        (
            row.number,
            row.model,
            *(shown(row.values.get(name)) for name in DIMENSIONS),
            "refused" if row.number in problems else done,
            problems.get(row.number),
        )
        for row in rows
    ]
    counts = {"set": len(rows) - len(problems), "refused": len(problems)}
    if as_json:
        names = ("line", "model", *DIMENSIONS, "outcome", "reason")
        lines = [dict(zip(names, line, strict=True)) for line in table]
        output.print_json({"dry_run": dry_run, **counts, "lines": lines})
        return
    output.print_table(ctx, ("LINE", "MODEL", "RPM", "TPM", "RPD", "OUTCOME", "REASON"), table)
    output.say(ctx, f"{done}: {counts['set']}, refused: {counts['refused']}")


def register(group: typer.Typer) -> None:
    """Hang the verb on its noun."""
    group.command(
        "import",
        epilog=examples(
            "keypool quota import limits.csv --tier tier1 --dry-run",
            "keypool quota import limits.csv --project p1 --seen 2026-11-22",
        ),
    )(import_)
