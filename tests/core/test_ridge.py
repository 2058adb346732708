"""Linear regression with priors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.core.ridge import Belief, Row, learn

PRIORS = (Belief(1.0, 0.5), Belief(-2.0, 3.0))
FACTOR = st.floats(-50, 50)


def test_nothing_measured_leaves_the_priors():
    for belief, prior in zip(learn([], PRIORS), PRIORS, strict=True):
        assert (belief.mean, belief.sd) == pytest.approx((prior.mean, prior.sd))


def test_one_exact_measurement_decides():
    (belief,) = learn([Row((2.0,), 10.0, 1e-6)], [Belief(0.0, 1.0)])
    assert belief.mean == pytest.approx(5.0)
    assert belief.sd == pytest.approx(5e-7)


def test_a_measurement_as_sure_as_the_prior_meets_it_half_way():
    (belief,) = learn([Row((1.0,), 4.0, 1.0)], [Belief(2.0, 1.0)])
    assert belief.mean == pytest.approx(3.0)
    assert belief.sd == pytest.approx(0.5**0.5)


@given(st.tuples(FACTOR, FACTOR), st.lists(st.tuples(FACTOR, FACTOR), max_size=8))
def test_measurements_that_agree_with_the_priors_change_no_mean(extra, values):
    rows = [Row(row, sum(map(float.__mul__, row, (1.0, -2.0))), 1.0) for row in (extra, *values)]
    first, second = learn(rows, PRIORS)
    assert first.mean == pytest.approx(1.0, abs=1e-6)
    assert second.mean == pytest.approx(-2.0, abs=1e-6)
    assert first.sd <= PRIORS[0].sd + 1e-9
