"""The sliding minute and the days: what is counted, until when, and what that lets through."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keypool_cli.core.day import day_starts
from keypool_cli.core.model import UNLIMITED
from keypool_cli.engine.types import Grant, LeaseEnd
from tests.support.live_engine import NOON, a_demand, a_project
from tests.support.oracle_project import BOTH_DAYS, Booking, Log, pacific_midnights

WINDOW_MS = 60_500
DAY_MS = 86_400_000
GUARD_MS = 500
USABLE_BY_BOTH_DAYS = 1 | BOTH_DAYS

RESTED = settings(deadline=None)


@pytest.mark.parametrize(
    ("limits", "options"),
    [
        pytest.param({"rpm": 3}, {"requests": 3}, id="requests"),
        pytest.param({"tpm": 300}, {"tokens": 300}, id="tokens"),
    ],
)
def test_a_booking_counts_for_the_minute_and_the_guard_to_the_ms(live, limits, options):
    live.load(a_project(**limits))
    live.grant(**options)
    assert live.refusal(1).retry_at_ms == NOON + WINDOW_MS + 1
    live.now = NOON + WINDOW_MS
    assert live.refusal(1).retry_at_ms == NOON + WINDOW_MS + 1
    live.now += 1
    assert live.grant()


def test_the_limit_named_is_the_one_that_holds_longest(live):
    live.load(a_project(rpm=2, tpm=1000))
    live.grant(900)
    live.now += 1000
    live.grant(1)
    assert live.refusal(1000).limit == "tpm"
    assert live.refusal(1).limit == "rpm"


def test_a_refusal_reserves_nothing(live):
    live.load(a_project())
    live.refusal(1001)
    assert (live.view().requests, live.view().tokens, live.view().day_requests) == (0, 0, 0)


def test_a_demand_books_all_its_requests_together(live):
    live.load(a_project(rpm=5, rpd=9))
    live.grant(requests=4)
    assert live.view().requests == 4
    assert live.view().day_requests == 4
    assert live.refusal(requests=2).limit == "rpm"
    assert live.grant(requests=1)


def test_a_limit_lowered_below_what_is_booked_waits_until_it_fits(live):
    live.load(a_project(rpm=5))
    for each in range(5):
        live.now = NOON + each
        live.grant()
    live.load(a_project(rpm=2))
    assert live.refusal().retry_at_ms == NOON + 3 + WINDOW_MS + 1


EVERY_MS = 3100


def fill_a_ring_until_it_wraps(live, **limits):
    """Book 32 times at 20 a minute: of the twenty that count the ring holds twelve, from its middle on."""
    for each in range(32):
        live.now = NOON + each * EVERY_MS
        live.grant(each + 1, **limits)


def test_a_window_outlives_a_ring_that_grows_while_it_wraps(live):
    live.load(a_project(rpm=20))
    fill_a_ring_until_it_wraps(live)
    live.load(a_project(rpm=30))
    live.grant(5)
    assert (live.view().requests, live.view().tokens) == (21, sum(range(13, 33)) + 5)
    live.now = NOON + 23 * EVERY_MS + WINDOW_MS + 1
    assert live.view().tokens == sum(range(25, 33)) + 5


def test_entries_emptied_by_releases_do_not_blur_the_window(live):
    live.load(a_project(rpm=2))
    for each in range(6):
        live.now = NOON + 10 * each
        live.release(live.grant().lease_id)
        live.now += 1
        first = live.grant()
        live.now += 1
        second = live.grant()
        live.release(first.lease_id)
        live.release(second.lease_id)
    live.now = NOON + 100
    live.grant()
    live.now = NOON + 30_000
    live.grant()
    assert live.refusal().retry_at_ms == NOON + 100 + WINDOW_MS + 1


def test_bookings_a_quarter_second_apart_share_an_entry_that_leaves_with_the_last(live):
    live.load(a_project(rpm=1001, tpm=-1))
    for _ in range(10):
        live.grant(requests=100)
    live.now += 250
    live.grant()
    live.now += 1
    assert live.refusal().retry_at_ms == NOON + 250 + WINDOW_MS + 1
    live.now = NOON + WINDOW_MS + 1
    assert live.refusal().retry_at_ms == NOON + 250 + WINDOW_MS + 1
    live.now += 250
    assert live.grant()


def test_bookings_further_apart_leave_one_by_one(live):
    live.load(a_project(rpm=1001, tpm=-1))
    live.grant(requests=100)
    live.now += 251
    for _ in range(9):
        live.grant(requests=100)
    assert live.refusal(requests=100).retry_at_ms == NOON + WINDOW_MS + 1


steps = st.lists(
    st.tuples(st.integers(0, 400), st.integers(1, 100), st.integers(1, 12)),
    min_size=20,
    max_size=60,
)


@pytest.mark.parametrize(
    ("rpm", "tpm"), [(1001, UNLIMITED), (UNLIMITED, 2000), (1500, 3000)], ids=str
)
def test_beyond_1000_requests_a_minute_it_is_never_over_and_a_quarter_second_late(live, rpm, tpm):
    @RESTED
    @given(steps)
    def check(found):
        live.fresh(a_project(rpm=rpm, tpm=tpm))
        exact, late = Log(WINDOW_MS, rpm, tpm), Log(WINDOW_MS + 250, rpm, tpm)
        for ms, tokens, repeats in found:
            live.now += ms * repeats
            demand = a_demand(tokens, requests=min(repeats * 8, 100))
            result = live.acquire_all(demand)[0]
            if isinstance(result, Grant):
                assert exact.fits(demand, live.now)
                booking = a_booking(live.now, demand)
                exact.bookings.append(booking)
                late.bookings.append(booking)
            else:
                assert not late.fits(demand, live.now)
                assert live.now < result.retry_at_ms <= live.now + WINDOW_MS + 251

    check()


def a_booking(at, demand):
    return Booking(at, demand.requests, demand.tokens)


jumps = st.lists(
    st.tuples(
        st.sampled_from((0, 1, 40, 900, 20_000, 61_000, -1, -300, -4000, -6000, -30_000)),
        st.integers(1, 600),
    ),
    min_size=10,
    max_size=60,
)


@RESTED
@given(found=jumps, rpm=st.sampled_from((2, 5, 1001)))
def test_a_clock_set_back_never_lets_more_through(live_server, found, rpm):
    """Measured in the time that really passed: a step back takes none."""
    live_server.fresh(a_project(1, rpm=rpm), a_project(2, rpm=rpm))
    passed = 0
    logs = {number: Log(WINDOW_MS, rpm, 1000) for number in (1, 2)}
    for ms, tokens in found:
        live_server.now += ms
        passed += max(ms, 0)
        demand = a_demand(tokens, requests=2)
        result = live_server.acquire_all(demand)[0]
        if isinstance(result, Grant):
            assert logs[result.project_id].fits(demand, passed)
            logs[result.project_id].bookings.append(a_booking(passed, demand))


def test_a_clock_that_jumps_back_and_forth_books_no_earlier_than_it_has_been(live):
    live.load(a_project(rpm=2))
    live.grant()
    live.now = NOON - 300
    live.grant()
    live.now = NOON + WINDOW_MS - 299
    assert live.view().requests == 2


def test_a_clock_set_far_back_counts_the_window_as_spent_just_now(live):
    live.load(a_project())
    live.grant(600)
    live.now += 1
    live.grant(400)
    live.now = NOON - 30_000
    assert live.refusal(1).retry_at_ms == live.now + WINDOW_MS + 1
    assert live.view().tokens == 1000


def test_a_clock_set_back_is_forgotten_once_it_has_caught_up(live):
    live.load(a_project(rpm=1))
    live.grant()
    live.now = NOON - 2000
    assert live.refusal().retry_at_ms == NOON + WINDOW_MS + 1
    live.now = NOON + WINDOW_MS + 1
    assert live.grant()


# --- days ---------------------------------------------------------------------------------------

SHORT = 1_741_510_800_000
"""12:00 in California on 9 March 2025: 23 hours long."""

LONG = 1_762_113_600_000
"""12:00 in California on 2 November 2025: 25 hours long."""


@pytest.mark.parametrize("noon", [NOON, SHORT, LONG], ids=["plain", "23 hours", "25 hours"])
def test_the_days_requests_come_back_at_pacific_midnight(live, noon):
    live.now = noon
    live.load(a_project(rpd=1))
    live.grant()
    _, midnight, _ = pacific_midnights(noon)
    refused = live.refusal()
    assert (refused.limit, refused.retry_at_ms) == ("rpd", midnight)
    live.now = midnight - 1
    assert live.refusal().retry_at_ms == midnight
    live.now = midnight
    assert live.grant()


def test_a_daemon_whose_clock_is_behind_does_not_stretch_the_day(live, monkeypatch):
    live.load(a_project(rpd=1))
    _, midnight, _ = pacific_midnights(NOON)
    days = day_starts(NOON)  # what it still thinks after midnight
    monkeypatch.setattr(live.engine, "_days", lambda: days)
    live.grant()
    assert live.refusal().retry_at_ms == midnight
    live.now = midnight
    assert live.grant()


def test_the_whole_day_counts_not_the_last_24_hours(live):
    _, midnight, _ = pacific_midnights(LONG)
    live.now = midnight - 25 * 3_600_000
    live.load(a_project(rpd=1))
    live.grant()
    live.now += 24 * 3_600_000
    assert live.refusal().retry_at_ms == midnight


@pytest.mark.parametrize(("before_ms", "used"), [(GUARD_MS, 1), (GUARD_MS + 1, 0), (1, 1)], ids=str)
def test_a_request_within_the_guard_of_midnight_counts_in_both_days(live, before_ms, used):
    _, midnight, _ = pacific_midnights(NOON)
    live.now = midnight - before_ms
    live.load(a_project(rpd=2))
    live.grant()
    assert live.view().day_requests == 1
    live.now = midnight
    assert live.view().day_requests == used
    live.now += DAY_MS
    assert live.view().day_requests == 0


def test_when_the_last_requests_of_a_day_fill_the_next_it_opens_a_day_later(live):
    _, midnight, after = pacific_midnights(NOON)
    live.now = midnight - 100
    live.load(a_project(rpd=2))
    live.grant(requests=2)
    assert live.refusal().retry_at_ms == after
    live.now = after
    assert live.grant()


@pytest.mark.parametrize("used", ["day_requests", "utc_requests"])
def test_a_clock_set_forward_and_back_again_gives_no_day_more(live, used):
    """What was granted meanwhile counts on the day that it truly was, and on that which it seemed."""
    live.load(a_project(rpd=5, flags=USABLE_BY_BOTH_DAYS))
    live.grant(requests=3)
    live.now += DAY_MS
    live.grant(requests=1)
    assert getattr(live.view(), used) == 1
    live.now -= DAY_MS
    assert getattr(live.view(), used) == 4
    live.grant()
    assert live.refusal().limit == "rpd"
    live.now += DAY_MS
    assert getattr(live.view(), used) == 1


def test_a_day_that_a_wrong_clock_has_passed_over_still_counts(live):
    live.load(a_project(rpd=3))
    live.grant(requests=3)
    live.now += 2 * DAY_MS
    live.grant()
    live.now -= DAY_MS
    assert live.view().day_requests == 1
    live.now -= DAY_MS
    assert live.view().day_requests == 4


@pytest.mark.parametrize(
    "days",
    [
        pytest.param([1, 2, 0], id="ahead, over two midnights"),
        pytest.param([1, 2, 3, 0], id="ahead, over three"),
        pytest.param([-2, 0], id="behind by two days"),
        pytest.param([-9000, 0], id="at its beginning"),
        pytest.param([1, -2, 0], id="ahead, then behind"),
    ],
)
@pytest.mark.parametrize("used", ["day_requests", "utc_requests"])
def test_a_clock_that_was_wrong_on_several_days_leaves_the_true_one_its_count(live, days, used):
    live.load(a_project(rpd=10, flags=USABLE_BY_BOTH_DAYS))
    live.grant(requests=3)
    for day in days:
        live.now = NOON + day * DAY_MS
        live.grant()
    assert getattr(live.view(), used) == 4 + sum(day > 0 for day in days)


def test_days_on_which_nothing_was_granted_push_no_other_out(live):
    live.load(a_project(rpd=9))
    for day in range(9):
        live.now = NOON + day * DAY_MS
        if day < 3:
            live.grant(requests=3)
        live.run(live.engine.reset(live.model, [1]))
    live.now = NOON
    assert live.refusal().limit == "rpd"


def test_what_a_wrong_clock_counted_is_forgotten_in_a_few_days(live):
    live.load(a_project(rpd=3))
    live.now = NOON + 9000 * DAY_MS
    live.grant(requests=2)
    for day in range(5):
        live.now = NOON + day * DAY_MS
        live.grant()
    assert live.view().day_requests == 1


def test_counters_reset_while_the_clock_was_wrong_stay_so(live):
    live.load(a_project(rpd=3))
    live.grant(requests=3)
    live.now += DAY_MS
    live.view()
    live.grant()
    live.run(live.engine.reset(live.model, [1], counters=True))
    live.now -= DAY_MS
    assert live.view().day_requests == 0


hops = st.lists(
    st.tuples(st.integers(-50, 50), st.integers(0, 900), st.integers(1, 3), st.booleans()),
    min_size=4,
    max_size=40,
)


@RESTED
@given(found=hops)
def test_every_day_counts_what_was_granted_from_its_start_on(live_server, found):
    """However the clock goes to and fro between four days, with leases given back in between."""
    live_server.fresh(a_project(rpm=UNLIMITED, tpm=UNLIMITED))
    first, second, _ = pacific_midnights(NOON)
    live_server.now = second - 1000
    granted: list[tuple[int, int, str]] = []
    for hours, ms, requests, gives_back in found:
        moved = live_server.now + hours * 3_600_000 + ms
        live_server.now = min(max(moved, first - DAY_MS), second + 2 * DAY_MS - 2 * GUARD_MS)
        lease = live_server.grant(requests=requests, ttl_ms=3_600_000)
        granted.append((live_server.now, requests, lease.lease_id))
        back = granted[len(granted) // 2]
        if gives_back and live_server.release(back[2]) is LeaseEnd.RELEASED:
            granted.remove(back)
        day = next(pacific_midnights(live_server.now))
        counted = sum(n for at, n, _ in granted if at >= day - GUARD_MS)
        assert live_server.view().day_requests == counted


@pytest.mark.parametrize("late", [False, True], ids=["same day", "next day"])
def test_a_release_gives_the_day_back_what_it_counted(live, late):
    _, midnight, _ = pacific_midnights(NOON)
    live.now = midnight - 100
    live.load(a_project(rpd=2))
    lease = live.grant(requests=2)
    live.now += 200 if late else 0
    live.release(lease.lease_id)
    assert live.view().day_requests == 0
    live.now = midnight + 200
    assert live.view().day_requests == 0


def test_a_release_does_not_take_from_counts_emptied_since(live):
    live.load(a_project(rpd=2))
    old = live.grant()
    live.now += 1
    live.run(live.engine.reset(live.model, [1], counters=True))
    live.now += 1
    live.grant()
    live.release(old.lease_id)
    view = live.view()
    assert (view.requests, view.tokens, view.day_requests) == (1, 10, 1)


def test_nor_does_it_where_the_clock_was_set_back_between(live):
    live.load(a_project(rpd=9))
    before = live.grant()
    live.now -= 900
    live.run(live.engine.reset(live.model, [1], counters=True))
    after = live.grant()
    live.release(before.lease_id)
    assert live.view().day_requests == 1
    live.release(after.lease_id)
    assert live.view().day_requests == 0


def test_a_project_counted_by_both_days_waits_for_both(live):
    live.load(a_project(rpd=1, flags=USABLE_BY_BOTH_DAYS))
    live.grant()
    utc_midnight = NOON // DAY_MS * DAY_MS + DAY_MS
    _, pacific, _ = pacific_midnights(NOON)
    assert utc_midnight < pacific
    assert live.refusal().retry_at_ms == pacific
    live.now = pacific
    live.grant()
    assert live.refusal().retry_at_ms == pacific + DAY_MS
    live.run(live.engine.reset(live.model, [1], counters=True))
    live.now = pacific + 20 * 3_600_000
    live.grant()
    assert live.refusal().retry_at_ms == utc_midnight + 2 * DAY_MS


def test_requests_near_the_end_of_the_utc_day_may_fill_the_next(live):
    live.now = NOON // DAY_MS * DAY_MS + DAY_MS - 10
    live.load(a_project(rpd=1, flags=USABLE_BY_BOTH_DAYS))
    live.grant()
    assert live.refusal().retry_at_ms == live.now + 10 + DAY_MS


def test_several_requests_wait_for_midnight_where_one_still_fits(live):
    live.load(a_project(rpd=3))
    live.grant(requests=2)
    live.now += 2 * WINDOW_MS
    _, midnight, _ = pacific_midnights(NOON)
    assert live.refusal(requests=2).retry_at_ms == midnight
    live.now = midnight
    assert live.grant(requests=2)


# --- a client's own window ------------------------------------------------------------------------


def test_a_clients_own_limits_hold_across_projects(live):
    live.load(a_project(1), a_project(2))
    limits = {"client": 7, "client_rpm": 2, "client_tpm": 500}
    live.grant(400, **limits)
    refused = live.refusal(101, **limits)
    assert (refused.limit, refused.retry_at_ms) == ("client", NOON + WINDOW_MS + 1)
    live.grant(100, **limits)
    assert live.refusal(0, **limits).limit == "client"
    assert live.grant(400)
    assert live.refusal(501, **limits).retry_at_ms is None


def test_a_client_is_told_the_later_of_its_own_instant_and_the_pools(live):
    live.load(a_project(1, rpm=1))
    limits = {"client": 7, "client_rpm": 1}
    live.grant(**limits)
    live.now += 1000
    live.load(a_project(1, rpm=2))
    live.grant()
    refused = live.refusal(**limits)
    assert (refused.limit, refused.retry_at_ms) == ("client", NOON + WINDOW_MS + 1)
    live.load(a_project(1, rpm=1))
    assert live.refusal(**limits).retry_at_ms == NOON + 1000 + WINDOW_MS + 1


def test_a_clients_window_outlives_a_ring_that_grows_for_a_demand_that_is_refused(live):
    live.load(a_project(rpm=100))
    limits = {"client": 7, "client_rpm": 20, "client_tpm": 700}
    fill_a_ring_until_it_wraps(live, **limits)
    live.refusal(800, **{**limits, "client_rpm": 40})
    assert live.refusal(1, **limits).retry_at_ms == NOON + 12 * EVERY_MS + WINDOW_MS + 1


def test_a_release_gives_the_clients_window_back_what_it_held(live):
    live.load(a_project())
    limited = {"client": 7, "client_rpm": 1, "client_tpm": 100}
    lease = live.grant(100, **limited)
    assert live.refusal(1, **limited).limit == "client"
    live.release(lease.lease_id, client=7)
    assert live.grant(100, **limited)


def test_a_settled_count_corrects_the_clients_window_too(live):
    live.load(a_project())
    limits = {"client": 7, "client_tpm": 500}
    lease = live.grant(400, **limits)
    live.settle(lease.lease_id, 100, client=7)
    assert live.grant(400, **limits)


def test_a_client_at_its_limit_is_told_its_own_instant_though_a_project_is_free(live):
    live.load(*[a_project(each, rpm=1, in_flight=1) for each in (1, 2, 3)])
    limits = {"client": 7, "client_rpm": 2}
    live.grant(**limits)
    live.grant(**limits)
    refused = live.refusal(**limits)
    assert (refused.limit, refused.retry_at_ms) == ("client", NOON + WINDOW_MS + 1)
