"""``import`` and ``export``: many keys at once."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from keypool_cli.cli import asking, output, wiring
from keypool_cli.cli.options import Json, Yes, examples
from keypool_cli.cli.progress import progress, stoppable
from keypool_cli.errors import (
    KeypoolError,
    NotPermittedError,
    PartlyDoneError,
    StoppedError,
    UsageError,
)

if TYPE_CHECKING:
    from keypool_cli.cli.key_files import Line
    from keypool_cli.registry.values import KeyOutcome, NewKey
    from keypool_cli.service.exporting import Exported
    from keypool_cli.service.ports import Ports

LONG = 200
"""Lines from which a progress bar is shown."""


def import_(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="CSV, JSON lines or .env; - is stdin.")
    ],
    *,
    kind: Annotated[
        Literal["csv", "jsonl", "env"] | None,
        typer.Option("--format", help="Where neither name nor first line tell it."),
    ] = None,
    project: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="For lines that name none.")
    ] = None,
    pool: Annotated[
        str | None, typer.Option(metavar="POOL", help="For lines that name none.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan, and change nothing.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Store the keys of a file, each line by itself.

    CSV has a header: name,project,secret and, if wanted, pool or pools (a,b), labels (a=b,c=d),
    state (disabled: set aside), and of new projects tier, priority, billing_account, egress_proxy
    and project_state. JSON lines have the same members; .env has NAME=secret lines alone and needs
    --project. A key that upstream called dead comes as ready: upstream will say so again. A key
    that is stored already, with this name, secret and project, is left as it is: a file that was
    stored in part can be imported again. Exit 7 when some lines were refused, 1 when all were.
    """
    from keypool_cli.cli.key_files import Defaults, format_of, read_lines

    del yes  # nothing is asked here
    text = asking.given_text(file)
    lines = read_lines(text, format_of(file, kind, text), Defaults(project, pool))
    told = _add(ctx, lines, dry_run=dry_run)
    _report(ctx, lines, told, as_json=as_json)
    if len(told.problems) == len(lines) > 0:
        raise KeypoolError(f"every line was refused ({len(lines)})")
    if told.problems:
        raise PartlyDoneError(f"{len(told.problems)} of {len(lines)} lines were refused")


@dataclass(frozen=True, slots=True)
class _Told:
    """By line number: why lines were refused, and which are stored already."""

    dry_run: bool
    problems: dict[int, str]
    there: set[int]

    def outcome(self, number: int) -> str:
        if number in self.there:
            return "stored already"
        if number in self.problems:
            return "refused"
        return self.added

    @property
    def added(self) -> str:
        return "would add" if self.dry_run else "added"


def _add(ctx: typer.Context, lines: "Sequence[Line]", *, dry_run: bool) -> _Told:
    """Add what can be added."""
    problems = {line.number: line.problem for line in lines if line.problem is not None}
    told = _Told(dry_run, problems, set())
    good = [line for line in lines if line.key is not None]
    news = [line.key for line in good if line.key is not None]
    if not news:
        return told
    try:
        outcomes = _store(ctx, news, dry_run=dry_run)
    except KeyboardInterrupt:
        raise StoppedError(
            "interrupted: what was stored by then stays",
            hint="the same import again stores the rest",
        ) from None
    for line, outcome in zip(good, outcomes, strict=True):
        if outcome.there:
            told.there.add(line.number)
        elif outcome.error is not None:
            problems[line.number] = str(outcome.error)
    if not dry_run and len(news) >= LONG:
        _mirror(ctx)
    return told


def _store(
    ctx: typer.Context, news: "Sequence[NewKey]", *, dry_run: bool
) -> "Sequence[KeyOutcome]":
    """Store keys; Ctrl-C ends it after the part that is being written."""
    from keypool_cli.service import keys

    async def work(ports: "Ports") -> "Sequence[KeyOutcome]":
        with (
            progress("storing keys", len(news), at_least=LONG) as bar,
            stoppable(bar) as done,
        ):
            return await keys.add_keys(
                ports, news, by=wiring.actor(), dry_run=dry_run, progress=done
            )

    return wiring.change(ctx, work)


def _mirror(ctx: typer.Context) -> None:
    """Mirror what is configured now, so that the first ``status`` need not read it from SQL."""
    with suppress(KeypoolError):  # the keys are stored: who needs the live store hears of it then
        wiring.look(ctx, lambda look: look.configured())


