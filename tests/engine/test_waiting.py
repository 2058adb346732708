"""Demands that wait: who is served, when, and what is left when they go."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from keypool_cli.core.model import UNLIMITED
from keypool_cli.engine.keyspace import tag
from keypool_cli.engine.types import (
    Demand,
    Grant,
    LiveMark,
    LivePool,
    LiveProject,
    MarkAction,
    Settlement,
    Waits,
)
from tests.support.live_engine import LiveEngine, a_demand, a_project, raw
from tests.support.waiting_machine import WaitingMachine

WINDOW_MS = 60_501
"""When a booking has left the window."""

STEPS = settings(deadline=None, max_examples=100, stateful_step_count=25)


def waits(live: LiveEngine, tokens: int = 10, *, pool: int = 1, **options) -> Demand:
    """A demand that must be parked."""
    values = {"daemon": "d", "deadline_ms": live.now + 300_000, **options}
    demand = a_demand(tokens, **values)
    assert live.acquire_all(demand, pool=pool, queue=1000) == [Waits()]
    return demand


def granted(live: LiveEngine, daemon: str = "d", pools=(1,)) -> list[str]:
    """Lease ids handed to a daemon now."""
    return [each.lease_id for each in live.pump(daemon, pools).grants]


def holder(live: LiveEngine) -> str:
    """Lease id of the waiter of pool 1 that a project is kept free for."""
    return raw(live.run(live.client.get(f"{tag(live.model)}:holder:1"))).decode()


def pump_until(live: LiveEngine, until: int, pools=(1,)) -> dict[str, int]:
    """Pump when told to, and only then; answers when each lease was granted."""
    found: dict[str, int] = {}
    while True:
        pumped = live.pump("d", pools)
        found |= {each.lease_id: each.granted_at_ms for each in pumped.grants}
        if not pumped.next_at_ms or pumped.next_at_ms > until:
            live.now = until
            return found
        live.now = pumped.next_at_ms


def test_nothing_is_lost_granted_twice_or_left_behind(live):
    class Machine(WaitingMachine):
        pass

    Machine.live = live
    run_state_machine_as_test(Machine, settings=STEPS)


def test_a_waiter_is_served_the_moment_its_window_slides(live):
    live.load(a_project(rpm=1))
    live.grant()
    waiter, start = waits(live), live.now
    assert pump_until(live, start + 100_000) == {waiter.lease_id: start + WINDOW_MS}


@pytest.mark.parametrize("end", ["settle", "release"])
def test_a_lease_that_ends_below_its_estimate_serves_the_waiter_at_once(live, end):
    live.load(a_project(tpm=1000))
    lease = live.grant(900)
    waiter = waits(live, 500)
    if end == "settle":
        live.settle(lease.lease_id, 400)
    else:
        live.release(lease.lease_id)
    assert live.keys() >= {"grants:d"}
    assert granted(live) == [waiter.lease_id]


def test_leases_that_end_together_serve_the_waiter_at_once(live):
    live.load(a_project(tpm=1000))
    leases = [live.grant(450).lease_id for _ in range(2)]
    waiter = waits(live, 500)
    items = [Settlement(each, 0, 200, success=True) for each in leases]
    live.run(live.engine.settle(live.model, items))
    assert live.keys() >= {"grants:d"}
    assert granted(live) == [waiter.lease_id]


def test_an_expired_lease_frees_its_place_in_flight_for_the_waiter(live):
    live.load(a_project(in_flight=1))
    live.grant(ttl_ms=3000)
    waiter, start = waits(live), live.now
    assert pump_until(live, start + 10_000) == {waiter.lease_id: start + 3000}


@pytest.mark.parametrize("what", ["a settlement", "a change of the catalog", "an acquire"])
def test_an_expired_lease_frees_a_project_kept_free_without_a_pump(live, what):
    projects = [a_project(1, in_flight=1), a_project(2, tpm=50)]
    live.load(*projects)
    live.grant(100, ttl_ms=12_000)
    other = live.grant(10)
    waiter = waits(live, 100)
    live.now += 10_000
    live.pump()
    assert holder(live) == waiter.lease_id
    live.now += 2000
    if what == "a settlement":
        live.settle(other.lease_id)
    elif what == "an acquire":
        live.acquire(100)
    else:
        live.load(*projects)
    assert granted(live, pools=()) == [waiter.lease_id]


def test_a_raised_limit_serves_the_waiter_at_once(live):
    live.load(a_project(rpm=1))
    live.grant()
    waiter = waits(live)
    live.load(a_project(rpm=2))
    assert live.keys() >= {"grants:d"}
    assert granted(live) == [waiter.lease_id]


def test_a_reset_serves_the_waiter_at_once(live):
    live.load(a_project())
    lease = live.grant()
    live.settle(lease.lease_id, mark=LiveMark(MarkAction.COOL, live.now + 90_000), success=False)
    waiter = waits(live)
    live.run(live.engine.reset(live.model, [1]))
    assert live.keys() >= {"grants:d"}
    assert granted(live) == [waiter.lease_id]


def test_a_client_at_its_own_limit_is_served_when_its_own_window_slides(live):
    live.load(a_project(rpm=100))
    live.grant(client=1, client_rpm=1)
    waiter, start = waits(live, client=1, client_rpm=1), live.now
    live.run(live.engine.reset(live.model, [1], counters=True))
    assert pump_until(live, start + 100_000) == {waiter.lease_id: start + WINDOW_MS}


def test_a_client_at_its_own_limit_does_not_hold_up_others(live):
    live.load(a_project(rpm=2))
    live.grant(client=1, client_rpm=1)
    waits(live, client=1, client_rpm=1)
    assert live.grant(client=2)


def test_equal_demands_of_one_client_are_served_in_order_of_arrival(live):
    live.load(a_project(rpm=1, tpm=UNLIMITED))
    live.grant()
    line = [waits(live).lease_id for _ in range(4)]
    served = pump_until(live, live.now + 4 * WINDOW_MS)
    assert list(served) == line


def in_turn(live: LiveEngine, open_id: str, line: list[Demand], count: int) -> list[int]:
    """Places in the line, as served when each lease ends before the next begins."""
    clients = {each.lease_id: each.client for each in line}
    order = [open_id]
    for _ in range(count):
        live.release(order[-1], client=clients.get(order[-1], 0))
        order += granted(live)
    names = [each.lease_id for each in line]
    return [names.index(each) for each in order[1:]]


def test_turns_go_round_the_clients(live):
    live.load(a_project(in_flight=1, rpm=100))
    holder = live.grant()
    line = [waits(live, client=each) for each in (1, 1, 1, 1, 2, 2)]
    assert in_turn(live, holder.lease_id, line, 6) == [0, 4, 1, 5, 2, 3]


def test_a_client_that_comes_later_does_not_get_the_turns_it_was_away(live):
    live.load(a_project(in_flight=1, rpm=100))
    holder = live.grant()
    line = [waits(live, client=1) for _ in range(5)]
    assert in_turn(live, holder.lease_id, line, 3) == [0, 1, 2]
    line += [waits(live, client=2) for _ in range(2)]
    assert in_turn(live, line[2].lease_id, line, 4) == [5, 3, 6, 4]


def test_a_turn_served_late_does_not_turn_the_clock_of_turns_back(live):
    live.load(a_project(rpm=100, tpm=1000))
    live.grant(900)
    large = waits(live, 1000, client=1)
    small = [waits(live, 101 + each, client=2) for each in range(3)]
    live.release(small[2].lease_id, client=2)
    served = pump_until(live, live.now + 3 * WINDOW_MS)
    assert list(served) == [large.lease_id, small[0].lease_id, small[1].lease_id]


def test_a_new_demand_does_not_overtake_an_equal_one_that_waits(live):
    live.load(a_project(rpm=1))
    live.grant()
    waiter = waits(live)
    live.now += WINDOW_MS - 1
    assert granted(live) == []
    live.now += 1
    assert live.refusal().limit == "rpm"
    assert granted(live) == [waiter.lease_id]


def test_a_small_waiter_behind_many_large_ones_is_served(live):
    live.load(a_project(rpm=500, tpm=1000))
    live.grant(950)
    for each in range(80):
        waits(live, 1000 - each)
    lease = live.grant(40)
    small = waits(live, 20)
    live.settle(lease.lease_id, 30)
    assert granted(live) == [small.lease_id]


@pytest.mark.parametrize("many", [
    pytest.param({}, id="too large"),
    pytest.param({"client": 1, "client_tpm": 600}, id="beyond their client's limits"),
    pytest.param({"requests": 9}, id="for too many requests"),
])  # fmt: skip
def test_a_waiter_is_served_however_many_before_it_cannot_be(live, many):
    live.load(a_project(1, tpm=2000 if many else 400), a_project(2, rpm=99))
    live.grant(200, **many | {"requests": 1})
    for project, ms in ((1, 1000), (2, 90_000)):
        mark = LiveMark(MarkAction.COOL, live.now + ms)
        live.run(live.engine.mark(live.model, [project], mark, granted_at_ms=live.now))
    for _ in range(600):
        waits(live, 500, **many)
    small = waits(live, 100, **many | {"requests": 1})
    live.now += 1000
    assert granted(live) == [small.lease_id]


def test_a_waiter_is_found_behind_thousands_that_cannot_be_served(live):
    live.load(a_project(1, tpm=400), a_project(2))
    for project, ms in ((1, 1000), (2, 90_000)):
        mark = LiveMark(MarkAction.COOL, live.now + ms)
        live.run(live.engine.mark(live.model, [project], mark, granted_at_ms=live.now))
    late = {"daemon": "d", "deadline_ms": live.now + 300_000}
    for _ in range(50):
        many = [a_demand(500, **late) for _ in range(64)]
        assert live.acquire_all(*many, queue=9000) == [Waits()] * 64
    small = a_demand(100, **late)
    assert live.acquire_all(small, queue=9000) == [Waits()]
    live.now += 1000
    found = []
    for _ in range(30):  # in far less time than it takes to starve
        found += granted(live)
        live.now += 250
    assert found == [small.lease_id]


def test_a_waiter_beyond_its_clients_old_limits_does_not_hide_one_under_new_ones(live):
    live.load(a_project(in_flight=1, rpm=100))
    lease = live.grant(client=1, client_rpm=1)
    waits(live, client=1, client_rpm=1)
    raised = waits(live, client=1, client_rpm=9)
    live.settle(lease.lease_id, client=1)
    assert granted(live) == [raised.lease_id]


def test_a_waiter_for_fewer_tokens_but_more_requests_does_not_hide_smaller_ones(live):
    live.load(a_project(rpm=3, tpm=1000))
    live.grant(requests=2)
    waits(live, 5, requests=2)
    live.run(
        live.engine.mark(
            live.model, [1], LiveMark(MarkAction.COOL, live.now + 1000), granted_at_ms=live.now
        )
    )
    single = waits(live, 50)
    live.now += 1000
    assert granted(live) == [single.lease_id]


def test_a_starved_demand_has_one_project_kept_free_and_is_served_within_a_window(live):
    """Small demands take all there is, once a second; 80 % of the tokens are asked at once."""
    live.load(a_project(rpm=1000))
    for _ in range(10):
        live.grant(100)
        live.now += 6050
    large, start, small = waits(live, 800), live.now, 0
    served: dict[str, int] = {}
    for _ in range(80):
        served |= pump_until(live, live.now + 1000)
        small += isinstance(live.acquire(100), Grant)
    assert large.lease_id in served
    assert 10_000 < served[large.lease_id] - start <= 10_000 + WINDOW_MS
    assert small >= 3


@pytest.mark.parametrize("projects", [1, 3])
def test_two_thirds_of_capacity_is_used_while_a_large_demand_waits(live, projects):
    """Small demands ask for twice the capacity all the time; used is what their grants come to."""
    live.load(*[a_project(each, rpm=100_000) for each in range(1, projects + 1)])
    step_ms, tokens = 500, 10
    count = 2 * projects * 1000 * step_ms // (WINDOW_MS * tokens) + 1

    def a_step() -> int:
        live.now += step_ms
        smalls = [a_demand(tokens) for _ in range(count)]
        return sum(isinstance(each, Grant) for each in live.acquire_all(*smalls))

    for _ in range(2 * WINDOW_MS // step_ms):
        a_step()
    large, start, used = waits(live, 800), live.now, 800
    while large.lease_id not in granted(live):
        used += tokens * a_step()
        assert live.now - start <= WINDOW_MS + 10_000
    waited_ms = live.now - start
    assert used >= 2 / 3 * projects * 1000 * waited_ms / WINDOW_MS


def test_a_pump_comes_when_a_demand_starts_to_starve(live):
    live.load(a_project(rpm=1000))
    live.grant(500)
    waits(live, 1000)
    live.now += 9000
    assert live.pump().next_at_ms == live.now + 1000


def test_a_client_at_its_own_limit_is_told_to_the_pump(live):
    live.load(a_project(1), a_project(2))
    live.grant(client=1, client_rpm=1, prefer="1")
    waits(live, client=1, client_rpm=1)
    live.run(live.engine.unload(live.model, [1]))
    start, live.now = live.now, live.now + WINDOW_MS - 1000
    assert live.pump().next_at_ms == start + WINDOW_MS


def test_while_one_project_is_kept_free_the_others_serve(live):
    live.load(*[a_project(each, rpm=1000) for each in (1, 2, 3)])
    for _ in range(3):
        live.grant(600)
    large = waits(live, 1000)
    live.now += 10_000
    live.pump()
    assert len([each for each in range(20) if isinstance(live.acquire(100), Grant)]) == 8
    assert live.refusal(1).retry_at_ms is not None
    assert granted(live) == []
    live.now += WINDOW_MS - 10_000
    assert granted(live) == [large.lease_id]


def test_in_a_large_pool_behind_many_others_a_starved_demand_has_a_project_kept_free(live):
    others = [a_project(each, rpm=1, pools=[2]) for each in range(1000, 1100)]
    ours = [a_project(each, rpm=1) for each in range(1, 70)]
    live.load(*ours, *others, pools=[LivePool(1, 0, [0]), LivePool(2, 0, [0])])
    live.acquire_all(*[a_demand() for _ in others], pool=2)
    live.now += 10
    live.acquire_all(*[a_demand() for _ in ours])
    waits(live)
    live.now += 10_000
    live.pump()
    assert live.keys() >= {"holder:1"}


def test_pools_that_share_projects_have_each_its_own_kept_free(live):
    pools = [LivePool(1, 0, [0]), LivePool(2, 0, [0])]
    live.load(a_project(1, pools=[1, 2]), a_project(2, pools=[1, 2]), pools=pools)
    for project in "12":
        live.grant(900, prefer=project)
        live.now += 10
    first, second = waits(live, 500), waits(live, 500, pool=2)
    live.now += 10_000
    live.pump(pools=(1, 2))
    assert live.refusal(1).limit == "held"
    assert set(pump_until(live, live.now + WINDOW_MS, (1, 2))) == {first.lease_id, second.lease_id}


def test_a_project_stays_kept_free_between_pumps_that_come_when_told(live):
    live.load(a_project(rpm=1000))
    start = live.now
    for each in range(10):
        live.now = start + each * 4000
        live.grant(100)
    large = waits(live, 800)
    pump_until(live, live.now + 20_000)
    small = waits(live, 50, client=7)
    served = pump_until(live, live.now + WINDOW_MS)
    assert served[large.lease_id] == start + 7 * 4000 + WINDOW_MS
    assert served[small.lease_id] >= served[large.lease_id]


def test_a_project_kept_free_is_given_up_when_a_refusal_closes_it(live):
    live.load(a_project(1), a_project(2))
    live.grant(900, prefer="1")
    live.now += 1000
    lease = live.grant(900, prefer="2")
    large, start = waits(live, 1000), live.now
    live.now += 10_000
    live.pump()
    cool = LiveMark(MarkAction.COOL, live.now + 3_600_000)
    live.run(live.engine.mark(live.model, [1], cool, granted_at_ms=live.now))
    live.pump()
    assert live.refusal(100).retry_at_ms == live.now + 5000
    served = pump_until(live, start + WINDOW_MS)
    assert served == {large.lease_id: lease.granted_at_ms + WINDOW_MS}


def served_while_small_ones_keep_coming(live: LiveEngine, waiter: Demand, **small) -> bool:
    """Whether a waiter is, within a window of its starving; small demands come every second."""
    until = live.now + 10_000 + WINDOW_MS
    while live.now < until:
        if waiter.lease_id in pump_until(live, live.now + 1000):
            return True
        live.acquire(100, **small)
    return False


def a_project_that_small_ones_fill(live: LiveEngine, *others: LiveProject, **options) -> None:
    """Project 1 takes ten demands of 100 tokens a window, and has taken them."""
    live.load(a_project(1, rpm=1000), *others, **options)
    for _ in range(10):
        live.grant(100, avoid="=,1,")
        live.now += 6050


def test_a_project_kept_free_that_leaves_the_pool_is_given_up_for_another(live):
    pools = [LivePool(1, 0, [0]), LivePool(2, 0, [0])]
    a_project_that_small_ones_fill(live, a_project(2), pools=pools)
    live.now += 10
    live.grant(900, avoid="=,2,")
    large = waits(live, 950)
    live.now += 10_000
    live.pump()
    assert live.view(1).why == "held"
    live.load(a_project(1, rpm=1000, pools=[2]), pools=pools)
    assert live.view(1).why == ""
    assert served_while_small_ones_keep_coming(live, large)


@pytest.mark.parametrize("already", [False, True], ids=["before it starves", "while kept one"])
def test_a_starved_demand_that_nothing_can_take_any_more_lets_the_next_one_be_kept_a_project(
    live, already
):
    a_project_that_small_ones_fill(live, a_project(2))
    live.grant(600, avoid="=,2,")
    waits(live, 900, avoid="=,2,")
    large = waits(live, 800)
    if already:
        live.now += 10_000
        live.pump()
        assert live.keys() >= {"holder:1"}
    live.load(a_project(2, flags=0))
    assert served_while_small_ones_keep_coming(live, large)


def test_a_starved_demand_at_its_clients_limit_lets_another_clients_be_kept_a_project(live):
    """Its client's own small demands keep it there for as long as they like."""
    limits = {"client": 1, "client_tpm": 1000}
    a_project_that_small_ones_fill(live)
    waits(live, 900, **limits)
    large = waits(live, 800, client=2)
    live.now += 10_000
    live.pump()
    assert live.keys() >= {"holder:1"}
    live.load(a_project(2, pools=[2]), pools=[LivePool(1, 0, [0]), LivePool(2, 0, [0])])
    live.grant(500, pool=2, **limits)
    assert served_while_small_ones_keep_coming(live, large)


