"""Background work ends, whatever it makes of being cancelled."""

import asyncio

from keypool_cli.service import stopping
from keypool_cli.service.stopping import stop


async def asleep():
    await asyncio.sleep(60)


async def forgetful(times):
    """As ``asyncio.wait_for`` is now and then before Python 3.12; ends by itself after a while."""
    for _ in range(100):
        try:
            await asyncio.sleep(0.03)
        except asyncio.CancelledError:
            if not times:
                raise
            times -= 1


async def test_tasks_that_forget_that_they_were_cancelled_end_too(monkeypatch):
    monkeypatch.setattr(stopping, "AGAIN_S", 0.01)
    tasks = [asyncio.create_task(each) for each in (asleep(), forgetful(3))]
    await asyncio.sleep(0)
    await stop(tasks)
    assert all(each.cancelled() for each in tasks)


async def test_there_may_be_nothing_to_stop():
    await stop([])
