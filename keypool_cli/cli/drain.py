"""``drain``: set keys aside, and wait for those who still use them."""

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import output, wiring
from keypool_cli.cli.options import Json, Reason, Yes, examples
from keypool_cli.errors import KeypoolError, StoppedError

if TYPE_CHECKING:
    from keypool_cli.registry.values import Actor
    from keypool_cli.service.draining import Drained
    from keypool_cli.service.ports import Ports


def drain(
    ctx: typer.Context,
    key: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY...]", help="Names of keys.")
    ] = None,
    *,
    project: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="All keys of this project instead.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0, metavar="S", help="Seconds to wait at most; 0 does not wait.")
    ] = 600.0,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Disable keys, then wait until no lease is left.

    A lease ends when it is settled or given back, or when its time is over. Exit 1 when some are
    left after the timeout; the keys stay disabled. To go back: keypool enable KEY, or keypool
    project set PROJECT --enable.
    """
    del yes  # nothing is asked here
    by, names = wiring.actor(reason), tuple(dict.fromkeys(key or ()))
    back = f"to go back: {_undoing(names, project)}"

    async def work(ports: "Ports") -> "tuple[Drained, int, int]":
        return await _drain(ctx, ports, names, project, timeout_s=timeout, by=by)

    try:
        drained, first, left = wiring.change(ctx, work)
    except KeyboardInterrupt:
        _progress(ctx, 0)
        raise StoppedError("no longer waiting; what was disabled stays so", hint=back) from None
    if as_json:
        told = {"project": drained.project, "keys": drained.keys}
        output.print_json({**told, "leases_at_start": first, "leases_left": left})
    elif not left:
        what = f"project {drained.project}" if drained.project else ", ".join(drained.keys)
        output.line(f"{what} drained: disabled, no lease is left (there were {first})")
    if left:
        raise KeypoolError(
            f"{_leases(left)} left after {timeout:g} s; the keys stay disabled",
            hint=f"run it again to go on waiting; {back}",
        )


async def _drain(
    ctx: typer.Context,
    ports: "Ports",
    names: tuple[str, ...],
    project: str | None,
    *,
    timeout_s: float,
    by: "Actor",
) -> "tuple[Drained, int, int]":
    """What was drained, how many leases there were, and how many are left."""
    from keypool_cli.service import draining

    drained = await draining.begin(ports, names, project, by=by)
    first = left = None
    async for left in draining.wait(ports, drained, timeout_s=timeout_s):
        first = left if first is None else first
        _progress(ctx, left)
    _progress(ctx, 0)
    return drained, first or 0, left or 0


def _undoing(names: tuple[str, ...], project: str | None) -> str:
    if project is not None:
        return f"keypool project set {shlex.quote(project)} --enable"
    return f"keypool enable {shlex.join(names)}"


def _progress(ctx: typer.Context, left: int) -> None:
    """One line that is written over while a person watches."""
    if sys.stderr.isatty() and not wiring.session(ctx).quiet:
        sys.stderr.write("\r\x1b[K" + (f"waiting: {_leases(left)} left" if left else ""))
        sys.stderr.flush()


def _leases(count: int) -> str:
    return f"{count} lease" + ("s are" if count > 1 else " is")


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(
        epilog=examples(
            "keypool drain k1 --timeout 30", 'keypool drain --project p1 --reason "moves"'
        )
    )(drain)
