"""Which project takes a demand, and what a refusal says."""

import pytest

from keypool_cli.core.model import UNLIMITED
from keypool_cli.engine.types import (
    ASK_AGAIN,
    Grant,
    LiveMark,
    LivePool,
    LiveProject,
    MarkAction,
    Refused,
    Stale,
    Waits,
)
from tests.support.live_engine import NOON, LiveEngine, a_demand, a_project
from tests.support.oracle_project import BOTH_DAYS

WINDOW_MS = 60_501
"""When a booking has left the window."""

SPREAD, PACK = 0, 1
TWO_POOLS = [LivePool(1, SPREAD, [0]), LivePool(2, SPREAD, [0])]


def chosen(live: LiveEngine, *tokens: int, **options) -> list[int]:
    """Projects that a batch of demands is granted on."""
    results = live.acquire_all(*[a_demand(n, **options) for n in tokens])
    assert all(isinstance(each, Grant) for each in results), results
    return [each.project_id for each in results if isinstance(each, Grant)]


def cool(live: LiveEngine, *projects: int, ms: int) -> None:
    mark = LiveMark(MarkAction.COOL, live.now + ms)
    call = live.engine.mark(live.model, projects, mark, granted_at_ms=live.now)
    assert live.run(call) == len(projects)


def test_spread_takes_the_project_with_the_most_tokens_left(live):
    live.load(*[a_project(each, tpm=each * 100) for each in range(1, 10)])
    assert chosen(live, 50, 50, 50, 210) == [9, 9, 8, 9]
    assert chosen(live, 20, 20, 20, 20) == [8, 8, 8, 7]


def test_spread_goes_by_requests_where_tokens_are_equal(live):
    live.load(a_project(1, rpm=5), a_project(2, rpm=9), a_project(3, rpm=7))
    assert chosen(live, 10) == [2]


def test_spread_goes_by_the_days_requests_where_few_are_left(live):
    live.load(a_project(1, rpm=9, rpd=3), a_project(2, rpm=7), a_project(3, rpm=6, rpd=101))
    assert chosen(live, 10) == [2]
    live.load(a_project(4, flags=1 | BOTH_DAYS, rpm=9, rpd=9, utc_requests=4))
    live.pump()
    assert chosen(live, 10) == [3]


@pytest.mark.parametrize(
    "lacks", [pytest.param("rpm", id="a minute"), pytest.param("rpd", id="a day")]
)
@pytest.mark.parametrize(("policy", "tpm"), [(SPREAD, 500), (PACK, 5000)], ids=["spread", "pack"])
def test_several_requests_are_taken_however_many_projects_have_but_one_left(
    live, lacks, policy, tpm
):
    others = [a_project(each, **{lacks: 1}) for each in range(1, 600)]
    live.load(a_project(900, tpm=tpm), *others, pools=[LivePool(1, policy, [0])])
    assert chosen(live, 10, requests=5) == [900]
    assert isinstance(live.acquire(10, requests=2), Refused)


@pytest.mark.parametrize(("policy", "tpm"), [(SPREAD, 500), (PACK, 5000)], ids=["spread", "pack"])
@pytest.mark.parametrize(
    "avoid", [",".join(map(str, ("", *range(1, 400), ""))), "=,900,"], ids=["some", "all but one"]
)
def test_a_project_is_found_however_many_a_demand_must_not_get(live, avoid, policy, tpm):
    others = [a_project(each) for each in range(1, 400)]
    live.load(a_project(900, tpm=tpm), *others, pools=[LivePool(1, policy, [0])])
    assert chosen(live, 10, avoid=avoid) == [900]


def test_the_only_project_a_demand_may_get_is_of_its_pool(live):
    live.load(a_project(1, pools=[2]), a_project(2, rpm=1), pools=TWO_POOLS)
    assert live.refusal(avoid="=,1,") == Refused(None, "none", 0)
    live.grant(avoid="=,2,")
    assert live.refusal(avoid="=,2,") == Refused(NOON + WINDOW_MS, "rpm", 2)


