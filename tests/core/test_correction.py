"""Ratios of live traffic: what a request shows, what it corrects, and when a ratio has moved."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.core.correction import (
    LEAST,
    MOST,
    NOTHING,
    Evidence,
    corrected,
    has_drifted,
    observed,
)
from keypool_cli.core.estimator import Estimate, estimate_request

MODEL = "gemini-2.5-flash"
ARABIC = "في الصباح الباكر خرج الصيادون إلى البحر وعادوا قبل الظهر بسمك كثير. " * 20
ENGLISH = "The fishermen left at dawn and came back before noon with plenty of fish. " * 20


def estimate(text):
    return estimate_request({"contents": [{"parts": [{"text": text}]}]}, model=MODEL)


def shown(expected, actual):
    found = observed(expected, actual)
    assert found is not None
    return found


def reserved(found):
    return found.tokens + found.margin


def test_nothing_known_changes_nothing():
    found = estimate(ARABIC)
    assert corrected(found, NOTHING) is found


@pytest.mark.parametrize(
    ("evidence", "ratio"),
    [
        pytest.param(NOTHING, 1.0, id="nothing known is no correction"),
        pytest.param(Evidence(300, 360, 1), 1.1, id="as much evidence as prior counts half"),
        pytest.param(Evidence(10**6, 12 * 10**5, 99), 1.2, id="much evidence counts fully"),
        pytest.param(Evidence(10**6, 3 * 10**6, 99), MOST, id="no ratio is above the bound"),
        pytest.param(Evidence(10**6, 10**3, 99), LEAST, id="no ratio is below the bound"),
    ],
)
def test_a_ratio_is_shrunk_and_bounded(evidence, ratio):
    assert evidence.ratio == pytest.approx(ratio, abs=0.001)


def test_ten_requests_of_a_kind_correct_the_eleventh():
    found = estimate(ARABIC)
    evidence = NOTHING
    for _ in range(10):
        evidence = evidence.plus(shown(found.tokens, found.tokens * 1.2))
    assert corrected(found, evidence).tokens == pytest.approx(found.tokens * 1.2, rel=0.03)


def test_the_margin_narrows_once_a_kind_is_known():
    found = estimate(ENGLISH)
    nine = corrected(found, Evidence(5000, 5000, 9))
    ten = corrected(found, Evidence(5000, 5000, 10))
    assert nine.margin == found.margin
    assert 0.8 * found.margin <= ten.margin < 0.8 * found.margin + 1
    assert ten.tokens == found.tokens


def test_overheads_and_media_are_not_corrected():
    found = Estimate(1100, 10, "estimator", {"latin": 100.0, "media": 1000.0}, text=100.0)
    assert corrected(found, Evidence(10**6, 12 * 10**5, 5)).tokens == 1120


@given(st.text(max_size=300), st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 99))
def test_a_correction_never_reserves_beyond_what_the_bytes_can_cost(
    text, expected, actual, requests
):
    found = estimate(text)
    fixed = corrected(found, Evidence(expected, actual, requests))
    assert fixed.tokens >= min(found.tokens, 1)
    assert fixed.margin >= 0
    assert reserved(fixed) <= max(found.most, 1)
    assert reserved(found) <= found.most


@pytest.mark.parametrize(
    ("expected", "actual"),
    [(0, 10), (100, 201), (100, 49), (100, 0), (100, -5)],
)
def test_a_request_with_something_uncounted_shows_nothing(expected, actual):
    assert observed(expected, actual) is None


def test_one_long_request_does_not_decide_alone():
    assert observed(1_000_000, 1_200_000) == Evidence(5000, 6000, 1)


@pytest.mark.parametrize(
    ("text", "script"),
    [(ARABIC, "arabic"), (ENGLISH, "latin"), ("مُحَمَّدٌ كَتَبَ" * 5, "tashkeel"), ("123 " * 99, "digits")],
)
def test_the_dominant_script_is_that_of_most_tokens(text, script):
    assert estimate(text).script == script


@pytest.mark.parametrize(
    ("evidence", "told", "drifted"),
    [
        pytest.param(Evidence(10**6, 10**6 * 102 // 100 + 900, 1000), 1.0, True, id="above 2 %"),
        pytest.param(Evidence(10**6, 10**6 * 102 // 100 - 900, 1000), 1.0, False, id="below 2 %"),
        pytest.param(Evidence(10**6, 10**6 * 97 // 100, 1000), 1.0, True, id="downwards too"),
        pytest.param(Evidence(10**6, 10**6 * 106 // 100, 9), 1.0, False, id="too few requests"),
        pytest.param(Evidence(10**6, 10**6 * 104 // 100, 10), 1.0, False, id="may be chance"),
        pytest.param(Evidence(10**6, 10**6 * 106 // 100, 10), 1.0, True, id="is no chance"),
        pytest.param(Evidence(10**6, 10**6 * 106 // 100, 1000), 1.05, False, id="told already"),
        pytest.param(Evidence(10**6, 10**6 * 109 // 100, 1000), 1.05, True, id="moved on since"),
    ],
)
def test_a_ratio_is_told_when_it_moved_by_more_than_two_percent(evidence, told, drifted):
    assert has_drifted(evidence, told=told) is drifted


def test_noise_around_a_true_estimate_is_hardly_ever_told():
    dice = random.Random(4)
    alarms = 0
    for _ in range(200):
        evidence = NOTHING
        for _ in range(100):
            evidence = evidence.plus(shown(200, 200 * dice.gauss(1.0, 0.05)))
        alarms += has_drifted(evidence, told=1.0)
    assert alarms <= 2


def test_a_text_counts_by_its_tokens():
    assert observed(100, 110) == Evidence(100, 110, 1)
