"""How sure figures from few samples are."""

from math import comb
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.core.bounds import mean_interval, too_many, upper_quantile

ERRORS = st.lists(st.floats(0, 1), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("trials", "events"),
    [(120, 5), (160, 6), (240, 8), (400, 10)],
)
def test_so_many_under_reservations_are_an_alarm(trials, events):
    assert too_many(trials) == events


@given(st.integers(0, 300))
def test_an_alarm_is_improbable_and_one_event_less_is_not(trials):
    def probability_of(least):
        return sum(
            comb(trials, k) * 0.01**k * 0.99 ** (trials - k) for k in range(least, trials + 1)
        )

    events = too_many(trials)
    assert probability_of(events) <= 0.01 + 1e-9
    assert events == 0 or probability_of(events - 1) > 0.01 - 1e-9


def test_one_event_is_never_an_alarm():
    assert too_many(0) > 0
    assert too_many(1) > 1


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        pytest.param(98, None, id="98 values cannot hold the 99 % quantile"),
        pytest.param(99, 99, id="of 99 it is the largest"),
        pytest.param(199, 198, id="of 199 it is the second largest"),
        pytest.param(0, None, id="none of no values"),
    ],
)
def test_quantile(count, expected):
    assert upper_quantile(list(range(1, count + 1)), 0.99) == expected


@given(ERRORS, st.integers(0, 9))
def test_the_interval_lies_among_the_values_around_their_mean(errors, seed):
    low, high = mean_interval(errors, seed=seed, resamples=100)
    assert min(errors) - 1e-9 <= low <= high <= max(errors) + 1e-9


@given(ERRORS, st.randoms(use_true_random=False))
def test_the_interval_does_not_depend_on_order(errors, random):
    shuffled = random.sample(errors, len(errors))
    assert mean_interval(errors, seed=1, resamples=50) == mean_interval(
        shuffled, seed=1, resamples=50
    )


def test_the_interval_is_as_wide_as_the_values_vary():
    values = [at / 100 for at in range(100)]
    mean, deviation = fmean(values), pstdev(values) / len(values) ** 0.5
    low, high = mean_interval(values, seed=1)
    assert (mean - low) / deviation == pytest.approx(1.96, abs=0.2)
    assert (high - mean) / deviation == pytest.approx(1.96, abs=0.2)


def test_the_seed_decides_the_resampling():
    values = [0.01 * at**0.5 for at in range(30)]
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)
