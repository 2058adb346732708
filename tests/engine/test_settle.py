"""How leases end, and what refusals leave behind."""

import pytest

from keypool_cli.engine.types import LeaseEnd, LiveMark, MarkAction, Settled, Settlement
from tests.support.live_engine import NOON, LiveEngine, a_demand, a_project

WINDOW_MS = 60_501
"""When a booking has left the window."""

TTL_MS = 600_000
FIVE_MINUTES = 300_000


def cool(until_ms: int) -> LiveMark:
    return LiveMark(MarkAction.COOL, until_ms)


def settle_with(live: LiveEngine, mark: LiveMark, **options) -> Settled:
    """A lease of its own that ends with a refusal."""
    lease = live.grant(**options)
    settled = live.settle(lease.lease_id, mark=mark, success=False)
    assert isinstance(settled, Settled)
    return settled


@pytest.fixture
def project(live):
    live.load(a_project(rpm=100))
    return live


def test_a_settlement_replaces_the_reservation(project):
    lease = project.grant(900)
    project.settle(lease.lease_id, 200)
    view = project.view()
    assert (view.requests, view.tokens, view.in_flight) == (1, 200, 0)


def test_without_a_count_the_reservation_stays(project):
    lease = project.grant(900)
    assert project.settle(lease.lease_id, None).tokens == 900
    assert project.view().tokens == 900


def test_a_count_above_the_estimate_is_booked_and_nothing_follows_until_it_fits(project):
    lease = project.grant(900)
    project.settle(lease.lease_id, 1500)
    assert project.view().tokens == 1500
    assert project.refusal(1).retry_at_ms == NOON + WINDOW_MS
    project.now = NOON + WINDOW_MS
    assert project.grant(1000)


def test_the_correction_leaves_the_window_with_its_booking(project):
    lease = project.grant(500)
    project.now += 30_000
    project.grant(1)
    project.settle(lease.lease_id, 100)
    assert project.view().tokens == 101
    project.now = NOON + WINDOW_MS
    assert project.view().tokens == 1


@pytest.mark.parametrize("later_ms", [WINDOW_MS, TTL_MS + 5])
def test_after_its_window_a_settlement_changes_nothing_that_counts(project, later_ms):
    lease = project.grant(500)
    project.now += later_ms
    project.grant(7)
    assert project.settle(lease.lease_id, 100).tokens == 100
    assert project.view().tokens == 7


def test_after_expiry_a_settlement_still_corrects_what_is_in_the_window(project):
    lease = project.grant(500, ttl_ms=1000)
    project.now += 1000
    assert project.view().in_flight == 0
    assert project.view().tokens == 500
    until = project.now + 5000
    settled = project.settle(lease.lease_id, 100, mark=cool(until), success=False)
    assert (settled.tokens, settled.applied, settled.until_ms) == (100, True, until)
    view = project.view()
    assert (view.tokens, view.in_flight, view.cool_until_ms) == (100, 0, until)


def test_the_first_settlement_wins_and_its_answer_is_repeated(project):
    lease = project.grant(500)
    first = project.settle(
        lease.lease_id, 100, answer='{"a":"é"}', mark=cool(NOON + 9), success=False
    )
    project.now += 50
    again = project.settle(lease.lease_id, 300, answer="other", mark=cool(NOON + 99_000))
    assert first == Settled(100, True, NOON + 9, '{"a":"é"}', 1, 10, NOON, True)
    assert again == Settled(100, True, NOON + 9, '{"a":"é"}', 1, 10, NOON, False)
    assert project.view().tokens == 100
    assert project.view().cool_until_ms == NOON + 9


def test_an_answer_is_repeated_for_ten_minutes_past_expiry_and_then_forgotten(project):
    lease = project.grant(ttl_ms=1000)
    project.settle(lease.lease_id)
    project.now += 1000 + 599_999
    assert isinstance(project.settle(lease.lease_id), Settled)
    project.now += 1
    assert project.settle(lease.lease_id) == LeaseEnd.MISSING
    assert project.release(lease.lease_id) == LeaseEnd.MISSING