@pytest.mark.parametrize("end", ["cancelled", "too late", "its daemon died"])
def test_a_project_kept_free_goes_to_others_the_moment_its_waiter_leaves(live, end):
    """Even to one whose turn was before: it had been tried already, and in vain."""
    live.load(a_project(rpm=1000))
    lease = live.grant(500)
    waits(live, 600)
    large = waits(live, 900, daemon="other", deadline_ms=live.now + 16_000)
    live.release(lease.lease_id)
    live.now += 10_000
    live.pump("other")
    small = waits(live, 300, client=3)
    assert live.view().why == "held"
    granted(live)
    if end == "cancelled":
        live.release(large.lease_id)
        assert live.keys() >= {"grants:d"}
    else:
        live.now += 4000
        live.pump("other" if end == "too late" else "d")
        live.now += 2000 if end == "too late" else 1001
    assert granted(live) == [small.lease_id]


@pytest.mark.parametrize("end", ["moved", "too late", "its daemon died"])
def test_a_project_kept_free_serves_its_other_pools_the_moment_it_is_given_up(live, end):
    pools = [LivePool(1, 0, [0]), LivePool(2, 0, [0])]
    live.load(a_project(1, pools=[1, 2]), pools=pools)
    live.grant(500)
    waits(live, 900, pool=2, daemon="other", deadline_ms=live.now + 16_000)
    live.now += 10_000
    live.pump("other", [2])
    small = waits(live, 100)
    assert live.view().why == "held"
    if end == "moved":
        live.load(a_project(1, pools=[1]), pools=pools)
    else:
        live.now += 4000
        for daemon in ("d", "other") if end == "too late" else "d":
            live.pump(daemon, [2])
        live.now += 2000 if end == "too late" else 1001
        live.pump("third", [2])
    assert live.keys() >= {"grants:d"}
    assert granted(live, pools=()) == [small.lease_id]


