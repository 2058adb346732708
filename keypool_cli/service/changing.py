"""Changing the registry so that every daemon obeys at once.

SQL first, then the live state of each loaded model; a daemon that meets a model older than the
registry loads it before it grants, so nothing is missed in between.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import TypeVar

from keypool_cli.errors import KeypoolError, StoppedError, UnreachableError
from keypool_cli.registry.change import noting_revisions
from keypool_cli.service.ports import Ports
from keypool_cli.service.sync import read_configured, sync_projects

T = TypeVar("T")


async def changing(
    ports: Ports,
    change: Callable[[], T],
    touched: Callable[[T], Collection[int]] = lambda _: (),
    *,
    stoppable: bool = False,
) -> T:
    """Run one change of the registry and write the projects it touched to the live store.

    touched: ids of the projects (also of removed ones) that the change's result concerns.
    stoppable: the change itself ends soon once nobody waits for it.
    Where the change is made but could not be written there, the result is answered all the same,
    for it may be a token that nobody can ask for again, and ``ports.unheard`` says why.
    """
    with noting_revisions() as made:
        work = ports.call(change)
        result = await (work if stoppable else _to_its_end(work))
    if ports.away is not None and made and not ports.unheard:
        ports.unheard.append(_unheard(ports.away))
    if ports.live and not ports.unheard:
        await telling(ports, spread(ports, touched(result), made))
    return result


async def _to_its_end(work: Awaitable[T]) -> T:
    """Wait through Ctrl-C for a thread: it goes on, and who asked is to be told what it did.

    Ctrl-C is given again until the run ends, see ``wiring``.
    """
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return task.result()


async def telling(ports: Ports, spreading: Awaitable[None]) -> None:
    """Write a change that is made to the live store, or note in ``ports.unheard`` why not."""
    try:
        await spreading
    except (UnreachableError, asyncio.CancelledError) as err:
        ports.unheard.append(_unheard(err))


def _unheard(err: BaseException) -> KeypoolError:
    made = "the change is made, but daemons have not all heard of it"
    hint = "they take it over by themselves, at the latest when the live store is well again"
    if isinstance(err, UnreachableError):
        return UnreachableError(f"{made}: {err}", hint=f"{hint}; what ails it: keypool doctor")
    return StoppedError(f"interrupted: {made}", hint=hint)


async def spread(ports: Ports, project_ids: Collection[int], made: Sequence[int]) -> None:
    """Write the projects that the revisions made concern to the live store, if any was."""
    if made:
        await sync_projects(ports, await read_configured(ports), project_ids, made)
