"""The daemon's counters."""

from bisect import bisect_left

import pytest

from keypool_cli.service.counters import BOUNDS_S, MOST_USES, REST, Counts, Histogram


def test_uses_are_told_apart_by_client_project_key_and_model():
    counts = Counts()
    counts.granted((1, 2, 3, "m"), 10, 0.1)
    counts.granted((1, 2, 3, "m"), 5, 0.1)
    counts.settled((1, 2, 3, "m"), 7, 0.1)
    counts.granted((1, 2, 3, "n"), 1, 0.1)
    use = counts.uses[1, 2, 3, "m"]
    assert (use.granted, use.reserved, use.settlements, use.settled) == (2, 15, 1, 7)
    assert counts.uses[1, 2, 3, "n"].granted == 1


def test_names_that_clients_invent_take_no_more_room_than_others():
    counts = Counts()
    for number in range(MOST_USES + 50):
        counts.granted((0, 1, 1, f"model-{number}"), 1, 0.0)
    assert len(counts.uses) <= MOST_USES + 1
    assert counts.uses[REST].granted == 50
    assert sum(each.granted for each in counts.uses.values()) == MOST_USES + 50


@pytest.mark.parametrize(("status", "told"), [(200, 200), (0, 0), (599, 599), (42, 0), (-1, 0)])
def test_statuses_that_are_none_are_counted_as_no_answer(status, told):
    counts = Counts()
    counts.answered("client", status, None)
    assert counts.answers == {("client", told): 1}


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.0011, 299.0, 1e6])
def test_a_duration_is_counted_below_the_first_bound_it_keeps(seconds):
    histogram = Histogram()
    histogram.observe(seconds)
    index = histogram.buckets.index(1)
    assert index == bisect_left(BOUNDS_S, seconds)
    assert index == len(BOUNDS_S) or seconds <= BOUNDS_S[index]
    assert (sum(histogram.buckets), histogram.sum_s) == (1, seconds)
