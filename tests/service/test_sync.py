"""The registry in the live store: loaded, kept current by several processes, and rebuilt when lost."""

import asyncio
from datetime import timedelta

import pytest

from keypool_cli.core.day import day_of
from keypool_cli.core.model import Mark, MarkKind, MarkScope, Secret
from keypool_cli.engine.types import (
    Acquired,
    Demand,
    Grant,
    LivePool,
    LiveProject,
    Refused,
    Stale,
    Waits,
)
from keypool_cli.registry.database import now_ms
from keypool_cli.registry.values import DayCount, NewKey, QuotaScope, Refusal
from keypool_cli.service.bookkeeping import Bookkeeping
from keypool_cli.service.lease_ids import new_lease_id
from keypool_cli.service.resetting import reset
from keypool_cli.service.resetting_values import ResetRequest
from keypool_cli.service.stopping import stop
from keypool_cli.service.sync import (
    BEHIND_MS,
    read_configured,
    sync_locked,
    sync_model,
    sync_projects,
    vouch,
)
from tests.support.daemon import BY

M = "model-a"


def add(ports, name, **limits):
    key = ports.registry.keys.add(NewKey(f"{name}-key", Secret(f"secret-{name}"), name), by=BY)
    if limits:
        ports.registry.quotas.set(QuotaScope(project=name), limits, by=BY)
    return key.project_id


def forget(ports, name):
    ports.registry.projects.remove(name, by=BY, with_keys=True)
    ports.registry.projects.forget(now_ms(), by=BY)


def since_then(ports, revision):
    """The revisions made after this one."""
    return range(revision + 1, ports.registry.revision() + 1)


async def view(ports, project_id, model=M):
    [found] = (await ports.engine.snapshot(model, [project_id])).views
    return found


async def acquire(ports, *, revision=0, tokens=1):
    demand = Demand(new_lease_id(M), 1, tokens)
    answer = await ports.engine.acquire(M, 1, [demand], revision=revision)
    return answer.results[0] if isinstance(answer, Acquired) else answer


async def test_first_use_loads_a_model_and_grants_at_once(ports):
    add(ports, "p")
    assert isinstance(await acquire(ports), Stale)
    await sync_model(ports, M, await read_configured(ports))
    assert isinstance(await acquire(ports), Grant)
    assert ports.registry.live_epochs.get(M).epoch == await ports.engine.epoch(M)


async def test_a_newer_revision_must_be_loaded_before_anything_is_granted(ports):
    p = add(ports, "p")
    await sync_model(ports, M, await read_configured(ports))
    ports.registry.quotas.set(QuotaScope(project="p"), {"rpm": 3}, by=BY)
    newer = await read_configured(ports)
    assert isinstance(await acquire(ports, revision=newer.revision), Stale)
    await sync_model(ports, M, newer)
    assert isinstance(await acquire(ports, revision=newer.revision), Grant)
    assert (await view(ports, p)).limit_requests == 3


async def test_what_was_read_earlier_does_not_overwrite_what_was_changed_since(ports):
    p = add(ports, "p")
    await sync_model(ports, M, await read_configured(ports))
    first = ports.registry.revision()
    ports.registry.quotas.set(QuotaScope(project="p"), {"rpm": 3}, by=BY)
    slow = await read_configured(ports)
    ports.registry.keys.disable("p-key", by=BY)
    await sync_projects(ports, await read_configured(ports), [p], [slow.revision + 1])
    await sync_projects(ports, slow, [p], [first + 1])
    found = await view(ports, p)
    assert (found.key_count, found.limit_requests) == (0, 3)
    assert isinstance(await acquire(ports, revision=ports.registry.revision()), Refused)


async def test_a_change_of_another_who_died_before_writing_it_is_not_taken_for_written(ports):
    p, other = add(ports, "p"), add(ports, "other")
    await sync_model(ports, M, await read_configured(ports))
    before = ports.registry.revision()
    ports.registry.keys.disable("other-key", by=BY)
    ports.registry.keys.disable("p-key", by=BY)
    await sync_projects(ports, await read_configured(ports), [p], [before + 2])
    assert [(await view(ports, each)).key_count for each in (p, other)] == [0, 0]


