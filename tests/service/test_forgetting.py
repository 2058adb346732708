"""Models that nobody uses leave the live store, and nothing that counts goes with them."""

from dataclasses import replace

import pytest

from keypool_cli.core.model import Mark, MarkKind, MarkScope, Secret
from keypool_cli.engine.engine import Engine
from keypool_cli.engine.forgetting import is_over
from keypool_cli.engine.types import Acquired, Demand, Grant, Settlement
from keypool_cli.errors import UnreachableError
from keypool_cli.registry.live_epochs import LiveEpochs
from keypool_cli.registry.values import NewClient, NewKey, QuotaScope, Refusal
from keypool_cli.service import forgetting
from keypool_cli.service.bookkeeping import Bookkeeping
from keypool_cli.service.forgetting import forget_unused
from keypool_cli.service.lease_ids import new_lease_id
from keypool_cli.service.sync import read_configured, sync_model, vouch
from tests.support.daemon import BY

M = "invented"
DAY_MS = 86_400_000


async def after(ports, ms):
    """The same adapters so much later."""
    at = await ports.engine.now_ms() + ms
    engine = Engine(ports.engine.store, times=ports.engine.times, now=lambda: at)
    return replace(ports, _engine=engine)


async def lease(ports, **options):
    """Load the model as a daemon does, and take a lease on it."""
    configured = await read_configured(ports)
    await vouch(ports, M, configured)
    await sync_model(ports, M, configured)
    demand = Demand(new_lease_id(M), 1, 1, **options)
    answer = await ports.engine.acquire(M, 1, [demand], revision=configured.revision, queue=9)
    assert isinstance(answer, Acquired)
    return answer.results[0]


async def settle(ports, grant, client=0):
    return await ports.engine.settle(M, [Settlement(grant.lease_id, client, 1, success=True)])


async def requests(ports):
    return [each.requests for each in (await ports.engine.snapshot(M, [1])).views]


async def kept(ports):
    """Its keys but those of leases, which run out by themselves."""
    found = [each async for each in ports.engine.store.client.scan_iter(f"{{kp:{M}}}:*")]
    return [each for each in found if b":lease:" not in each]


@pytest.fixture
async def used(ports):
    """A model on which one lease was granted and settled, through a client with limits."""
    ports.registry.keys.add(NewKey("k", Secret("secret-k"), "p"), by=BY)
    client, _ = ports.registry.clients.add(NewClient("app"), by=BY)
    grant = await lease(ports, client=client.id, client_rpm=5)
    await settle(ports, grant, client.id)
    return ports


async def test_a_model_nobody_used_for_two_days_is_forgotten(used):
    later = await after(used, 2 * DAY_MS)
    await forget_unused(later)
    assert await kept(later) == []
    assert M not in await later.engine.models()
    assert used.registry.live_epochs.get(M) is None


async def test_a_forgotten_model_is_a_new_one_when_it_is_used_again(used):
    later = await after(used, 2 * DAY_MS)
    await forget_unused(later)
    assert isinstance(await lease(later), Grant)
    assert await requests(later) == [1]
    assert M in await later.engine.models()


async def test_a_daemon_that_had_looked_at_it_before_need_not_look_again(used):
    later = await after(used, 2 * DAY_MS)
    await forget_unused(later)
    await sync_model(later, M, await read_configured(later))
    assert await later.engine.vouched(M)


async def test_daemons_forget_models_now_and_then(used):
    await Bookkeeping(await after(used, 2 * DAY_MS))._tidy()
    assert used.registry.live_epochs.get(M) is None


async def test_a_lease_that_nobody_ended_does_not_keep_a_model_for_ever(used):
    await lease(used)
    later = await after(used, 2 * DAY_MS)
    await forget_unused(later)
    assert await kept(later)
    await forget_unused(await after(later, forgetting.KEPT_MS + 1000))
    assert await kept(later) == []


