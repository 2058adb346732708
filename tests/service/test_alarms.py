"""Alarms: what is due rings in time, what was dropped never does."""

import asyncio
from time import monotonic

import pytest

from keypool_cli.service.alarms import Alarms


async def test_what_is_due_rings_and_what_was_dropped_does_not() -> None:
    """Each alarm rings once at its own time, whichever was set first."""
    alarms, rung = Alarms(), []

    def late() -> None:
        rung.append("late")

    def soon() -> None:
        rung.append("soon")

    def dropped() -> None:
        rung.append("dropped")

    alarms.ring(0.06, late)
    alarms.ring(0.02, soon)
    alarms.ring(0.01, dropped)
    alarms.drop(dropped)
    await asyncio.sleep(0.04)
    assert rung == ["soon"]
    await asyncio.sleep(0.05)
    assert rung == ["soon", "late"]


async def test_an_alarm_may_set_another() -> None:
    """What rings may ask to be rung again."""
    alarms, done = Alarms(), asyncio.Event()
    alarms.ring(0, lambda: alarms.ring(0.01, done.set))
    async with asyncio.timeout(1):
        await done.wait()


@pytest.mark.parametrize("delay_s", [-1, 0, 0.02])
async def test_work_is_ended_when_its_time_is_over(delay_s: float) -> None:
    """It ends with TimeoutError, on time, and its task is not a cancelled one."""
    begun = monotonic()
    with pytest.raises(TimeoutError), Alarms().within(delay_s):
        await asyncio.sleep(1)
    assert monotonic() - begun < 0.5
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