def test_a_lease_record_is_kept_by_the_server_little_longer_than_its_answer(project):
    lease = project.grant(ttl_ms=1000)
    name = project.hash_of(lease.lease_id)
    assert 601_000 < project.run(project.client.pttl(name)) <= 601_000 + 2 * FIVE_MINUTES
    project.settle(lease.lease_id)
    assert project.hash_of(lease.lease_id) == name


def test_lease_records_that_are_forgotten_go_without_waiting_for_their_time_to_live(project):
    name = project.hash_of(project.grant(ttl_ms=1000).lease_id)
    for _ in range(4):
        project.now += FIVE_MINUTES
        project.grant(ttl_ms=1000)
    assert not project.run(project.client.exists(name))


def test_a_lease_is_found_wherever_its_time_to_live_has_put_it(project):
    leases = [project.grant(1, ttl_ms=ttl) for ttl in (1000, 600_000, 3_600_000)]
    for end in (
        project.settle,
        lambda lease_id: project.run(project.engine.leases(project.model, [lease_id])),
    ):
        assert all(end(each.lease_id) for each in leases)
    items = [Settlement(each.lease_id, 0, None, success=True) for each in leases]
    again = project.run(project.engine.settle(project.model, items))
    assert [each.first for each in again] == [False] * 3


def test_a_lease_that_another_server_wrote_is_found(project):
    """One that this server has replaced: it knows none of what that one had written."""
    lease = project.grant(1, ttl_ms=3_600_000)
    project.move()
    assert project.settle(lease.lease_id, 5).tokens == 5


def test_records_written_after_all_was_lost_have_a_time_to_live(project):
    name = project.hash_of(project.grant().lease_id)
    project.run(project.client.delete(name, f"{{kp:{project.model}}}:meta"))
    project.load(a_project(rpm=100))
    assert project.hash_of(project.grant().lease_id) == name
    assert project.run(project.client.pttl(name)) > 0


def test_one_lease_settled_twice_in_a_call_is_settled_once(project):
    lease = project.grant(9)
    items = [Settlement(lease.lease_id, 0, tokens, success=True) for tokens in (5, 7)]
    ends = project.run(project.engine.settle(project.model, items))
    assert [(each.tokens, each.first) for each in ends] == [(5, True), (5, False)]


def test_a_batchs_answers_are_told_apart_however_long_its_projects_ids(live):
    live.load(a_project(7, keys=[1]), a_project(4_000_000_000, keys=[2]))
    granted = live.acquire_all(*(a_demand() for _ in range(4)))
    expected = {(7, 1), (4_000_000_000, 2)}
    assert {(each.project_id, each.key_id) for each in granted[:2]} == expected
    assert {(each.project_id, each.key_id) for each in granted[2:]} == expected
    items = [Settlement(each.lease_id, 0, 5, success=True, answer="é") for each in granted]
    ends = live.run(live.engine.settle(live.model, items))
    assert [(e.project_id, e.key_id, e.answer) for e in ends] == [
        (each.project_id, each.key_id, "é") for each in granted
    ]


def test_a_release_returns_everything(project):
    lease = project.grant(500)
    project.grant(7)
    for _ in range(2):
        assert project.release(lease.lease_id) == LeaseEnd.RELEASED
        view = project.view()
        assert (view.requests, view.tokens, view.day_requests, view.in_flight) == (1, 7, 1, 1)


def test_a_lease_ends_once_one_way(project):
    one, two = project.grant(), project.grant()
    project.release(one.lease_id)
    assert project.settle(one.lease_id) == LeaseEnd.RELEASED
    project.settle(two.lease_id)
    assert project.release(two.lease_id) == LeaseEnd.SETTLED
    assert project.view().requests == 1