def test_of_a_batch_what_is_no_smaller_than_one_that_found_nothing_finds_nothing(live):
    live.load(a_project(1, rpm=3), a_project(2, rpm=9, tpm=100))
    asked = ((4, 101), (3, 101), (4, 100), (9, 101), (1, 900), (5, 101))
    results = live.acquire_all(*[a_demand(tokens, requests=n) for n, tokens in asked])
    assert [isinstance(each, Grant) for each in results] == [False, True, True, False, False, False]


def test_pack_takes_the_project_with_the_least_left_that_fits(live):
    projects = [a_project(each, tpm=each * 100) for each in range(1, 30)]
    live.load(*projects, pools=[LivePool(1, PACK, [0])])
    assert chosen(live, 250, 50, 60, 2900) == [3, 3, 1, 29]


def test_a_higher_priority_comes_first(live):
    live.load(a_project(1, tpm=9000), a_project(2, priority=3), a_project(3, priority=-2, tpm=9000))
    assert chosen(live, 900, 900, 9000) == [2, 1, 3]


def test_a_higher_priority_comes_first_though_its_score_lags_behind(live):
    live.load(a_project(1, priority=1), a_project(2, priority=1, tpm=500), a_project(3, tpm=9000))
    live.grant(900, prefer="1")
    live.now += WINDOW_MS
    assert chosen(live, 600) == [1]


def test_no_project_is_missed_though_every_score_lags_behind(live):
    live.load(*[a_project(each) for each in range(1, 200)])
    for _ in range(199):
        live.grant(990)
    live.now += WINDOW_MS
    assert len(set(chosen(live, *[1000] * 60))) == 60


def test_a_preferred_project_is_taken_where_it_fits(live):
    live.load(
        a_project(1, priority=9),
        a_project(2),
        a_project(3, pools=[2]),
        pools=[LivePool(1, 0, [9, 0])],
    )
    assert chosen(live, 600, prefer="2") == [2]
    assert chosen(live, 600, prefer="2") == [1]
    assert chosen(live, 1, prefer="3") == [1]
    assert chosen(live, 1, prefer="77") == [1]


def test_the_keys_of_a_project_take_turns(live):
    live.load(a_project(keys=[7, 8, 9]))
    assert [live.grant().key_id for _ in range(5)] == [7, 8, 9, 7, 8]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"flags": 0}, id="disabled"),
        pytest.param({"flags": 3}, id="excluded"),
        pytest.param({"keys": []}, id="without a key"),
        pytest.param({"rpm": 0}, id="no requests"),
        pytest.param({"tpm": 0}, id="no tokens"),
        pytest.param({"rpd": 0}, id="no requests a day"),
        pytest.param({"in_flight": 0}, id="none in flight"),
        pytest.param({"pools": [2]}, id="of another pool"),
    ],
)
def test_a_project_that_offers_nothing_is_never_chosen(live, options):
    live.load(a_project(1, **options), pools=TWO_POOLS)
    assert live.refusal() == Refused(None, "none", 0)
    assert live.refusal(prefer="1") == Refused(None, "none", 0)


def test_a_refusal_names_the_project_that_frees_first(live):
    live.load(a_project(1, rpm=1), a_project(2, rpm=1), a_project(3, rpm=1))
    for project in "231":
        live.now += 10
        live.grant(prefer=project)
    cool(live, 2, ms=300_000)
    assert live.refusal() == Refused(NOON + 20 + WINDOW_MS, "rpm", 3)
    cool(live, 1, 3, ms=200_000)
    assert live.refusal().limit == "cooldown"


def test_equal_demands_of_a_batch_are_told_what_a_grant_between_them_changed(live):
    live.load(a_project())
    live.grant(900)
    live.now += 10
    first, between, second = live.acquire_all(a_demand(1000), a_demand(100), a_demand(1000))
    assert isinstance(between, Grant)
    assert first.retry_at_ms == NOON + WINDOW_MS
    assert second.retry_at_ms == NOON + 10 + WINDOW_MS


