"""What daemons say of themselves in the live store."""

import msgspec
import pytest

from keypool_cli.core.refusal import classify
from keypool_cli.service.instances import (
    GONE_S,
    INSTANCES,
    SILENT_S,
    Activity,
    Reporting,
    read_instances,
)
from keypool_cli.service.waiting import Waiting

OVERLOADED = classify(503, None, now_at_ms=0, day_end_at_ms=0, jitter=0.0)
assert OVERLOADED is not None
RULE = OVERLOADED.rule


class FakeClock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def activity(clock):
    return Activity(clock)


@pytest.fixture
async def waiting(ports):
    made = Waiting(ports.engine)
    yield made
    await made.close()


@pytest.fixture
def reporting(ports, waiting, activity):
    return Reporting(ports.engine, waiting, activity)


def test_leases_a_second_are_those_of_the_last_ten(activity, clock):
    for _ in range(20):
        activity.granted()
    assert activity.per_second() == 2.0
    clock.now += 9
    assert activity.per_second() == 2.0
    clock.now += 1
    assert activity.per_second() == 0.0
    assert activity.leases == 20


def test_errors_and_refusals_are_counted_for_a_minute_by_what_they_name(activity, clock):
    activity.settled(OVERLOADED)
    activity.settled(OVERLOADED)
    activity.settled(None)
    activity.refused("tpm")
    clock.now += 59
    activity.refused("rpm")
    assert activity.last_minute("error") == {RULE: 2}
    assert activity.last_minute("refused") == {"tpm": 1, "rpm": 1}
    clock.now += 1
    assert activity.last_minute("error") == {}
    assert activity.last_minute("refused") == {"rpm": 1}


def test_what_is_older_than_a_minute_takes_no_memory(activity, clock):
    for _ in range(1000):
        activity.granted()
        clock.now += 1
    assert len(activity._seconds) <= 60


async def test_a_report_is_read_as_it_was_made(ports, reporting, waiting, activity):
    activity.granted()
    activity.settled(OVERLOADED)
    await reporting.report()
    [found] = await read_instances(ports.engine)
    assert (found.instance, found.leases, found.waiting) == (waiting.daemon, 1, 0)
    assert found.errors == {RULE: 1}
    assert found.reporting
    assert found.age_s < SILENT_S


async def make_older(ports, seconds):
    """Date every record back."""
    client = ports.engine.store.client
    for name, value in (await client.hgetall(INSTANCES)).items():
        record = msgspec.msgpack.decode(value)
        record["at_ms"] -= int(seconds * 1000)
        await client.hset(INSTANCES, name, msgspec.msgpack.encode(record))


async def test_a_daemon_that_says_nothing_more_is_silent_then_gone(ports, reporting):
    await reporting.report()
    await make_older(ports, SILENT_S)
    [found] = await read_instances(ports.engine)
    assert not found.reporting
    assert found.age_s >= SILENT_S
    await make_older(ports, GONE_S)
    assert await read_instances(ports.engine) == []
    assert await ports.engine.store.client.hgetall(INSTANCES) == {}


async def test_a_daemon_that_ends_takes_its_record_along(ports, reporting):
    await reporting.report()
    await reporting.leave()
    assert await read_instances(ports.engine) == []


async def test_a_record_that_is_not_understood_is_left_out(ports, reporting):
    await reporting.report()
    await ports.engine.store.client.hset(INSTANCES, "other", b"\x00")
    assert len(await read_instances(ports.engine)) == 1
