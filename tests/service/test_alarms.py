"""Alarms: what is due rings in time, what was dropped never does."""

import asyncio
from collections.abc import Callable
from time import monotonic

import pytest

from keypool_cli.service.alarms import Alarms

EARLY_S = 0.002
"""An alarm may ring so much too early: the loop counts in milliseconds."""


async def test_what_is_due_rings_and_what_was_dropped_does_not() -> None:
    """Each alarm rings once at its own time, whichever was set first."""
    alarms, rung, done = Alarms(), [], asyncio.Event()
    begun = monotonic()

    def ringer(name: str) -> Callable[[], None]:
        return lambda: rung.append((name, monotonic() - begun))

    dropped = ringer("dropped")
    alarms.ring(3600, ringer("much later"))
    alarms.ring(0.06, ringer("late"))
    alarms.ring(0.02, ringer("soon"))
    alarms.ring(0.01, dropped)
    alarms.drop(dropped)
    alarms.ring(0.08, done.set)
    await asyncio.wait_for(done.wait(), 30)
    # Where the machine stood still for a while, those that are due ring together.
    (late, late_s), (soon, soon_s) = sorted(rung)
    assert (late, soon) == ("late", "soon")
    assert late_s >= 0.06 - EARLY_S
    assert soon_s >= 0.02 - EARLY_S


async def test_an_alarm_may_set_another() -> None:
    """What rings may ask to be rung again."""
    alarms, done = Alarms(), asyncio.Event()
    alarms.ring(0, lambda: alarms.ring(0.01, done.set))
    await asyncio.wait_for(done.wait(), 30)


@pytest.mark.parametrize("delay_s", [-1, 0, 0.02])
async def test_work_is_ended_when_its_time_is_over(delay_s: float) -> None:
    """It ends with TimeoutError, on time, and its task is not a cancelled one."""
    begun = monotonic()
    with pytest.raises(TimeoutError), Alarms().within(delay_s):
        await asyncio.sleep(60)
    assert monotonic() - begun < 30
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_work_that_ends_in_time_hears_nothing_later() -> None:
    """Its alarm goes with it."""
    with Alarms().within(0.01):
        pass
    await asyncio.sleep(0.03)


async def test_a_task_that_is_cancelled_is_not_told_of_its_deadline() -> None:
    """Whoever cancels it meanwhile, even in the same moment, wins."""

    async def work(alarms: Alarms) -> None:
        with alarms.within(0):
            await asyncio.sleep(1)

    task = asyncio.create_task(work(Alarms()))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