def test_a_batch_that_takes_the_last_room_says_when_the_next_comes(live):
    live.load(a_project(rpm=1))
    first, second = live.acquire_all(a_demand(), a_demand())
    assert isinstance(first, Grant)
    assert second.retry_at_ms == NOON + WINDOW_MS


def test_a_lease_in_flight_is_counted_until_it_ends(live):
    live.load(a_project(in_flight=2))
    live.grant(ttl_ms=5000)
    live.grant(ttl_ms=9000)
    assert live.refusal() == Refused(NOON + 5000, "in_flight", 1)
    live.now += 4999
    assert live.refusal().limit == "in_flight"
    live.now += 1
    assert live.grant()


def test_a_renewed_lease_keeps_its_slot_and_others_do_not(live):
    live.load(a_project(in_flight=2))
    kept, gone = live.grant(ttl_ms=1000), live.grant(ttl_ms=1000)
    live.now += 999
    assert live.renew(kept.lease_id, ttl_ms=1000) == 1
    live.now += 1
    assert live.grant(ttl_ms=9000)
    assert live.refusal() == Refused(NOON + 1999, "in_flight", 1)
    assert live.renew(gone.lease_id, ttl_ms=1000) == 0
    live.now += 998
    assert live.refusal().limit == "in_flight"
    live.now += 1
    assert live.grant()


def test_a_lease_is_never_renewed_to_end_earlier(live):
    live.load(a_project(in_flight=1))
    lease = live.grant(ttl_ms=5000)
    assert live.renew(lease.lease_id, ttl_ms=1) == 1
    assert live.refusal() == Refused(NOON + 5000, "in_flight", 1)


def test_only_leases_that_are_open_are_renewed(live):
    live.load(a_project(rpm=100))
    over, settled, released = (live.grant(ttl_ms=ms) for ms in (1000, 9000, 9000))
    live.settle(settled.lease_id)
    live.release(released.lease_id)
    live.now += 1000
    for lease in (over, settled, released):
        assert live.renew(lease.lease_id, ttl_ms=9000) == 0
    assert live.renew("nothing", ttl_ms=9000) == 0
    assert live.view().in_flight == 0


def test_a_renewed_lease_can_be_settled_as_long_as_any_other(live):
    live.load(a_project())
    live.now += 290_000
    lease = live.grant(50, ttl_ms=1000)
    before = live.hash_of(lease.lease_id)
    live.renew(lease.lease_id, ttl_ms=20_000)
    assert live.hash_of(lease.lease_id) > before
    for seconds in (19, 1):
        live.pump()
        assert live.view().in_flight == 1
        live.now += seconds * 1000
    live.pump()
    assert live.view().in_flight == 0
    assert live.settle(lease.lease_id, 5).tokens == 5
    assert live.view().tokens == 5


def test_leases_that_ended_unnoticed_leave_room_for_all_of_a_batch(live):
    live.load(a_project(in_flight=3, rpm=100))
    live.grant(ttl_ms=1000)
    live.grant(ttl_ms=1000)
    live.now += 2000
    assert chosen(live, 1, 1, 1) == [1, 1, 1]


def test_a_limit_lowered_below_what_is_in_flight_waits_for_enough_leases_to_end(live):
    live.load(a_project(in_flight=3))
    for seconds in (3, 1, 2):
        live.grant(ttl_ms=seconds * 1000)
    live.load(a_project(in_flight=1))
    assert live.refusal().retry_at_ms == NOON + 3000
    live.now += 3000
    assert live.grant()


def test_leases_older_than_the_in_flight_limit_free_it_when_they_end(live):
    live.load(a_project(rpm=100))
    for seconds in (2, 4, 6):
        live.grant(ttl_ms=seconds * 1000)
    live.load(a_project(rpm=100, in_flight=1))
    for seconds in (2, 4, 6):
        assert live.refusal().retry_at_ms == NOON + seconds * 1000
        live.now = NOON + seconds * 1000
    assert live.grant()
    live.load(a_project(rpm=100))
    assert live.keys().isdisjoint({"flight:1"})