@pytest.mark.parametrize("end", ["too late", "its daemon died"])
def test_a_starved_demand_is_kept_a_project_once_the_one_before_it_is_gone(live, end):
    live.load(a_project())
    live.grant(1000)
    patience_ms = 12_000 if end == "too late" else 300_000
    first = waits(live, 900, daemon="other", deadline_ms=live.now + patience_ms)
    second = waits(live, 900)
    live.now += 10_000
    live.pump("other")
    assert holder(live) == first.lease_id
    live.pump()
    live.now += 2000 if end == "too late" else 5000
    live.pump()
    live.now += 1
    live.pump()
    assert holder(live) == second.lease_id


def test_no_project_is_kept_free_for_what_none_takes_within_a_window(live):
    live.load(a_project(rpd=3))
    live.grant()
    waits(live, requests=3)
    live.now += 10_000
    live.pump()
    assert live.grant()


def test_a_project_in_flight_is_kept_free_however_long_its_leases_may_last(live):
    live.load(a_project(in_flight=1))
    live.settle(live.grant(500).lease_id)
    lease = live.grant()
    first, large = waits(live), waits(live, 900)
    live.release(first.lease_id)
    live.now += 10_000
    live.pump()
    waits(live, client=7)
    live.release(lease.lease_id)
    assert granted(live) == []
    assert list(pump_until(live, live.now + WINDOW_MS)) == [large.lease_id]


