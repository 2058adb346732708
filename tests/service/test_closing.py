"""Settlements that nobody waits for: none is lost while the store is away, however long."""

import asyncio
import math
from itertools import islice, repeat
from typing import Any, cast

import pytest
from msgspec import structs

from keypool_cli.engine.types import LeaseEnd, Settled
from keypool_cli.errors import UnreachableError
from keypool_cli.service import closing as closing_module
from keypool_cli.service import repeating
from keypool_cli.service.closing import Closing
from keypool_cli.service.repeating import pauses
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


class _Away(_Settling):
    """A settlement of a store that is away for so many tries."""

    def __init__(self, tries: float) -> None:
        super().__init__(UnreachableError("away"))
        self._tries = tries

    async def settle(self, report: Report) -> None:
        self._tries -= 1
        if self._tries > 0:
            raise UnreachableError("away")
        await super().settle(report)


async def test_an_outage_of_any_length_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing_module, "pauses", lambda: repeat(0.0))
    settling = _Away(200)
    closing = Closing(cast(Settling, settling), cast(Any, _Holding()))
    closing.later(structs.replace(GOOD, status=429))
    await closing.close()
    assert len(settling.made) == 1


async def test_a_store_that_stays_away_does_not_keep_a_daemon_from_ending(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(repeating, "END_S", 0.05)
    closing = Closing(cast(Settling, _Away(math.inf)), cast(Any, _Holding()))
    closing.later(structs.replace(GOOD, status=429))
    await closing.close()
    assert "settlements of proxied calls" in caplog.text


async def test_a_store_that_hangs_does_not_either(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(repeating, "END_S", 0.05)
    settling = _Settling(SETTLED)
    monkeypatch.setattr(settling, "settle_good", lambda _: asyncio.Future[Settled | LeaseEnd]())
    closing = Closing(cast(Settling, settling), cast(Any, _Holding()))
    closing.later(GOOD)
    await closing.close()
    await asyncio.sleep(0)
    assert [each.name for each in caplog.records] == ["keypool.daemon"]


def test_pauses_grow_to_some_seconds_and_never_end() -> None:
    first = list(islice(pauses(), 1000))
    assert first == sorted(first)
    assert 1 <= first[-1] <= 10
