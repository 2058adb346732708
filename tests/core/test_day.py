"""The Pacific day, from the zone database."""

from datetime import UTC, date, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.core.day import day_end_ms, day_of, day_starts
from tests.support.oracle_project import pacific_midnights

HOUR_MS = 3_600_000
instants = st.integers(946_684_800_000, 4_102_444_800_000)


def utc(year: int, month: int, day: int, hour: int) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp()) * 1000


@pytest.mark.parametrize(
    ("noon", "starts", "ends"),
    [
        pytest.param(
            utc(2025, 11, 24, 20), utc(2025, 11, 24, 8), utc(2025, 11, 25, 8), id="winter"
        ),
        pytest.param(utc(2025, 7, 1, 20), utc(2025, 7, 1, 7), utc(2025, 7, 2, 7), id="summer"),
        pytest.param(utc(2025, 3, 9, 20), utc(2025, 3, 9, 8), utc(2025, 3, 10, 7), id="23 hours"),
        pytest.param(utc(2025, 11, 2, 20), utc(2025, 11, 2, 7), utc(2025, 11, 3, 8), id="25 hours"),
    ],
)
def test_a_day_runs_from_midnight_to_midnight_in_california(noon, starts, ends):
    assert day_starts(noon)[2:4] == (starts, ends)
    assert day_end_ms(noon) == ends


def test_midnight_belongs_to_the_day_it_starts():
    midnight = utc(2025, 11, 25, 8)
    assert day_of(midnight) == date(2025, 11, 25)
    assert day_of(midnight - 1) == date(2025, 11, 24)
    assert day_end_ms(midnight - 1) == midnight
    assert day_end_ms(midnight) == utc(2025, 11, 26, 8)


@given(instants)
def test_an_instant_lies_in_the_third_of_six_days(at):
    starts = day_starts(at)
    assert len(starts) == 6
    assert starts[2] <= at < starts[3]
    hours = [(after - before) / HOUR_MS for before, after in pairwise(starts)]
    assert set(hours) <= {23, 24, 25}


@given(instants)
def test_the_oracle_finds_the_same_days(at):
    assert tuple(pacific_midnights(at)) == day_starts(at)[2:5]