def test_what_is_left_of_a_project_kept_free_goes_to_those_tried_before(live):
    live.load(a_project())
    live.grant(1000)
    first, large = waits(live, 900, client=1), waits(live, 900, client=1)
    live.release(first.lease_id, client=1)
    live.now += 10_000
    live.pump()
    small = waits(live, 50, client=2)
    assert live.run(live.engine.queued(live.model)) == 2
    assert live.view().why == "tpm"
    live.run(live.engine.reset(live.model, [1], counters=True))
    assert live.run(live.engine.queued(live.model)) == 0
    assert granted(live) == [large.lease_id, small.lease_id]


def test_beyond_the_queue_limit_a_refusal_comes_at_once(live):
    live.load(a_project(rpm=1))
    live.grant()
    options = {"deadline_ms": live.now + 1000, "daemon": "d", "queue": 2}
    results = [live.acquire(**options) for _ in range(3)]
    assert results[:2] == [Waits(), Waits()]
    assert results[2].limit == "queue"
    assert results[2].retry_at_ms == live.now + WINDOW_MS


def test_a_demand_that_nothing_will_ever_take_does_not_wait(live):
    live.load(a_project(tpm=1000))
    refused = live.acquire(1001, deadline_ms=live.now + 1000, daemon="d", queue=9)
    assert (refused.retry_at_ms, refused.limit) == (None, "none")


