"""Counters of several workers, told to each other through files without names."""

import os

import pytest

from keypool_cli.service.counters import Counts
from keypool_cli.service.counters_shared import added_up, seats, tally_of

USE = (1, 2, 3, "m")


@pytest.fixture
def places():
    made = seats(3)
    yield made
    for each in made[0].files:
        os.close(each)


def some(leases):
    counts = Counts()
    for _ in range(leases):
        counts.granted(USE, 10, 0.004)
        counts.settled(USE, 7, 0.2)
        counts.answered("proxy", 200, None)
    counts.refused["rpm"] += leases
    return counts


def test_what_workers_counted_is_added_up_whoever_is_asked(places):
    for index, place in enumerate(places[:2]):
        place.write(tally_of(some(index + 1), waiting=5))
    for place in places:
        counts, waiting = added_up(place.read())
        use = counts.uses[USE]
        assert (use.granted, use.reserved, use.settled, use.settlements) == (3, 30, 21, 3)
        assert (counts.refused, counts.answers, waiting) == ({"rpm": 3}, {("proxy", 200): 3}, 10)
        assert sum(counts.lease_s.buckets) == sum(counts.settle_s.buckets) == 3
        assert counts.settle_s.sum_s == pytest.approx(0.6)


def test_a_later_word_takes_the_place_of_an_earlier_longer_one(places):
    place = places[0]
    long = some(1)
    for number in range(100):
        long.granted((number, 2, 3, "m"), 1, 0.0)
    place.write(tally_of(long, waiting=0))
    place.write(tally_of(some(4), waiting=0))
    counts, _ = added_up(places[1].read())
    assert list(counts.uses) == [USE]
    assert counts.uses[USE].granted == 4


def test_a_word_half_written_is_not_believed(places):
    place = places[0]
    place.write(tally_of(some(1), waiting=9))
    os.pwrite(place.files[0], b"\xff", 12)
    assert added_up(places[1].read())[1] == 0