async def test_of_a_change_made_later_by_another_nothing_is_taken_for_written(ports):
    p, other = add(ports, "p"), add(ports, "other")
    await sync_model(ports, M, await read_configured(ports))
    before = ports.registry.revision()
    ports.registry.keys.disable("p-key", by=BY)
    ports.registry.keys.disable("other-key", by=BY)
    await sync_projects(ports, await read_configured(ports), [p], [before + 1])
    assert (await ports.engine.snapshot(M, [])).revision == before + 1
    assert (await view(ports, p)).key_count == 0
    await sync_model(ports, M, await read_configured(ports))
    assert (await view(ports, other)).key_count == 0


async def test_several_processes_may_sync_at_once(ports):
    p = add(ports, "p", rpm=5)
    configured = await read_configured(ports)
    await asyncio.gather(*(sync_model(ports, M, configured) for _ in range(8)))
    assert (await view(ports, p)).limit_requests == 5
    assert isinstance(await acquire(ports, revision=configured.revision), Grant)


async def test_a_project_that_is_forgotten_leaves_the_live_store(ports):
    p = add(ports, "p")
    await sync_model(ports, M, await read_configured(ports))
    since = ports.registry.revision()
    forget(ports, "p")
    await sync_projects(ports, await read_configured(ports), [p], since_then(ports, since))
    assert await ports.engine.members(M) == set()
    assert (await ports.engine.snapshot(M, [p])).views == []


@pytest.fixture
async def lost(ports):
    """Two loaded projects, one of which a refusal cools, and then an empty store."""
    spent, fresh = add(ports, "spent", rpm=5), add(ports, "fresh")
    configured = await read_configured(ports)
    await sync_model(ports, M, configured)
    now = await ports.engine.now_ms()
    mark = Mark(
        MarkScope.PROJECT_MODEL, MarkKind.COOL, "per-day", "why", now, now,
        project_id=spent, model=M, until_at_ms=now + 3_600_000,
    )  # fmt: skip
    ports.registry.marks.record([Refusal("spent", marks=(mark,))], by=BY)
    counts = [DayCount(spent, M, day_of(now).isoformat(), 40)]
    ports.registry.day_counts.save(counts, read_at_ms=now)
    await ports.engine.store.client.flushall()
    return configured, spent, fresh, now


async def test_a_lost_store_is_rebuilt_from_sql_and_waits_out_one_window(ports, lost):
    configured, spent, fresh, now = lost
    await sync_model(ports, M, configured)
    cooled, other = await view(ports, spent), await view(ports, fresh)
    # The cooldown was not known to what the caller held: it makes no new revision.
    assert cooled.cool_until_ms == now + 3_600_000
    assert 60_000 <= other.cool_until_ms - now <= 90_000
    assert await ports.engine.rebuilt_until(M) == other.cool_until_ms
    # What a minute allows may have been granted since the count was written.
    assert (cooled.day_requests, other.day_requests) == (45, 0)


async def test_a_rebuilt_store_is_not_rebuilt_again(ports, lost):
    configured, _, fresh, _ = lost
    await sync_model(ports, M, configured)
    await ports.engine.reset(M, [fresh])
    await sync_model(ports, M, configured)
    assert (await view(ports, fresh)).cool_until_ms == 0
    assert isinstance(await acquire(ports), Grant)


async def test_a_reset_cooldown_is_not_brought_back_by_a_rebuild(ports, lost):
    configured, spent, _, _ = lost
    await sync_model(ports, M, configured)
    await reset(ports, await read_configured(ports), ResetRequest(project="spent"), by=BY)
    assert (await view(ports, spent)).cool_until_ms == 0
    await ports.engine.store.client.flushall()
    await sync_model(ports, M, await read_configured(ports))
    now = await ports.engine.now_ms()
    assert (await view(ports, spent)).cool_until_ms - now <= 61_000


async def test_day_counts_are_written_as_they_grow(ports):
    p = add(ports, "p")
    await sync_model(ports, M, await read_configured(ports))
    books = Bookkeeping(ports)
    today = day_of(await ports.engine.now_ms()).isoformat()
    for expected in (1, 2):
        books.note(M, (await acquire(ports)).project_id)
        await books.write()
        assert ports.registry.day_counts.load(M, today) == {p: expected}