def test_a_client_at_its_own_limit_may_wait_while_only_the_client_is_in_the_way(live):
    live.load(a_project(1, rpm=1), a_project(2))
    live.grant(client=1, client_rpm=1, prefer="1")
    waiter, start = waits(live, client=1, client_rpm=1), live.now
    assert pump_until(live, start + WINDOW_MS) == {waiter.lease_id: start + WINDOW_MS}


def test_a_waiter_whose_time_is_over_is_not_served_and_the_pump_says_when_that_is(live):
    live.load(a_project(rpm=1))
    live.grant()
    waits(live, deadline_ms=live.now + 2000)
    assert live.pump().next_at_ms == live.now + 2000
    live.now += 2000
    assert live.pump().waiting == 0
    live.now += WINDOW_MS
    assert granted(live) == []


@pytest.mark.parametrize(("silent_ms", "count"), [(5000, 1), (5001, 0)])
def test_a_daemon_silent_for_more_than_five_seconds_is_dead(live, silent_ms, count):
    live.load(a_project(in_flight=1))
    lease = live.grant()
    waiter = waits(live, daemon="silent")
    live.now += silent_ms
    live.release(lease.lease_id)
    assert granted(live, "silent") == [waiter.lease_id] * count


def test_a_daemon_that_pumps_when_told_to_is_never_taken_for_dead(live):
    live.load(a_project())
    live.run(
        live.engine.mark(
            live.model, [1], LiveMark(MarkAction.COOL, live.now + 99_000), granted_at_ms=live.now
        )
    )
    waits(live)
    assert 0 < live.pump().next_at_ms - live.now < 5000


