"""``check``: ask Gemini about keys, without spending quota."""

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import output, wiring
from keypool_cli.cli.options import Json, Reason, Yes, examples
from keypool_cli.cli.progress import progress
from keypool_cli.errors import KeypoolError, PartlyDoneError, UnreachableError, UsageError

if TYPE_CHECKING:
    from keypool_cli.registry.values import Actor
    from keypool_cli.service.checking import Checked, Wanted
    from keypool_cli.service.ports import Ports

LONG = 20
"""Keys from which a progress bar is shown."""


def check(
    ctx: typer.Context,
    key: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY...]", help="Names of keys.")
    ] = None,
    *,
    pool: Annotated[
        str | None, typer.Option(metavar="POOL", help="All keys of this pool instead.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All keys instead.")] = False,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Count tokens with this model, too; else list models."),
    ] = None,
    set_dead: Annotated[
        bool, typer.Option("--set-dead", help="Take keys that Gemini refuses out of service.")
    ] = False,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Ask Gemini about keys; no generation quota is spent.

    valid: Gemini knows the key. That proves neither billing nor quota: only generating does.
    dead: the key itself is refused. blocked: its project or the model is. unsure: Gemini did not
    say. Nothing is changed without --set-dead. Exit 7 when some keys are not valid, 1 when none
    is, 6 when Gemini cannot be reached.
    """
    from keypool_cli.service.checking import Wanted

    del yes  # nothing is asked here
    if sum((bool(key), pool is not None, every)) != 1:
        raise UsageError("name keys, or --pool, or --all", hint="see: keypool check --help")
    name = None if model is None else model.removeprefix("models/")
    wanted = Wanted(key or None, pool, name)
    by = wiring.actor(reason) if set_dead else None
    found = wiring.change(ctx, lambda ports: _check(ports, wanted, by))
    if as_json:
        counts = Counter(each.outcome for each in found)
        told = {each: counts[each] for each in ("valid", "dead", "blocked", "unsure")}
        output.print_json({**told, "keys": found})
    else:
        _print(ctx, found)
    _end(ctx, found, as_json=as_json)


async def _check(ports: "Ports", wanted: "Wanted", by: "Actor | None") -> "list[Checked]":
    from keypool_cli.service import checking

    keys = await checking.chosen(ports, wanted)
    with progress("asking Gemini", len(keys), at_least=LONG) as done:
        found = await checking.check(ports, keys, model=wanted.model, progress=done)
    return found if by is None else await checking.set_dead(ports, keys, found, by=by)


def _print(ctx: typer.Context, found: "Sequence[Checked]") -> None:
    rows = [(each.key, each.project, each.outcome, each.rule, each.says) for each in found]
    if output.on_terminal():
        output.print_table(ctx, ("KEY", "PROJECT", "OUTCOME", "RULE"), [row[:4] for row in rows])
        _print_what_it_says(ctx, found)
    else:
        output.print_table(ctx, ("KEY", "PROJECT", "OUTCOME", "RULE", "WHAT THAT SAYS"), rows)
    for each in found:
        if each.set_dead:
            output.say(ctx, f"{each.key} is dead now, and will not be leased")
    if not found:
        output.say(ctx, "no keys to check")
        output.hint(ctx, "to store one: keypool add NAME --project PROJECT")


def _print_what_it_says(ctx: typer.Context, found: "Sequence[Checked]") -> None:
    """Each saying once and whole: it tells how much, or how little, is proven."""
    from keypool_cli.cli.tables import folded, some

    terminal = output.console(ctx)
    for says in dict.fromkeys(each.says for each in found):
        names = some([each.key for each in found if each.says == says])
        text = output.clean(f"  {names}: {says}")
        for line in folded(text, terminal.width):
            terminal.print(line)


def _end(ctx: typer.Context, found: "Sequence[Checked]", *, as_json: bool) -> None:
    bad = [each for each in found if each.outcome != "valid"]
    aside = [each for each in found if each.outcome == "valid" and each.state != "ready"]
    if aside and not as_json:
        states = " or ".join(sorted({each.state for each in aside}))
        names = shlex.join(each.key for each in aside)
        output.hint(ctx, f"valid, but {states} here: keypool enable {names}")
    if not bad:
        return
    dead = [each.key for each in bad if each.outcome == "dead" and not each.set_dead]
    hint = f"a dead key needs a new secret: keypool rotate {shlex.quote(dead[0])}" if dead else None
    text = f"{len(bad)} of {output.counted(len(found), 'key')} not valid"
    if len(bad) < len(found):
        raise PartlyDoneError(text, hint=hint)
    if all(each.rule == "no-answer" for each in bad):
        raise UnreachableError(f"no key could be checked: {bad[0].says}", hint="keypool doctor")
    raise KeypoolError(text, hint=hint)


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(
        epilog=examples("keypool check k1 k2", "keypool check --all --model gemini-2.5-flash")
    )(check)
