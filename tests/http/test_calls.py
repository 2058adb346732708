"""Calls on their way from the server's threads."""

import asyncio
from typing import Any

import pytest

from keypool_cli.http.calls import _run


class Heard:
    """A call that notes how it was told to end."""

    scope: Any = None
    proto: Any = None

    def __init__(self) -> None:
        self.told: list[object] = []

    def taskref(self, task: "asyncio.Task[None]") -> None:
        """Nobody asks."""

    def done(self) -> None:
        self.told.append("done")

    def err(self, error: BaseException) -> None:
        self.told.append(error)


async def test_a_call_cut_off_by_the_daemons_end_is_no_failure():
    async def parked(_scope, _proto):
        await asyncio.sleep(60)

    call = Heard()
    task = asyncio.create_task(_run(parked, call))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call.told == ["done"]


async def test_a_call_that_fails_tells_how():
    async def broken(_scope, _proto):
        raise ValueError("broken")

    call = Heard()
    await _run(broken, call)
    assert [str(each) for each in call.told] == ["broken"]