@pytest.mark.parametrize("end", ["served", "cancelled", "too late", "its daemon died"])
def test_a_waiter_that_left_leaves_nothing_behind(live, end):
    live.load(a_project(rpm=1))
    live.grant()
    before = live.keys()
    waiter = waits(live, deadline_ms=live.now + 100_000)
    if end == "cancelled":
        live.release(waiter.lease_id)
    elif end == "its daemon died":
        live.now += 6000
        live.pump("other")
    else:
        live.now += {"served": WINDOW_MS, "too late": 100_000}[end]
        live.pump("d")
    new = {
        name
        for name in live.keys() - before
        if not name.startswith(("daemon:", "lease:", "ready:"))
    }
    assert new == {"ticket"}
    assert live.pump("d").waiting == 0


@pytest.mark.parametrize("patience_ms", [WINDOW_MS - 1, 300_000], ids=["too late", "in time"])
def test_a_place_whose_waiter_was_lost_holds_up_nobody(live, patience_ms):
    live.load(a_project(rpm=1))
    live.grant()
    lost = waits(live, deadline_ms=live.now + patience_ms)
    waiter = waits(live)
    live.run(live.client.hdel(f"{{kp:{live.model}}}:waiter", lost.lease_id))
    live.now += WINDOW_MS
    assert granted(live) == [waiter.lease_id]
    assert live.pump("d").waiting == 0
    assert not {"line:1", "sizes:1", "turns:1", "waiter"} & live.keys()


