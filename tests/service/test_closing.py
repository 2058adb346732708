"""Settlements that nobody waits for: none is lost while the store is away for a moment."""

import asyncio
from typing import Any, cast

import pytest

from keypool_cli.engine.types import LeaseEnd, Settled
from keypool_cli.errors import UnreachableError
from keypool_cli.service.closing import Closing
from keypool_cli.service.settling import Report, Settling

GOOD = Report("~id.model", None, 200, {"promptTokenCount": 3}, witnessed=True)
SETTLED = Settled(
    tokens=3,
    applied=False,
    until_ms=0,
    answer="",
    project_id=1,
    key_id=1,
    granted_at_ms=1,
    first=True,
)


class _Settling:
    """A settlement whose first try meets what is given; then it is made."""

    def __init__(self, first: Settled | LeaseEnd | Exception) -> None:
        self._first = first
        self.made: list[Report] = []

    def settle_good(self, _report: Report) -> asyncio.Future[Settled | LeaseEnd]:
        future = asyncio.get_running_loop().create_future()
        first = self._first
        asyncio.get_running_loop().call_later(
            0.01,
            lambda: (
                future.set_exception(first)
                if isinstance(first, Exception)
                else future.set_result(first)
            ),
        )
        return future

    def count(self, report: Report, *_: object) -> None:
        self.made.append(report)

    async def settle(self, report: Report) -> None:
        await asyncio.sleep(0.01)
        self.made.append(report)


class _Holding:
    def let_go(self, lease_id: str) -> None:
        pass


@pytest.mark.parametrize("first", [SETTLED, UnreachableError("away"), RuntimeError("odd")])
async def test_what_is_under_way_is_waited_for(first: Settled | Exception) -> None:
    """Closing ends when the good call is settled, at the first try or at the next."""
    settling = _Settling(first)
    closing = Closing(cast(Settling, settling), cast(Any, _Holding()))
    closing.later(GOOD)
    assert settling.made == []
    await closing.close()
    assert settling.made == [GOOD]