async def test_a_day_count_whose_write_is_broken_off_is_written_next(ports, monkeypatch):
    """A daemon that ends breaks off what it writes every few seconds, and writes once more."""
    p = add(ports, "p")
    await sync_model(ports, M, await read_configured(ports))
    books, begun = Bookkeeping(ports), asyncio.Event()
    books.note(M, (await acquire(ports)).project_id)

    async def hang(*_):
        begun.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as store:
        store.setattr(ports.engine, "snapshot", hang)
        writing = asyncio.create_task(books.write())
        await begun.wait()
        await stop([writing])
    await books.write()
    today = day_of(await ports.engine.now_ms()).isoformat()
    assert ports.registry.day_counts.load(M, today) == {p: 1}


@pytest.fixture
async def used(ports):
    """A project on which three leases were granted and noted, on a store that has restarted."""
    p = add(ports, "p", rpm=5, rpd=100)
    configured = await read_configured(ports)
    await vouch(ports, M, configured)
    books = Bookkeeping(ports)
    for _ in range(3):
        books.note(M, (await acquire(ports)).project_id)
    await books.write()
    await ports.engine.store.client.delete(f"{{kp:{M}}}:vouched")
    return configured, p


async def waits_out(ports, project_id):
    found = await view(ports, project_id)
    return found.cool_until_ms > await ports.engine.now_ms()


async def test_a_store_that_restarted_with_all_it_had_is_taken_as_it_is(ports, used):
    configured, p = used
    await vouch(ports, M, configured)
    found = await view(ports, p)
    assert (found.requests, found.day_requests) == (3, 3)
    assert not await waits_out(ports, p)


async def test_a_store_that_forgot_a_second_is_taken_with_the_cooldowns_it_forgot(ports, used):
    configured, p = used
    now = await ports.engine.now_ms()
    ports.registry.live_epochs.note_use(M, at_ms=now + 5000)
    mark = Mark(
        MarkScope.PROJECT_MODEL, MarkKind.COOL, "per-day", "why", now, now,
        project_id=p, model=M, until_at_ms=now + 3_600_000,
    )  # fmt: skip
    ports.registry.marks.record([Refusal("p", marks=(mark,))], by=BY)
    await vouch(ports, M, configured)
    found = await view(ports, p)
    assert (found.requests, found.cool_until_ms) == (3, now + 3_600_000)


async def test_an_older_copy_of_the_store_is_rebuilt(ports, used):
    configured, p = used
    later = await ports.engine.now_ms() + BEHIND_MS + 1000
    ports.registry.live_epochs.note_use(M, at_ms=later)
    counts = [DayCount(p, M, day_of(later).isoformat(), 40)]
    ports.registry.day_counts.save(counts, read_at_ms=later)
    await vouch(ports, M, configured)
    found = await view(ports, p)
    assert (found.requests, found.in_flight, found.day_requests) == (0, 0, 45)
    assert await waits_out(ports, p)


async def test_another_lifes_copy_of_the_store_is_rebuilt(ports, used):
    configured, p = used
    at_ms = await ports.engine.now_ms()
    ports.registry.live_epochs.set(M, "another life", at_ms=at_ms)
    await vouch(ports, M, configured)
    assert (await view(ports, p)).requests == 0
    assert await waits_out(ports, p)


async def test_a_store_that_served_another_registry_is_rebuilt(ports):
    add(ports, "p")
    project = LiveProject(7, 9, -1, -1, -1, 1, 0, [70], [1])
    await ports.engine.load(M, [project])
    await ports.engine.seal(M, revision=1, pools=[LivePool(1, 0, [0])], epoch="theirs")
    await vouch(ports, M, await read_configured(ports))
    assert 7 not in await ports.engine.members(M)
    assert await ports.engine.epoch(M) != "theirs"


async def test_a_registry_that_was_set_back_rules_the_store_again(ports, used):
    configured, p = used
    epoch = await ports.engine.epoch(M)
    ahead = configured.revision + 50
    pools = configured.live_pools()
    assert await ports.engine.seal(M, revision=ahead, pools=pools, epoch=epoch)
    await vouch(ports, M, configured)
    assert (await ports.engine.snapshot(M, [])).revision == configured.revision
    assert await waits_out(ports, p)


async def test_nothing_is_noted_in_a_store_nobody_has_compared_with_sql(ports, used):
    configured, p = used
    before = await ports.engine.used_at_ms(M)
    books = Bookkeeping(ports)
    books.note(M, p)
    await books.write()
    assert await ports.engine.used_at_ms(M) == before
    await vouch(ports, M, configured)
    books.note(M, p)
    await books.write()
    assert await ports.engine.used_at_ms(M) > before


