"""``explain``: which project a request would get, and why each other would not be chosen."""

from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import output, wiring
from keypool_cli.cli.durations import in_words
from keypool_cli.cli.options import Json, examples
from keypool_cli.errors import NoCapacityError

if TYPE_CHECKING:
    from keypool_cli.service.explaining import Explained, ProjectVerdict, Question
    from keypool_cli.service.ports import Ports

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
    model: Annotated[str, typer.Option(help="The model that is asked for.")],
    pool: Annotated[str, typer.Option(help="The pool to choose from.")] = "main",
    tokens: Annotated[int, typer.Option(min=1, help="Input tokens of the request.")] = 1,
    requests: Annotated[int, typer.Option(min=1, max=100, help="Booked together.")] = 1,
    as_json: Json = False,
) -> None:
    """Tell which project a request would get.

    Nothing is reserved. Exit 8 when none has room.
    """
    from keypool_cli.service.explaining import Question

    question = Question(pool, model.removeprefix("models/"), tokens, requests)
    found = wiring.live(ctx, lambda ports: _explain(ports, question))
    if as_json:
        output.print_json(found)
    else:
        output.line(_answer(found))
        rows = [(each.project, _why(each), each.at, in_words(each.in_s)) for each in found.projects]
        output.print_table(ctx, ("PROJECT", "WHY", "FITS AT", "IN"), rows)
    if found.chosen is None:
        raise NoCapacityError(
            f"pool {found.pool!r} has no room for {tokens} tokens on {found.model}",
            hint=f"see how it stands: keypool status --pool {found.pool}",
        )


async def _explain(ports: "Ports", question: "Question") -> "Explained":
    from keypool_cli.service.explaining import explain as ask
    from keypool_cli.service.sync import read_configured

    # Looked up in SQL first: its error names pools that are alike.
    await ports.call(ports.registry.pools.find, question.pool)
    return await ask(ports, await read_configured(ports), question)


def _answer(found: "Explained") -> str:
    request = f"{found.tokens} tokens on {found.model}"
    if found.chosen is not None:
        return f"{found.pool}: {request} would go to {found.chosen}"
    waits = [each.in_s for each in found.projects if each.in_s is not None]
    when = f"; the first has room in {in_words(min(waits))}" if waits else ""
    return f"{found.pool}: no project has room for {request}{when}"


def _why(verdict: "ProjectVerdict") -> str:
    if verdict.chosen:
        return "chosen"
    if verdict.limit is None:
        return "fits, but another comes first"
    return _LIMITS.get(verdict.limit, verdict.limit) + (
        f": {verdict.reason}" if verdict.reason else ""
    )


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(
        epilog=examples("keypool explain --pool main --model gemini-2.5-flash --tokens 2000")
    )(explain)
