"""A project that is removed and added again: upstream has not forgotten what it spent."""

from datetime import timedelta

import pytest

from keypool_cli.core.day import day_of
from keypool_cli.core.model import Mark, MarkKind, MarkScope, Secret
from keypool_cli.engine.types import Acquired, Demand, Grant, LiveMark, MarkAction, Settlement
from keypool_cli.registry.values import NewKey, ProjectFields, QuotaScope, Refusal
from keypool_cli.service.bookkeeping import Bookkeeping
from keypool_cli.service.keys import add_key
from keypool_cli.service.lease_ids import new_lease_id
from keypool_cli.service.projects import KEPT_MS, forget_removed, remove_project, set_project
from keypool_cli.service.sync import read_configured, sync_model
from tests.support.daemon import BY

M = "model-a"


@pytest.fixture
async def project_id(ports):
    """A project of five requests a minute, loaded."""
    found = await come(ports)
    ports.registry.quotas.set(QuotaScope(), {"rpm": 5}, by=BY)
    await sync_model(ports, M, await read_configured(ports))
    return found


async def come(ports):
    await add_key(ports, NewKey("k", Secret("secret"), "p"), by=BY)
    return ports.registry.projects.find("p").id


async def go(ports):
    await remove_project(ports, "p", by=BY, with_keys=True)


async def acquire(ports, tokens=1):
    demand = Demand(new_lease_id(M), 1, tokens)
    answer = await ports.engine.acquire(M, 1, [demand], revision=ports.registry.revision())
    assert isinstance(answer, Acquired)
    return answer.results[0]


async def view(ports, project_id):
    [found] = (await ports.engine.snapshot(M, [project_id])).views
    return found


async def test_it_has_what_is_left_of_its_minute_and_its_day(ports, project_id):
    for _ in range(4):
        assert isinstance(await acquire(ports, 100), Grant)
    await go(ports)
    assert not isinstance(await acquire(ports), Grant)
    assert await come(ports) == project_id
    found = await view(ports, project_id)
    assert (found.requests, found.tokens, found.day_requests) == (4, 400, 4)
    granted = [isinstance(await acquire(ports), Grant) for _ in range(3)]
    assert granted == [True, False, False]


async def test_its_calls_under_way_are_settled_in_its_window(ports, project_id):
    lease = await acquire(ports, 100)
    await go(ports)
    cool = LiveMark(MarkAction.COOL, await ports.engine.now_ms() + 90_000)
    [settled] = await ports.engine.settle(M, [Settlement(lease.lease_id, 0, 30, False, cool)])
    assert settled.first
    assert settled.applied
    await come(ports)
    found = await view(ports, project_id)
    assert (found.tokens, found.in_flight, found.cool_until_ms) == (30, 0, settled.until_ms)


async def test_its_cooldown_and_day_outlast_a_loss_of_the_store_meanwhile(ports, project_id):
    await acquire(ports)
    books = Bookkeeping(ports)
    books.note(M, project_id)
    await books.write()
    await go(ports)
    now = await ports.engine.now_ms()
    record(ports, project_id, now + 3_600_000, MarkKind.COOL)
    await ports.engine.store.client.flushall()
    await come(ports)
    await sync_model(ports, M, await read_configured(ports))
    found = await view(ports, project_id)
    assert (found.cool_until_ms, found.day_requests) == (now + 3_600_000, 6)


def record(ports, project_id, until, kind):
    now = until - 3_600_000
    mark = Mark(
        MarkScope.PROJECT_MODEL, kind, "a rule", "why", now, now,
        project_id=project_id, model=M, until_at_ms=until if kind is MarkKind.COOL else None,
    )  # fmt: skip
    ports.registry.marks.record([Refusal("p", marks=(mark,))], by=BY)


@pytest.mark.parametrize("kind", [MarkKind.EXCLUDE, MarkKind.DISABLE])
async def test_whoever_adds_it_again_means_it_to_be_used(ports, project_id, kind):
    now = await ports.engine.now_ms()
    record(ports, project_id, now + 3_600_000, kind)
    await go(ports)
    await come(ports)
    assert isinstance(await acquire(ports), Grant)


@pytest.mark.usefixtures("project_id")
async def test_what_was_configured_of_it_does_not_come_back(ports):
    fields: ProjectFields = {
        "tier": "free", "billing_account": "acc", "labels": {"a": "b"}, "priority": 3,
    }  # fmt: skip
    await set_project(ports, "p", fields, by=BY)
    ports.registry.quotas.set(QuotaScope(project="p"), {"rpm": 0}, by=BY)
    await go(ports)
    created = await set_project(ports, "p", {}, by=BY, create=True)
    assert (created.tier, created.billing_account, created.labels) == (None, None, {})
    assert (created.priority, created.pools, created.keys) == (0, [], [])
    assert isinstance(await acquire_of_new_key(ports), Grant)


async def acquire_of_new_key(ports):
    await add_key(ports, NewKey("other", Secret("another"), "p"), by=BY)
    return await acquire(ports)


async def test_it_is_forgotten_when_its_days_are_over_and_nothing_cools(ports, project_id):
    await go(ports)
    removed_at = ports.registry.catalog().removed[project_id].removed_at_ms
    later = removed_at + KEPT_MS
    record(ports, project_id, later + 5000, MarkKind.COOL)
    await forget_removed(ports, now_ms=later + 4999)
    assert await ports.engine.members(M) == {project_id}
    ports.registry.marks.expire(later + 5000)
    await forget_removed(ports, now_ms=later - 1)
    assert await ports.engine.members(M) == {project_id}
    await forget_removed(ports, now_ms=later)
    assert await ports.engine.members(M) == set()
    assert ports.registry.catalog().removed == {}
    assert await come(ports) != project_id


async def test_it_is_kept_for_two_days_of_the_pacific(ports):
    now = await ports.engine.now_ms()
    assert timedelta(milliseconds=KEPT_MS) >= timedelta(hours=25 + 24)
    assert day_of(now + KEPT_MS) > day_of(now) + timedelta(days=1)