def _report(
    ctx: typer.Context,
    lines: "Sequence[Line]",
    told: _Told,
    *,
    as_json: bool,
) -> None:
    rows = [
        (line.number, line.name, told.outcome(line.number), told.problems.get(line.number))
        for line in lines
    ]
    refused, there = len(told.problems), len(told.there)
    added = len(lines) - refused - there
    if as_json:
        names = ("line", "name", "outcome", "reason")
        shown = [dict(zip(names, row, strict=True)) for row in rows]
        counts = {"added": added, "stored_already": there, "refused": refused}
        output.print_json({"dry_run": told.dry_run, **counts, "lines": shown})
        return
    output.print_table(ctx, ("LINE", "KEY", "OUTCOME", "REASON"), rows)
    also = f", stored already: {there}" if there else ""
    output.say(ctx, f"{told.added}: {added}{also}, refused: {refused}")


def export(
    ctx: typer.Context,
    *,
    kind: Annotated[
        Literal["csv", "jsonl", "toml"],
        typer.Option("--format", help="Keys as csv or jsonl, everything as toml."),
    ] = "csv",
    reveal: Annotated[
        bool, typer.Option("--reveal", help="With secrets; on a terminal only, and logged.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write what is stored, without secrets, to be read again.

    csv and jsonl: all keys as import reads them, with the project's tier, priority, billing
    account, proxy and pools. toml: pools, projects, keys, limits that are set, and clients, as
    apply reads them. What refusals left or taught is in neither.
    """
    from keypool_cli.service import exporting

    if kind == "toml":
        _declare(ctx, plain=not (reveal or as_json))
        return
    if reveal and not output.on_terminal():
        raise NotPermittedError(
            "secrets are shown on a terminal only", hint="without --reveal, secrets are left out"
        )
    by = wiring.actor()
    found = wiring.read(ctx, lambda ports: exporting.export_keys(ports, reveal=reveal, by=by))
    if not found:
        output.say(ctx, "no keys to export")
    records = [_record(each) for each in found]
    if as_json:
        output.print_json({"keys": records})
    elif kind == "jsonl":
        for record in records:
            output.print_json_line(record)
    elif records:
        _write_csv(records)


def _declare(ctx: typer.Context, *, plain: bool) -> None:
    import tomli_w

    from keypool_cli.service.declaring import declared_now

    if not plain:
        raise UsageError("a declaration is TOML without secrets: leave out --json and --reveal")
    output.lines(tomli_w.dumps(wiring.read(ctx, declared_now)).splitlines())
    output.hint(
        ctx,
        "where a key is not stored, apply needs its secret_env or secret_file; "
        "proxies with a password are left out: keypool project set P --egress-proxy -",
    )


def _record(found: "Exported") -> dict[str, object]:
    key, project = found.key, found.project
    record: dict[str, object] = {
        "name": key.name,
        "project": key.project,
        "pool": next(iter(key.pools), ""),
        "tier": key.tier or "",
        "priority": key.priority,
        "labels": key.labels,
        "fingerprint": key.fingerprint,
        "state": key.state,
        "pools": key.pools,
        "billing_account": project.billing_account or "",
        "egress_proxy": found.egress_proxy or "",
        "project_state": "enabled" if project.enabled else "disabled",
    }
    return record | ({} if found.secret is None else {"secret": found.secret.text})


def _write_csv(records: Sequence[Mapping[str, object]]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(records[0])
    writer.writerows(map(_cell, record.values()) for record in records)


def _cell(value: object) -> object:
    if isinstance(value, list):
        plain = not any("," in each or each.startswith("[") for each in value)
        return ",".join(value) if plain else json.dumps(value, ensure_ascii=False)
    if not isinstance(value, Mapping):
        return value
    text = output.labels_text(value)
    # A comma in a label would be read as its end.
    plain = text.count(",") == max(len(value) - 1, 0) and not text.startswith("{")
    return text if plain else json.dumps(value, ensure_ascii=False)


def register(app: typer.Typer) -> None:
    """Hang the verbs on the command line."""
    app.command(
        "import", epilog=examples("keypool import keys.csv --dry-run", "keypool import keys.csv")
    )(import_)
    app.command(epilog=examples("keypool export --format jsonl"))(export)