def an_old_lease_behind(live: LiveEngine, count: int) -> None:
    """A lease older than its project's in-flight limit is over, and ``count`` of others before it."""
    others = a_project(2, rpm=9999, tpm=9999, pools=[2])
    live.load(a_project(1), others, pools=TWO_POOLS)
    live.grant(ttl_ms=2000)
    live.acquire_all(*[a_demand(1, ttl_ms=1000) for _ in range(count)], pool=2)
    live.load(a_project(1, in_flight=1), pools=TWO_POOLS)
    live.now += 2000


def test_leases_older_than_the_in_flight_limit_are_noticed_behind_many_others(live):
    an_old_lease_behind(live, 200)
    assert live.grant()


def test_with_too_many_leases_to_end_the_answer_is_to_ask_again(live):
    an_old_lease_behind(live, 1100)
    assert live.refusal().retry_at_ms == ASK_AGAIN
    assert live.grant()


def test_a_limit_lowered_far_below_what_is_in_flight_holds_nothing_that_has_ended(live):
    live.load(a_project(in_flight=200, rpm=999))
    live.acquire_all(*[a_demand(1, ttl_ms=1000) for _ in range(200)])
    live.load(a_project(in_flight=10, rpm=999))
    live.now += 1000
    assert live.grant()


def test_an_ended_lease_is_noticed_behind_many_others(live):
    live.load(a_project(1, rpm=100), a_project(2, in_flight=1, pools=[2]), pools=TWO_POOLS)
    for _ in range(100):
        live.grant(1, ttl_ms=1000)
    live.grant(ttl_ms=2000, pool=2)
    live.now += 2000
    assert live.grant(pool=2)


def test_a_lease_whose_record_is_gone_still_frees_its_place(live):
    """Nobody looked for ten minutes past its end, and the server has forgotten it."""
    live.load(a_project(in_flight=1))
    lease = live.grant(ttl_ms=1000)
    live.run(live.client.hdel(live.hash_of(lease.lease_id), lease.lease_id))
    live.now += 2_000_000
    assert live.grant()
    assert live.view().in_flight == 1


def test_a_demand_after_many_waiters_were_served_finds_what_is_left(live):
    live.load(*[a_project(each, rpm=1, tpm=1000 + each) for each in range(1, 7)])
    cool(live, *range(1, 7), ms=1000)
    waiting = [a_demand(daemon="d", deadline_ms=live.now + 9999) for _ in range(4)]
    assert live.acquire_all(*waiting, queue=9) == [Waits()] * 4
    live.now += 1000
    assert live.grant()
    assert len(live.pump().grants) == 4


def crowded(live: LiveEngine, *ours: LiveProject) -> None:
    """Before each of ``ours``, 310 projects of pool 2 free, and 100 have a score that rises."""
    blocked = [a_project(each, rpm=1, pools=[2]) for each in range(1000, 1310)]
    lagging = [a_project(each, rpm=9, tpm=99, pools=[2]) for each in range(2000, 2100)]
    live.load(*ours, *blocked, *lagging, pools=TWO_POOLS)
    live.acquire_all(*[a_demand(100) for _ in blocked], pool=2)
    live.acquire_all(*[a_demand(60) for _ in lagging], pool=2)
    assert not live.view(1309).opens_at_ms == live.view(2099).opens_at_ms == live.now
    live.now += 10


def test_projects_of_other_pools_do_not_hide_when_one_of_ours_frees(live):
    crowded(live, a_project(1, rpm=1), a_project(2, rpm=1), a_project(3, tpm=90))
    live.grant(100)
    live.now += 5
    live.grant(100)
    refused = live.refusal(100)
    assert (refused.retry_at_ms, refused.limit) == (NOON + 10 + WINDOW_MS, "rpm")
    assert refused.project_id in {1, 2}
    assert live.acquire(100, deadline_ms=live.now + 9, daemon="d", queue=1) == Waits()


