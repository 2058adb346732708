"""What a probe counts, and how its estimates are summed up."""

import pytest

from keypool_cli.core.accuracy import (
    Accuracy,
    Counted,
    Probe,
    Scored,
    accuracy,
    by_kind,
    by_stratum,
    is_possible,
    score,
    text_probe,
)
from keypool_cli.core.estimator import DEFAULT, estimate_request
from tests.support.counting import MODEL


def scored(actual, expected, reserved, *, kind="own"):
    return Scored(text_probe("a", "text", kind=kind), 300, actual, expected, reserved)


def test_errors_are_summed_up():
    found = accuracy([scored(100, 110, 120), scored(100, 80, 99), scored(400, 400, 400)])
    assert (found.samples, found.characters, found.tokens, found.under) == (3, 900, 600, 1)
    assert (found.mape, found.bias) == pytest.approx((0.1, -1 / 30))
    assert found.over == pytest.approx(19 / 600)
    assert found.characters_per_token == 1.5


def test_nothing_counted_has_no_errors():
    nothing = accuracy([])
    assert nothing == Accuracy(0, 0, 0, 0.0, 0.0, 0, 0.0)
    assert nothing.characters_per_token == 0.0


def test_a_score_is_what_the_estimator_says():
    probe = text_probe("a", "كم الساعة الآن في الرباط؟", kind="ar_ui")
    estimate = estimate_request(probe.body, model=MODEL)
    one = score(Counted(probe, 9), model=MODEL, calibration=DEFAULT)
    assert (one.expected, one.reserved) == (estimate.tokens, estimate.tokens + estimate.margin)
    assert (one.actual, one.characters) == (9, 25)


def test_kinds_are_judged_together_by_stratum():
    mixed = [scored(1, 1, 1, kind=kind) for kind in ("ar_ui", "en_prose", "ar_prose", "own")]
    assert list(by_kind(mixed)) == ["ar_ui", "en_prose", "ar_prose", "own"]
    assert {name: len(group) for name, group in by_stratum(mixed).items()} == {
        "Arabic": 2,
        "English": 1,
        "own": 1,
    }


def test_a_digest_names_the_body_and_nothing_else():
    probe = text_probe("a", "نص قصير", kind="ar_ui")
    assert probe.digest == text_probe("b", "نص قصير", kind="own").digest
    assert probe.digest != text_probe("a", "نص قصير ", kind="ar_ui").digest
    assert text_probe("c", "\ud800", kind="own").digest
    assert Probe("d", "own", {"a": 1, "b": 2}).digest == Probe("d", "own", {"b": 2, "a": 1}).digest


@pytest.mark.parametrize(
    ("text", "tokens", "possible"),
    [
        pytest.param("x" * 640, 0, False, id="a text that costs nothing"),
        pytest.param("x" * 640, 9, False, id="tokens of more than 64 bytes"),
        pytest.param("x" * 640, 10, True, id="the longest tokens"),
        pytest.param("x" * 640, 704, True, id="a token a byte, and overhead"),
        pytest.param("x" * 640, 705, False, id="more tokens than bytes"),
        pytest.param("x" * 640, -1, False, id="less than none"),
        pytest.param("\u0633" * 9, 82, True, id="bytes of Arabic"),
        pytest.param("", 0, True, id="an empty text"),
    ],
)
def test_a_count_is_possible_if_its_tokens_are_of_bytes(text, tokens, possible):
    assert is_possible(text_probe("a", text, kind="own"), tokens) is possible
