"""The quota arithmetic: exact windows, days of the zone, and nothing else."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.simulator.limiter import (
    DayCount,
    Excess,
    Ledger,
    Limits,
    SlidingLog,
    day_end_ms,
)

PACIFIC = ZoneInfo("America/Los_Angeles")
NOON = int(datetime(2026, 6, 1, 12, tzinfo=PACIFIC).timestamp() * 1000)
HOUR_MS = 3_600_000


def ledger():
    return Ledger(SlidingLog(60_000), DayCount(PACIFIC))


def run(limits, calls):
    """Books the calls (ms after noon, tokens) that fit; which limits refused each one."""
    book, refusals = ledger(), []
    for at_ms, tokens in calls:
        excesses = book.excesses(limits, tokens, now_ms=NOON + at_ms)
        if not excesses:
            book.book(tokens, now_ms=NOON + at_ms)
        refusals.append({excess.limit for excess in excesses})
    return refusals


@pytest.mark.parametrize(
    ("limits", "calls", "refusals"),
    [
        pytest.param(
            Limits(rpm=2),
            [(0, 1), (1, 1), (59_999, 1), (60_000, 1)],
            [set(), set(), {"rpm"}, set()],
            id="a request leaves the window after exactly 60 s",
        ),
        pytest.param(
            Limits(rpm=1),
            [(0, 1), (30_000, 1), (60_000, 1), (119_999, 1)],
            [set(), {"rpm"}, set(), {"rpm"}],
            id="a refused request is not counted",
        ),
        pytest.param(
            Limits(tpm=10),
            [(0, 6), (1, 4), (2, 1), (60_000, 6), (60_001, 5)],
            [set(), set(), {"tpm"}, set(), {"tpm"}],
            id="tokens leave with their own request",
        ),
        pytest.param(
            Limits(tpm=10), [(0, 11)], [{"tpm"}], id="a request larger than TPM never fits"
        ),
        pytest.param(
            Limits(rpm=1, tpm=1, rpd=1),
            [(0, 1), (1, 1)],
            [set(), {"rpm", "tpm", "rpd"}],
            id="every exceeded limit is named",
        ),
        pytest.param(
            Limits(rpd=2),
            [(0, 1), (HOUR_MS, 1), (12 * HOUR_MS - 1, 1), (12 * HOUR_MS, 1)],
            [set(), set(), {"rpd"}, set()],
            id="a day ends at midnight Pacific",
        ),
        pytest.param(Limits(), [(0, 10**9)], [set()], id="no limit refuses nothing"),
    ],
)
def test_what_limits_refuse(limits, calls, refusals):
    assert run(limits, calls) == refusals


def test_an_excess_tells_the_limit():
    book = ledger()
    book.book(5, now_ms=NOON)
    assert book.excesses(Limits(tpm=7), 3, now_ms=NOON) == (Excess("tpm", 7),)


@pytest.mark.parametrize(
    ("start", "hours"),
    [
        pytest.param(datetime(2026, 6, 1, tzinfo=PACIFIC), 24, id="an ordinary day"),
        pytest.param(datetime(2026, 3, 8, tzinfo=PACIFIC), 23, id="the day that loses an hour"),
        pytest.param(datetime(2026, 11, 1, tzinfo=PACIFIC), 25, id="the day that gains one"),
    ],
)
def test_a_pacific_day_has_its_own_length(start, hours):
    start_ms = int(start.timestamp() * 1000)
    end_ms = start_ms + hours * HOUR_MS
    assert day_end_ms(start_ms, PACIFIC) == end_ms
    assert day_end_ms(end_ms - 1, PACIFIC) == end_ms
    assert day_end_ms(end_ms, PACIFIC) > end_ms


calls_in_time = st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 12)), max_size=60)


@given(calls_in_time, st.integers(1, 6), st.integers(1, 30), st.integers(1, 20))
def test_it_admits_exactly_what_a_plain_list_of_entries_would(steps, rpm, tpm, rpd):
    book, limits = ledger(), Limits(rpm=rpm, tpm=tpm, rpd=rpd)
    admitted: list[tuple[int, int]] = []
    now_ms = NOON
    for step_ms, tokens in steps:
        now_ms += step_ms
        recent = [t for at_ms, t in admitted if now_ms - at_ms < 60_000]
        fits = len(recent) < rpm and sum(recent) + tokens <= tpm and len(admitted) < rpd
        assert (not book.excesses(limits, tokens, now_ms=now_ms)) == fits
        if fits:
            book.book(tokens, now_ms=now_ms)
            admitted.append((now_ms, tokens))


@given(calls_in_time)
def test_the_highest_values_are_those_of_the_fullest_window(steps):
    log, entries, now_ms = SlidingLog(60_000), [], 0
    for step_ms, tokens in steps:
        now_ms += step_ms
        log.add(tokens, now_ms)
        entries.append((now_ms, tokens))
    windows = [
        [t for at_ms, t in entries if start_ms <= at_ms < start_ms + 60_000]
        for start_ms, _ in entries
    ]
    assert log.highest_requests == max(map(len, windows), default=0)
    assert log.highest_tokens == max(map(sum, windows), default=0)