def test_projects_of_other_pools_do_not_hide_that_none_of_ours_ever_will(live):
    crowded(live, a_project(1, flags=0), a_project(2, flags=3), a_project(3, tpm=90))
    never = Refused(None, "none", 0)
    assert live.refusal(100) == never
    assert live.acquire(100, deadline_ms=live.now + 9, daemon="d", queue=1) == never


def test_of_a_large_pool_it_is_not_said_that_none_will_where_not_all_were_looked_at(live):
    crowded(live, *[a_project(each, flags=0) for each in range(1, 66)])
    refused = live.refusal(100)
    assert live.now < refused.retry_at_ms
    assert not refused.is_sure


def test_in_a_large_pool_an_instant_is_not_told_that_another_project_may_beat(live):
    slow = [a_project(each) for each in range(1, 71)]
    live.load(*slow, a_project(900, rpm=1))
    live.acquire_all(*[a_demand(10, prefer=str(each.id)) for each in slow])
    live.now += 1000
    live.grant(900, prefer="900")
    live.now += 20_000
    live.acquire_all(*[a_demand(900, prefer=str(each.id)) for each in slow])
    refused = live.refusal(500)
    assert live.now < refused.retry_at_ms <= NOON + 1000 + WINDOW_MS
    assert not refused.is_sure


def test_in_a_large_pool_among_others_the_instant_is_not_too_late(live):
    crowded(live, *[a_project(each, rpm=1) for each in range(1, 66)])
    live.acquire_all(*[a_demand() for _ in range(65)])
    refused = live.refusal()
    assert live.now < refused.retry_at_ms <= NOON + 10 + WINDOW_MS
    assert refused.project_id == 0


def test_with_too_many_projects_due_at_once_the_answer_is_to_ask_again(live):
    live.load(
        a_project(999, rpm=1, tpm=5000),
        *[a_project(each, rpm=1, tpm=99) for each in range(2000, 3100)],
    )
    for _ in range(22):
        live.acquire_all(*[a_demand(90) for _ in range(50)])
    live.grant(90)
    live.now += WINDOW_MS
    assert live.refusal(4990).retry_at_ms == ASK_AGAIN
    assert chosen(live, 4990) == [999]


def test_explain_says_what_acquire_would_do_and_reserves_nothing(live):
    live.load(a_project(1, rpm=1), a_project(2), a_project(3, flags=0), a_project(4, tpm=5))
    live.grant(prefer="1")
    cool(live, 2, ms=1000)
    demand = a_demand()
    found = live.explain(demand, 1, 2, 3, 4)
    assert found.chosen == 0
    told = {each.project_id: (each.limit, each.at_ms) for each in found.reasons}
    assert told == {
        1: ("rpm", NOON + WINDOW_MS),
        2: ("cooldown", NOON + 1000),
        3: ("unusable", 0),
        4: ("larger", 0),
    }
    live.now += 1000
    found = live.explain(demand, 2)
    assert (found.chosen, found.reasons[0].limit) == (2, "")
    assert live.view(2).requests == 0
    assert live.run(live.engine.explain("unknown", 1, demand, [1])).chosen is None


def test_an_unlimited_project_takes_everything(live):
    live.load(a_project(rpm=UNLIMITED, tpm=UNLIMITED))
    assert chosen(live, *[10**11] * 9) == [1] * 9
    assert live.view().tokens == 9 * 10**11


def test_a_pool_or_model_that_is_not_loaded_is_stale(live):
    live.load(a_project())
    for model, pool, revision in ((live.model, 9, 1), ("unknown", 1, 1), (live.model, 1, 2)):
        answer = live.run(live.engine.acquire(model, pool, [a_demand()], revision=revision))
        assert answer == Stale(1 if model == live.model else 0)


def test_what_one_demand_of_a_batch_must_not_get_the_next_may(live):
    live.load(a_project())
    barred, free = live.acquire_all(a_demand(avoid=",1,"), a_demand())
    assert isinstance(barred, Refused)
    assert isinstance(free, Grant)