def test_unknown_leases_and_those_of_other_clients_are_missing(project):
    lease = project.grant(client=4)
    for client in (0, 5):
        assert project.settle(lease.lease_id, client=client) == LeaseEnd.MISSING
        assert project.release(lease.lease_id, client=client) == LeaseEnd.MISSING
    assert project.settle("nothing") == LeaseEnd.MISSING
    project.model = "unknown"
    assert project.settle(lease.lease_id, client=4) == LeaseEnd.MISSING
    assert project.release(lease.lease_id, client=4) == LeaseEnd.MISSING


def test_a_lease_outlives_its_project(project):
    lease = project.grant()
    project.run(project.engine.unload(project.model, [1]))
    assert project.settle(lease.lease_id, 5).tokens == 5
    assert project.keys().isdisjoint(
        {"state:1", "ring:1", "blocked", "stale", "leases", "ready:1:0"}
    )


# --- marks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [MarkAction.COOL, MarkAction.WIDE])
def test_a_later_cooldown_wins_over_an_earlier_one_in_either_order(live, action):
    live.load(a_project(rpm=100))
    one, two, three = live.grant(), live.grant(), live.grant()
    settled = [
        live.settle(lease.lease_id, mark=LiveMark(action, NOON + ms), success=False)
        for lease, ms in ((one, 5000), (two, 9000), (three, 7000))
    ]
    assert settled[-1].until_ms == NOON + 9000
    assert live.refusal().retry_at_ms == NOON + 9000
    live.now = NOON + 8999
    assert live.refusal().limit == "cooldown"
    live.now += 1
    assert live.grant()


def test_a_success_clears_no_cooldown(project):
    one, two = project.grant(), project.grant()
    project.settle(one.lease_id, mark=cool(NOON + 5000), success=False)
    project.settle(two.lease_id, 5)
    assert project.refusal().retry_at_ms == NOON + 5000


def test_of_both_cooldowns_the_longer_holds(project):
    one, two = project.grant(), project.grant()
    project.settle(one.lease_id, mark=cool(NOON + 5000), success=False)
    project.settle(two.lease_id, mark=LiveMark(MarkAction.WIDE, NOON + 9000), success=False)
    assert project.refusal().retry_at_ms == NOON + 9000


def test_thousands_of_projects_are_marked_and_reset(live):
    """Lua passes at most 8,000 values to one command."""
    ids = list(range(1, 4200))
    live.load(*[a_project(each, rpm=1) for each in ids])
    mark = LiveMark(MarkAction.COOL, live.now + 9000)
    call = live.engine.mark(live.model, ids, mark, granted_at_ms=live.now - 1)
    assert live.run(call) == len(ids)
    assert live.refusal().limit == "cooldown"
    assert len(live.run(live.engine.reset(live.model, ids)).views) == len(ids)
    assert live.run(live.engine.snapshot(live.model, ids, busy_only=True)).views == []
    assert live.grant()


@pytest.mark.parametrize(("granted_ms", "applied"), [(-1, False), (0, False), (1, True)])
def test_an_answer_to_a_call_granted_at_or_before_a_reset_does_not_cool(live, granted_ms, applied):
    live.load(a_project())
    live.now = NOON + granted_ms
    lease = live.grant()
    reset_at, live.now = NOON, max(NOON, live.now)
    if granted_ms > 0:
        live.now, granted_at = reset_at, live.now
        live.run(live.engine.reset(live.model, [1]))
        live.now = granted_at
    else:
        live.run(live.engine.reset(live.model, [1]))
    settled = live.settle(lease.lease_id, mark=cool(NOON + 9000), success=False)
    assert (settled.applied, settled.until_ms) == (applied, NOON + 9000 if applied else 0)
    assert live.view().cool_until_ms == (NOON + 9000 if applied else 0)