@pytest.mark.parametrize("ms", [0, 3_600_000, DAY_MS // 4], ids=["now", "an hour", "six hours"])
async def test_what_counts_in_a_day_is_kept(used, ms):
    later = await after(used, ms)
    await forget_unused(later)
    [view] = (await later.engine.snapshot(M, [1])).views
    assert view.day_requests or view.utc_requests


async def cool(ports):
    now = await ports.engine.now_ms()
    mark = Mark(
        MarkScope.PROJECT_MODEL, MarkKind.EXCLUDE, "not-offered", "why", now, now,
        project_id=1, model=M,
    )  # fmt: skip
    ports.registry.marks.record([Refusal("p", marks=(mark,))], by=BY)


async def limit(ports):
    ports.registry.quotas.set(QuotaScope(model=M), {"rpm": 9}, by=BY)


async def open_lease(ports):
    await lease(ports, ttl_ms=3 * DAY_MS)


@pytest.mark.parametrize("keep", [cool, limit, open_lease])
async def test_a_model_that_is_named_or_in_use_is_kept(used, keep):
    await keep(used)
    later = await after(used, 2 * DAY_MS)
    before = await later.engine.snapshot(M, [1])
    await forget_unused(later)
    assert await later.engine.snapshot(M, [1]) == before


async def test_a_model_that_somebody_waits_for_is_kept(used):
    used.registry.quotas.set(QuotaScope(), {"rpm": 1}, by=BY)
    later = await after(used, 2 * DAY_MS)
    await lease(used, deadline_ms=await later.engine.now_ms() + 1, daemon="d")
    await forget_unused(later)
    assert await later.engine.queued(M) == 1


async def test_a_model_that_another_process_loads_is_left_alone(used):
    later = await after(used, 2 * DAY_MS)
    assert await used.engine.lock(M, "theirs", 60_000)
    await forget_unused(later)
    assert (await later.engine.snapshot(M, [])).revision >= 0


async def test_a_lease_granted_while_it_was_looked_at_keeps_its_window(used, monkeypatch):
    later, looked = await after(used, 2 * DAY_MS), list[bool]()

    async def look(*args, **options):
        over = await is_over(*args, **options)
        if not looked:
            looked.append(over)
            configured = await read_configured(later)
            demand = Demand(new_lease_id(M), 1, 1)
            answer = await later.engine.acquire(M, 1, [demand], revision=configured.revision)
            await settle(later, answer.results[0])
        return over

    monkeypatch.setattr(forgetting, "is_over", look)
    await forget_unused(later)
    assert looked == [True]
    assert await requests(later) == [1]
    assert isinstance(await lease(later), Grant)


@pytest.mark.parametrize(
    ("where", "name"),
    [
        pytest.param(forgetting, "remove_projects", id="before anything is removed"),
        pytest.param(LiveEpochs, "forget", id="before SQL forgets it"),
        pytest.param(forgetting, "remove_rest", id="before the rest is removed"),
    ],
)
@pytest.mark.parametrize("again", [False, True], ids=["used", "forgotten again"])
async def test_one_that_was_half_forgotten_is_not_a_lost_one(used, monkeypatch, where, name, again):
    later = await after(used, 2 * DAY_MS)

    def end(*_args, **_options):
        raise UnreachableError("it ended here", hint="")

    with monkeypatch.context() as patched:
        patched.setattr(where, name, end)
        with pytest.raises(UnreachableError):
            await forget_unused(later)
    if again:
        await forget_unused(later)
        assert await kept(later) == []
    assert isinstance(await lease(later), Grant)
    assert await later.engine.rebuilt_until(M) == 0


@pytest.mark.parametrize(
    ("name", "before"),
    [("remove_projects", True), ("remove_projects", False), ("remove_rest", True)],
)
async def test_who_was_away_for_too_long_removes_nothing_of_the_next(
    used, monkeypatch, name, before
):
    later = await after(used, 2 * DAY_MS)
    goes_on = getattr(forgetting, name)

    async def take_over():
        await used.engine.store.client.delete(f"{{kp:{M}}}:loading")
        assert isinstance(await lease(later), Grant)

    async def stalled(*args, **options):
        if before:
            await take_over()
            return await goes_on(*args, **options)
        found = await goes_on(*args, **options)
        await take_over()
        return found

    monkeypatch.setattr(forgetting, name, stalled)
    await forget_unused(later)
    assert await requests(later) == [1]
    assert M in await later.engine.models()
    epoch = await later.engine.epoch(M)
    assert used.registry.live_epochs.get(M).epoch == epoch
