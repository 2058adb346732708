"""``explain``: which project a request would get, and why each other would not be chosen."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import output, wiring
from keypool_cli.cli.durations import in_words
from keypool_cli.cli.options import Json, examples
from keypool_cli.errors import NoCapacityError, NotFoundError

if TYPE_CHECKING:
    from keypool_cli.service.explaining import Explained, ProjectVerdict, Question
    from keypool_cli.service.ports import Ports

COLUMNS = ("PROJECT", "WHY", "FITS AT", "IN", "RPM", "TPM", "RPD", "PRIORITY")

MOST_ROWS = 50
"""Projects a person is shown; the chosen one and those that fit come first."""

_BEFORE = {"spread": "another has more room", "pack": "another has less room to spare"}

_LIMITS = {
    "rpm": "requests of this minute are used up",
    "tpm": "not enough tokens left this minute",
    "rpd": "requests of this day are used up",
    "in_flight": "as many leases as allowed are open",
    "cooldown": "cooling down",
    "held": "held for a request that has waited longer",
    "larger": "larger than its limits",
    "unusable": "cannot be used",
}


def explain(
    ctx: typer.Context,
    *,
    model: Annotated[str, typer.Option(metavar="MODEL", help="The model that is asked for.")],
    pool: Annotated[str, typer.Option(metavar="POOL", help="The pool to choose from.")] = "main",
    tokens: Annotated[
        int, typer.Option(metavar="N", min=1, help="Input tokens of the request.")
    ] = 1,
    requests: Annotated[
        int, typer.Option(metavar="N", min=1, max=100, help="Booked together.")
    ] = 1,
    as_json: Json = False,
) -> None:
    """Tell which project a request would get.

    Nothing is reserved. Exit 8 when none has room. Piped, a tab-separated line for each project
    follows the answer: project, why, fits at, in seconds, rpm, tpm, rpd, priority.
    """
    from keypool_cli.service.explaining import Question

    question = Question(pool, model.removeprefix("models/"), tokens, requests)
    found = wiring.live(ctx, lambda ports: _explain(ports, question))
    if as_json:
        output.print_json(found)
    else:
        _print(ctx, found, question)
    if found.chosen is None:
        raise _no_room(found, tokens)


def _no_room(found: "Explained", tokens: int) -> NoCapacityError:
    if {each.limit for each in found.projects} != {"larger"}:
        return NoCapacityError(
            f"pool {found.pool!r} has no room for {output.counted(tokens, 'token')} on {found.model}",
            hint=f"to see what helps: keypool status --pool {shlex.quote(found.pool)}",
        )
    return NoCapacityError(
        f"no project of pool {found.pool!r} may ever take {output.counted(tokens, 'token')} "
        f"on {found.model}",
        hint="split the request; the limits: keypool quota list",
    )


async def _explain(ports: "Ports", question: "Question") -> "Explained":
    from keypool_cli.service.explaining import explain as ask
    from keypool_cli.service.sync import read_configured

    configured = await read_configured(ports)
    if not configured.pools:
        raise NotFoundError(
            f"nothing is configured yet in {wiring.where_stored(ports.settings)}",
            hint="to store a key: keypool add NAME --project PROJECT",
        )
    # Looked up in SQL: its error names pools that are alike.
    await ports.call(ports.registry.pools.find, question.pool)
    return await ask(ports, configured, question)


def _print(ctx: typer.Context, found: "Explained", question: "Question") -> None:
    from keypool_cli.cli.suggesting import model_meant

    output.line(_answer(found))
    if question.model != found.model:
        output.say(ctx, f"{question.model} is counted as {found.model}")
    if all(use.limit is None for each in found.projects for use in (each.rpm, each.tpm, each.rpd)):
        output.hint(ctx, model_meant(found.model, ()))
    if found.waiting:
        output.say(ctx, f"{found.waiting} demands for {found.model} are waiting already")
    if output.on_terminal():
        _print_for_a_person(ctx, found)
    else:
        output.print_table(ctx, COLUMNS, [_row(found, each) for each in found.projects])


def _print_for_a_person(ctx: typer.Context, found: "Explained") -> None:
    """Short cells, and the reasons below them, where there is room for whole sentences."""
    from keypool_cli.cli.status_text import clock
    from keypool_cli.cli.status_view import reason_lines, use_cell

    shown = found.projects[:MOST_ROWS]
    rows = [
        (
            each.project,
            _LIMITS.get(each.limit, each.limit) if each.limit else _why(found, each),
            clock(each.at, found.at) if each.at else "",
            in_words(each.in_s),
            *(use_cell(use, bars=False) for use in (each.rpm, each.tpm, each.rpd)),
        )
        for each in shown
    ]
    output.print_table(ctx, COLUMNS[:-1], rows)
    screen = output.console(ctx)
    for each in shown:
        if each.reason:
            screen.print(
                *reason_lines(f"  {each.project}: ", _reason(each), screen.width), sep="\n"
            )
    if len(shown) < len(found.projects):
        output.say(ctx, f"{len(found.projects) - len(shown)} more projects: piped, all are printed")


def _answer(found: "Explained") -> str:
    request = f"{output.counted(found.tokens, 'token')} on {found.model}"
    if found.chosen is not None:
        return f"{found.pool}: {request} would go to {found.chosen}"
    waits = [each.in_s for each in found.projects if each.in_s is not None]
    when = f"; the first has room in {in_words(min(waits))}" if waits else ""
    return f"{found.pool}: no project has room for {request}{when}"


def _row(found: "Explained", verdict: "ProjectVerdict") -> tuple[object, ...]:
    from keypool_cli.cli.status_text import use_text

    uses = map(use_text, (verdict.rpm, verdict.tpm, verdict.rpd))
    when = verdict.at, None if verdict.in_s is None else f"{verdict.in_s:.0f}"
    return (verdict.project, _why(found, verdict), *when, *uses, verdict.priority)


def _why(found: "Explained", verdict: "ProjectVerdict") -> str:
    if verdict.chosen:
        return "chosen"
    if verdict.limit is None:
        return _why_not_first(found, verdict)
    limit = _LIMITS.get(verdict.limit, verdict.limit)
    return f"{limit}: {_reason(verdict)}" if verdict.reason else limit


def _reason(verdict: "ProjectVerdict") -> str:
    return f"{verdict.reason} ({verdict.rule})" if verdict.rule else f"{verdict.reason}"


def _why_not_first(found: "Explained", verdict: "ProjectVerdict") -> str:
    first = next((each for each in found.projects if each.chosen), None)
    if first is not None and first.priority > verdict.priority:
        return f"fits, but {first.project} has priority {first.priority}"
    return f"fits, but {_BEFORE.get(found.policy, 'another comes first')}"


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(
        epilog=examples("keypool explain --pool main --model gemini-2.5-flash --tokens 2000")
    )(explain)