def test_evidence_of_a_dead_key_counts_even_after_a_reset(live):
    live.load(a_project(keys=[7, 8]))
    lease = live.grant()
    live.run(live.engine.reset(live.model, [1]))
    assert live.settle(lease.lease_id, mark=LiveMark(MarkAction.DROP_KEY), success=False).applied
    assert {live.grant().key_id for _ in range(4)} == {8}


def test_without_its_last_key_a_project_cannot_be_used(live):
    live.load(a_project())
    settle_with(live, LiveMark(MarkAction.DROP_KEY))
    assert live.refusal().retry_at_ms is None
    assert not live.view().usable


@pytest.mark.parametrize("action", [MarkAction.EXCLUDE, MarkAction.DISABLE])
def test_a_project_excluded_or_disabled_stays_so_until_failures_are_reset(live, action):
    live.load(a_project())
    settle_with(live, LiveMark(action))
    assert live.refusal().retry_at_ms is None
    live.run(live.engine.reset(live.model, [1]))
    assert live.refusal().retry_at_ms is None
    live.run(live.engine.reset(live.model, [1], failures=True))
    assert live.grant()


def test_refusals_that_name_no_time_back_off_until_a_success(live):
    live.load(a_project(rpm=100))
    waits = []
    for _ in range(5):
        found = settle_with(live, LiveMark(MarkAction.COOL, 0, 1000, 6000, 0.875))
        waits.append(found.until_ms - live.now)
        live.now = found.until_ms
    assert waits == [875, 1750, 3500, 5250, 5250]
    live.settle(live.grant().lease_id)
    found = settle_with(live, LiveMark(MarkAction.COOL, 0, 1000, 6000, 0.875))
    assert found.until_ms - live.now == 875


def test_a_back_off_is_never_shorter_than_half_its_base(live):
    live.load(a_project())
    found = settle_with(live, LiveMark(MarkAction.COOL, 0, 1000, 6000, 0.0))
    assert found.until_ms - live.now == 500


def test_a_reset_of_failures_forgets_the_back_off(live):
    live.load(a_project(rpm=100))
    for _ in range(3):
        settle_with(live, LiveMark(MarkAction.COOL, 0, 1000, 6000, 0.875))
        live.run(live.engine.reset(live.model, [1], failures=True))
        assert live.view().failures == 0
        live.now += 1


def test_a_reset_answers_how_it_was_and_keeps_the_counters(live):
    live.load(a_project(rpd=9))
    settle_with(live, cool(NOON + 9000))
    before = live.run(live.engine.reset(live.model, [1])).views[0]
    assert (before.cool_until_ms, before.why, before.opens_at_ms) == (
        NOON + 9000,
        "cooldown",
        NOON + 9000,
    )
    view = live.view()
    assert (view.requests, view.tokens, view.day_requests, view.cool_until_ms) == (1, 10, 1, 0)


def test_a_reset_of_counters_empties_windows_and_days_but_not_what_is_in_flight(live):
    live.load(a_project(rpm=2, rpd=2))
    one = live.grant()
    live.now += 5
    two = live.grant()
    live.run(live.engine.reset(live.model, [1], counters=True))
    view = live.view()
    assert (view.requests, view.tokens, view.day_requests, view.utc_requests) == (0, 0, 0, 0)
    assert view.in_flight == 2
    live.grant(100)
    live.settle(one.lease_id, 900)
    live.settle(two.lease_id, 900)
    assert live.view().tokens == 100


def test_a_mark_from_another_model_counts_projects_it_applied_to(live):
    live.load(a_project(1), a_project(2))
    live.run(live.engine.reset(live.model, [2]))
    mark = LiveMark(MarkAction.WIDE, NOON + 9000)
    call = live.engine.mark(live.model, [1, 2, 3], mark, granted_at_ms=NOON)
    assert live.run(call) == 1
    assert live.grant().project_id == 2
    unknown = live.engine.mark("unknown", [1], mark, granted_at_ms=NOON)
    assert live.run(unknown) == 0
