"""``apply``: make the registry as a file declares it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from keypool_cli.cli import asking, output, wiring
from keypool_cli.cli.options import Json, Reason, Yes, examples
from keypool_cli.cli.progress import progress, stoppable
from keypool_cli.errors import KeypoolError, PartlyDoneError, StoppedError, UsageError

if TYPE_CHECKING:
    from keypool_cli.registry.values import Actor
    from keypool_cli.service.applying_steps import Outcome
    from keypool_cli.service.applying_values import Change, Declared
    from keypool_cli.service.ports import Ports

LONG = 200
"""Changes from which a progress bar is shown."""


def apply(
    ctx: typer.Context,
    *,
    file: Annotated[
        str, typer.Option("--file", "-f", metavar="FILE", help="The declaration; - is stdin.")
    ],
    form: Annotated[
        Literal["toml", "yaml"] | None,
        typer.Option("--format", help="Where the name does not tell it; else TOML."),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what its sections do not name; asks first.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the changes, and make none.")
    ] = False,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make the registry as a TOML or YAML file declares it.

    Pools, projects, keys, limits, clients. The same file again changes nothing. A secret never
    stands in the file: secret_env and secret_file name where it is. What a section does not name
    stays, unless --prune; a section that is missing is not touched. Each change is made by itself:
    exit 7 when some were refused, 1 when all were. The form: keypool guide apply
    """
    from keypool_cli.cli.apply_file import read_declared
    from keypool_cli.cli.declaration_text import form_of
    from keypool_cli.service.applying_steps import planned

    text = asking.given_text(file)
    try:
        folder = Path() if file == "-" else Path(file).parent
        declared = read_declared(text, form or form_of(file), folder)
    except UsageError as err:
        raise UsageError(f"{file}: {err}", hint="see: keypool guide apply") from None
    changes = wiring.read(ctx, lambda ports: planned(ports, declared, prune=prune))
    if dry_run:
        outcomes = _untouched(changes)
    else:
        _confirm(changes, yes=yes)
        by = wiring.actor(reason or f"apply {Path(file).name}")
        outcomes = _make(ctx, declared, changes, by) if changes else []
    _report(ctx, outcomes, dry_run=dry_run, as_json=as_json)
    _end(file, outcomes)


def _untouched(changes: "Sequence[Change]") -> "list[Outcome]":
    from keypool_cli.service.applying_steps import Outcome

    return [Outcome(each, each.problem) for each in changes]


def _confirm(changes: "Sequence[Change]", *, yes: bool) -> None:
    made = [each for each in changes if each.problem is None]
    gone = [f"{each.kind} {each.name}" for each in made if each.action == "remove"]
    if gone:
        shown = ", ".join(gone[:10]) + (f" and {len(gone) - 10} more" if len(gone) > 10 else "")
        asking.confirm(f"Remove {shown}?", yes=yes)


def _make(
    ctx: typer.Context, declared: "Declared", changes: "Sequence[Change]", by: "Actor"
) -> "list[Outcome]":
    from keypool_cli.service import applying_steps

    async def work(ports: "Ports") -> "list[Outcome]":
        with progress("applying", len(changes), at_least=LONG) as bar, stoppable(bar) as done:
            return await applying_steps.apply(ports, declared, changes, by=by, progress=done)

    try:
        return wiring.change(ctx, work)
    except KeyboardInterrupt:
        raise StoppedError(
            "interrupted: what was changed by then stays",
            hint="the same apply again makes the rest",
        ) from None


def _report(
    ctx: typer.Context, outcomes: "Sequence[Outcome]", *, dry_run: bool, as_json: bool
) -> None:
    done = "planned" if dry_run else "done"
    refused = sum(each.reason is not None for each in outcomes)
    if as_json:
        told = [
            {
                "action": each.change.action,
                "kind": each.change.kind,
                "name": each.change.name,
                "before": each.change.before,
                "after": each.change.after,
                "outcome": "refused" if each.reason else done,
                "reason": each.reason,
            }
            for each in outcomes
        ]
        counts = {"changed": len(outcomes) - refused, "refused": refused}
        output.print_json({"dry_run": dry_run, **counts, "changes": told})
        return
    rows = [
        (
            each.change.action,
            each.change.kind,
            each.change.name,
            _fields(each.change),
            f"refused: {each.reason}" if each.reason else done,
        )
        for each in outcomes
    ]
    if rows:
        output.print_table(ctx, ("CHANGE", "KIND", "NAME", "FIELDS", "OUTCOME"), rows)
        output.say(ctx, f"{done}: {len(outcomes) - refused}, refused: {refused}")
    else:
        output.say(ctx, "nothing to change: everything is as declared")


def _fields(change: "Change") -> str:
    def text(values: Mapping[str, object], name: str) -> str:
        value = values.get(name)
        if isinstance(value, Mapping):
            return output.labels_text(value) or "none"
        if isinstance(value, list):
            return ",".join(value) or "none"
        if value is None:
            return "none"
        return str(value).lower() if isinstance(value, bool) else str(value)

    if not change.before:
        return ", ".join(f"{name} {text(change.after, name)}" for name in change.after)
    return ", ".join(
        f"{name} {text(change.before, name)} -> {text(change.after, name)}" for name in change.after
    )


def _end(file: str, outcomes: "Sequence[Outcome]") -> None:
    refused = [each for each in outcomes if each.reason is not None]
    if not refused:
        return
    text = f"{len(refused)} of {len(outcomes)} changes of {file} were refused"
    if len(refused) < len(outcomes):
        raise PartlyDoneError(text)
    raise KeypoolError(text)


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(
        epilog=examples("keypool apply -f pool.toml --dry-run", "keypool apply -f pool.yaml")
    )(apply)