async def test_counts_of_the_days_before_yesterday_are_forgotten(ports):
    p = add(ports, "p")
    today = day_of(await ports.engine.now_ms())
    days = [(today - timedelta(days=ago)).isoformat() for ago in range(4)]
    ports.registry.day_counts.save([DayCount(p, M, day, 7) for day in days], read_at_ms=1)
    await Bookkeeping(ports)._tidy()
    kept = [day for day in days if ports.registry.day_counts.load(M, day)]
    assert kept == days[:2]


async def test_a_store_that_lost_a_part_is_rebuilt(ports, used):
    configured, p = used
    await ports.engine.store.client.delete(f"{{kp:{M}}}:meta")
    await sync_model(ports, M, configured)
    assert (await view(ports, p)).requests == 0
    assert await waits_out(ports, p)


async def test_a_change_is_written_to_many_models_without_a_turn_at_each(ports, monkeypatch):
    p, gone = add(ports, "p"), add(ports, "gone")
    models = [f"model-{number}" for number in range(300)]
    for model in models:
        await sync_model(ports, model, await read_configured(ports))
    since = ports.registry.revision()
    ports.registry.keys.disable("p-key", by=BY)
    forget(ports, "gone")
    monkeypatch.setattr(ports.engine, "lock", None)
    configured = await read_configured(ports)
    await sync_projects(ports, configured, [p, gone], since_then(ports, since))
    for model in models:
        snapshot = await ports.engine.snapshot(model, [p, gone])
        assert [each.key_count for each in snapshot.views] == [0]
        assert snapshot.revision == configured.revision
        assert await ports.engine.members(model) == {p}


async def test_a_change_waits_for_whoever_loads_the_model(ports):
    p = add(ports, "p")
    await sync_model(ports, M, await read_configured(ports))
    since = ports.registry.revision()
    ports.registry.keys.disable("p-key", by=BY)
    assert await ports.engine.lock(M, "theirs", 60_000)
    changing = asyncio.create_task(
        sync_projects(ports, await read_configured(ports), [p], since_then(ports, since))
    )
    await asyncio.sleep(0.3)
    assert (await view(ports, p)).key_count == 1
    await ports.engine.unlock(M, "theirs")
    await changing
    assert (await view(ports, p)).key_count == 0


@pytest.mark.parametrize("changed", [False, True], ids=["the model", "a change"])
async def test_who_stood_still_while_loading_leaves_what_is_newest(ports, monkeypatch, changed):
    """So long that the lock was over, and another daemon has loaded a newer revision."""
    p = add(ports, "p", rpm=10)
    since = ports.registry.revision()
    if changed:
        await sync_model(ports, M, await read_configured(ports))
        ports.registry.quotas.set(QuotaScope(project="p"), {"rpm": 9}, by=BY)
    configured, load = await read_configured(ports), ports.engine.load

    async def stand_still(model, projects):
        monkeypatch.undo()
        ports.registry.quotas.set(QuotaScope(project="p"), {"rpm": 1}, by=BY)
        await sync_locked(ports, M, await read_configured(ports))
        await load(model, projects)

    monkeypatch.setattr(ports.engine, "load", stand_still)
    if changed:
        monkeypatch.setattr(ports.engine, "amend", _never)
        await sync_projects(ports, configured, [p], since_then(ports, since))
    else:
        await sync_model(ports, M, configured)
    assert isinstance(await acquire(ports, revision=ports.registry.revision()), Grant)
    assert isinstance(await acquire(ports, revision=ports.registry.revision()), Refused)


async def _never(*_args, **_options):
    return False


async def test_a_change_serves_who_waits_for_it(ports):
    p = add(ports, "p", rpm=1)
    configured = await read_configured(ports)
    await sync_model(ports, M, configured)
    assert isinstance(await acquire(ports), Grant)
    until = await ports.engine.now_ms() + 60_000
    waiter = Demand(new_lease_id(M), 1, 1, deadline_ms=until, daemon="d")
    parked = await ports.engine.acquire(M, 1, [waiter], revision=0, queue=9)
    assert parked.results == [Waits()]
    since = ports.registry.revision()
    ports.registry.quotas.set(QuotaScope(project="p"), {"rpm": 3}, by=BY)
    await sync_projects(ports, await read_configured(ports), [p], since_then(ports, since))
    [grant] = (await ports.engine.pump(M, "d", [])).grants
    assert grant.lease_id == waiter.lease_id