def test_another_client_cannot_cancel_a_waiter(live):
    live.load(a_project(rpm=1))
    live.grant()
    waiter = waits(live, client=1)
    assert live.release(waiter.lease_id, client=2) == "missing"
    assert live.pump().waiting == 1


def test_grants_are_handed_over_once_and_to_the_daemon_that_waits(live):
    live.load(a_project(rpm=1))
    live.grant()
    waiter = waits(live, daemon="one")
    live.now += WINDOW_MS
    live.run(live.client.set(f"{{kp:{live.model}}}:daemon:one", live.now))
    assert granted(live, "two") == []
    assert granted(live, "one") == [waiter.lease_id]
    assert granted(live, "one") == []


def test_a_project_in_two_pools_serves_the_waiters_of_both(live):
    live.load(a_project(pools=[1, 2]), pools=[LivePool(1, 0, [0]), LivePool(2, 0, [0])])
    lease = live.grant(1000)
    one, two = waits(live, 400), waits(live, 400, pool=2)
    live.release(lease.lease_id)
    assert sorted(granted(live)) == sorted([one.lease_id, two.lease_id])


def test_a_daemon_is_told_that_its_grants_lie_ready(live):
    live.load(a_project(rpm=1))
    lease = live.grant()
    waits(live)
    listener = live.client.pubsub()
    live.run(listener.subscribe("kp:wake:d"))
    live.run(listener.get_message(timeout=1))
    live.release(lease.lease_id)
    message = live.run(listener.get_message(timeout=1))
    live.run(listener.aclose())
    assert message["data"].decode() == f"{{kp:{live.model}}}"
