"""Ratios shared through the live store, on plain commands: no server needed."""

import fakeredis
import pytest

from keypool_cli.core.correction import NOTHING, Evidence
from keypool_cli.engine.store import Store
from keypool_cli.errors import UnreachableError
from keypool_cli.service.correcting import MOST_KINDS, Correcting
from keypool_cli.service.correcting_store import FULL_TOKENS, Kind, Known, Ratios

ARABIC = Kind("gemini-2.5-flash", 7, 3, "arabic")
LATIN = ARABIC._replace(script="latin")


@pytest.fixture
def server():
    return fakeredis.FakeServer()


@pytest.fixture
async def store(server):
    client = fakeredis.FakeAsyncRedis(server=server)
    yield Store(client, "redis://fake")
    await client.aclose()


class Told(list[tuple[Kind, float]]):
    async def __call__(self, kind, evidence):
        self.append((kind, round(evidence.ratio, 2)))


@pytest.fixture
def told():
    return Told()


def a_daemon(store, told):
    return Correcting(Ratios(store), told)


async def test_what_one_daemon_learns_the_other_knows_a_tick_later(store, told):
    one, other = a_daemon(store, told), a_daemon(store, told)
    assert other.evidence(ARABIC) == NOTHING
    one.learn(ARABIC, Evidence(1000, 1100, 4))
    await one.tick()
    await other.tick()
    assert one.evidence(ARABIC) == other.evidence(ARABIC) == Evidence(1000, 1100, 4)


async def test_evidence_of_two_daemons_adds_up(store, told):
    one, other = a_daemon(store, told), a_daemon(store, told)
    for each in (one, other, one):
        each.learn(ARABIC, Evidence(100, 110, 1))
        await each.tick()
    assert one.evidence(ARABIC) == Evidence(300, 330, 3)


async def test_many_requests_between_two_ticks_are_one_write(store, told):
    calls = []

    class Watched(Ratios):
        async def add(self, fresh):
            calls.append(dict(fresh))
            return await super().add(fresh)

    daemon = Correcting(Watched(store), told)
    for _ in range(50):
        daemon.learn(ARABIC, Evidence(10, 11, 1))
        daemon.learn(LATIN, Evidence(10, 10, 1))
    await daemon.tick()
    await daemon.tick()
    assert calls == [{ARABIC: Evidence(500, 550, 50), LATIN: Evidence(500, 500, 50)}]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(ARABIC._replace(client=4), id="of another client"),
        pytest.param(ARABIC._replace(script="latin"), id="of another script"),
        pytest.param(ARABIC._replace(model="gemini-3"), id="of another model"),
        pytest.param(ARABIC._replace(version=8), id="of a newer calibration"),
    ],
)
async def test_a_ratio_is_not_used_for_texts(store, told, other):
    daemon = a_daemon(store, told)
    daemon.learn(ARABIC, Evidence(1000, 1300, 20))
    daemon.evidence(other)
    await daemon.tick()
    assert daemon.evidence(other) == NOTHING


async def test_old_traffic_gives_way_to_new(store, told):
    daemon = a_daemon(store, told)
    daemon.learn(ARABIC, Evidence(FULL_TOKENS + 2, FULL_TOKENS + 2, 500))
    await daemon.tick()
    daemon.learn(ARABIC, Evidence(0, 0, 0))
    await daemon.tick()
    assert daemon.evidence(ARABIC).expected == FULL_TOKENS // 2 + 1


async def test_evidence_is_kept_while_the_store_is_away(store, server, told):
    daemon = a_daemon(store, told)
    daemon.learn(ARABIC, Evidence(1000, 1100, 4))
    server.connected = False
    with pytest.raises(UnreachableError):
        await daemon.tick()
    daemon.learn(ARABIC, Evidence(1000, 1100, 4))
    server.connected = True
    await daemon.tick()
    assert daemon.evidence(ARABIC) == Evidence(2000, 2200, 8)


async def test_a_move_is_told_once_by_one_daemon(store, told):
    one, other = a_daemon(store, told), a_daemon(store, told)
    for _ in range(3):
        for each in (one, other):
            each.learn(ARABIC, Evidence(4000, 4400, 20))
            await each.tick()
    assert told == [(ARABIC, 1.09)]


async def test_of_two_daemons_that_see_a_move_at_once_one_tells(store):
    one, other = Ratios(store), Ratios(store)
    claims = [await each.claim(ARABIC, 1.09) for each in (one, other)]
    assert claims == [True, False]


async def test_a_further_move_is_told_again(store, told):
    daemon = a_daemon(store, told)
    daemon.learn(ARABIC, Evidence(30_000, 31_500, 100))
    await daemon.tick()
    daemon.learn(ARABIC, Evidence(30_000, 36_000, 100))
    await daemon.tick()
    assert [ratio for _, ratio in told] == [1.05, 1.12]


async def test_a_ratio_that_stays_near_one_is_not_told(store, told):
    daemon = a_daemon(store, told)
    daemon.learn(ARABIC, Evidence(30_000, 30_500, 500))
    await daemon.tick()
    assert told == []


async def test_ratios_do_not_stay_for_ever(store, told):
    daemon = a_daemon(store, told)
    daemon.learn(ARABIC, Evidence(10, 10, 1))
    await daemon.tick()
    assert 0 < await store.client.ttl(ARABIC.key) <= 7 * 86_400


async def test_only_so_many_kinds_are_remembered(store, told):
    daemon = a_daemon(store, told)
    for client in range(MOST_KINDS + 5):
        daemon._remember({ARABIC._replace(client=client): Known(Evidence(1, 1, 1))})
    assert len(daemon._known) == MOST_KINDS
