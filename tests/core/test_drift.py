"""Whether a calibration still holds: each rule fires, and just does not."""

import random
from dataclasses import replace

import pytest

from keypool_cli.core.accuracy import Counted, score, text_probe
from keypool_cli.core.calibration import calibrate
from keypool_cli.core.drift import (
    BULK_TOKENS,
    LONG_TOKENS,
    Severity,
    Shift,
    check,
    choose_subset,
)
from keypool_cli.core.estimator import DEFAULT
from keypool_cli.samples import load_shipped
from tests.support.counting import MODEL, by_digest, counted_by

SHIPPED = load_shipped()
STORED = by_digest(counted_by("gemma3", SHIPPED))
CHANGED = by_digest(counted_by("gemma2", SHIPPED))


def texts(count, *, kind="own", words=200):
    """Distinct texts of about a token a word."""
    sentence = " ".join(["the boat waits outside"] * (words // 4))
    return [text_probe(f"{kind}-{at}", f"{sentence} {at:03d}", kind=kind) for at in range(count)]


def estimates(probes, calibration=DEFAULT):
    return [score(Counted(one, 1), model=MODEL, calibration=calibration) for one in probes]


def judge(probes, fresh, *, stored=None, **known):
    stored = fresh if stored is None else stored
    known = {"calibration": DEFAULT, **known}
    return check(probes, stored, fresh=fresh, model=MODEL, **known)


def rules(drift, *, at_least=Severity.INFO):
    return [finding.rule for finding in drift.findings if finding.severity >= at_least]


def only(counts, probes):
    return {probe.digest: counts[probe.digest] for probe in probes}


def test_unchanged_counts_find_nothing():
    drift = judge(SHIPPED, STORED)
    assert not drift.fails
    assert drift.findings == ()
    assert {shift.ratio for shift in drift.shifts} == {0.0}


@pytest.mark.parametrize(
    ("stratum", "fresh", "severity"),
    [
        ("Arabic", 10_050, Severity.INFO),
        ("Arabic", 10_051, Severity.WARN),
        ("Arabic", 10_100, Severity.WARN),
        ("Arabic", 10_101, Severity.FAIL),
        ("English", 9_900, Severity.WARN),
        ("English", 9_899, Severity.FAIL),
        ("tashkeel", 10_050, Severity.INFO),
        ("tashkeel", 10_051, Severity.WARN),
        ("tashkeel", 10_200, Severity.WARN),
        ("tashkeel", 10_201, Severity.FAIL),
        ("code", 9_800, Severity.WARN),
        ("code", 9_799, Severity.FAIL),
        ("own", 10_201, Severity.FAIL),
    ],
)
def test_a_shift_is_as_severe_as_its_stratum_says(stratum, fresh, severity):
    assert Shift(stratum, 20, 3, 10_000, fresh).severity is severity


def test_one_count_that_differs_is_told_and_does_not_fail():
    probes = texts(20, kind="en_prose")
    stored = {one.probe.digest: one.expected for one in estimates(probes)}
    fresh = stored | {probes[0].digest: stored[probes[0].digest] + 1}
    drift = judge(probes, fresh, stored=stored)
    assert rules(drift) == ["counts"]
    assert not drift.fails
    assert "1 of 20 samples" in drift.findings[0].message


def test_differences_that_cancel_out_are_told_too():
    probes = texts(2, kind="en_prose")
    stored = {one.probe.digest: one.expected for one in estimates(probes)}
    first, second = (probe.digest for probe in probes)
    fresh = {first: stored[first] + 9, second: stored[second] - 9}
    assert rules(judge(probes, fresh, stored=stored)) == ["counts"]


def test_texts_never_counted_before_are_not_compared():
    probes = texts(10)
    fresh = {one.probe.digest: one.expected for one in estimates(probes)}
    drift = judge(probes, fresh, stored={})
    assert drift.shifts == ()
    assert drift.findings == ()


def turns(probe):
    return len(probe.body["contents"]), "systemInstruction" in probe.body


@pytest.mark.parametrize("step", [1, -1, 3])
@pytest.mark.parametrize("per_system", [0, 1])
def test_more_for_each_content_is_overhead_only(step, per_system):
    fresh = {}
    for probe in SHIPPED:
        contents, system = turns(probe)
        fresh[probe.digest] = STORED[probe.digest] + step * (contents + per_system * system)
    findings = judge(SHIPPED, fresh, stored=STORED).findings
    (found,) = [one for one in findings if one.rule in {"overhead", "counts"}]
    assert found.rule == "overhead"
    assert f"{step:+d} token(s)" in found.message


def test_more_for_all_contents_but_one_is_a_change_of_counts():
    fresh = {probe.digest: STORED[probe.digest] + turns(probe)[0] for probe in SHIPPED}
    fresh[SHIPPED[0].digest] += 1
    drift = judge(SHIPPED, fresh, stored=STORED)
    assert "overhead" not in rules(drift)
    assert "counts" in rules(drift)


def test_overhead_matters_as_much_as_it_weighs():
    def severity(probes):
        stored = {one.probe.digest: one.expected for one in estimates(probes)}
        fresh = {digest: tokens + 1 for digest, tokens in stored.items()}
        return judge(probes, fresh, stored=stored).findings[0].severity

    assert severity(texts(5, words=400)) is Severity.INFO
    assert severity(texts(5, words=8)) is Severity.FAIL


@pytest.mark.parametrize(
    ("samples", "under", "fires"),
    [(120, 4, False), (120, 5, True), (240, 7, False), (240, 8, True)],
)
def test_safety_fails_when_more_are_under_reserved_than_chance_allows(samples, under, fires):
    scored = estimates(texts(samples))
    fresh = {one.probe.digest: one.reserved for one in scored}
    fresh |= {one.probe.digest: one.reserved + 1 for one in scored[:under]}
    drift = judge([one.probe for one in scored], fresh)
    assert rules(drift) == (["safety"] if fires else [])
    assert drift.fails is fires


def test_exotic_texts_and_structural_probes_do_not_count_for_safety():
    for kind in ("exotic", "structure"):
        scored = estimates(texts(120, kind=kind))
        fresh = {one.probe.digest: one.reserved + 1 for one in scored}
        assert "safety" not in rules(judge([one.probe for one in scored], fresh))


def test_texts_in_unusual_scripts_do_not_count_for_safety_whatever_their_class():
    probes = [text_probe(f"own-{at}", f"กรุณาตรวจสอบที่อยู่ {at}", kind="own") for at in range(120)]
    fresh = {one.probe.digest: one.reserved + 1 for one in estimates(probes)}
    assert "safety" not in rules(judge(probes, fresh))


def with_error(probes, error):
    """Counts, not yet whole, under which every estimate errs by exactly a share."""
    return {one.probe.digest: one.expected / (1 + error) for one in estimates(probes)}


@pytest.mark.parametrize(
    ("kind", "words", "goal"),
    [
        ("ar_prose", 40, 0.06),
        ("ar_prose", 400, 0.045),
        ("ar_tashkeel", 400, 0.06),
        ("en_prompt", 40, 0.05),
        ("en_prose", 400, 0.04),
        ("json", 400, 0.06),
    ],
)
@pytest.mark.parametrize("fires", [True, False])
def test_accuracy_fails_above_the_goal_of_its_stratum(kind, words, goal, fires):
    probes = texts(30, kind=kind, words=words)
    exact = with_error(probes, goal)
    # Fewer tokens than estimated: one more or less is just on either side of the goal.
    fresh = {digest: int(tokens) + (not fires) for digest, tokens in exact.items()}
    assert (min(fresh.values()) >= LONG_TOKENS) is (words > LONG_TOKENS)
    drift = judge(probes, fresh)
    assert ("accuracy" in rules(drift)) is fires
    assert drift.fails is fires


def test_a_mean_error_above_the_goal_that_may_be_chance_does_not_fail():
    scored = estimates(texts(10, kind="en_prompt", words=40))
    fresh = {one.probe.digest: one.expected for one in scored}
    fresh |= {one.probe.digest: round(one.expected / 1.3) for one in scored[:2]}
    drift = judge([one.probe for one in scored], fresh)
    assert "accuracy" not in rules(drift)
    assert drift.findings == ()
    every = {one.probe.digest: round(one.expected / 1.3) for one in scored}
    assert "accuracy" in rules(judge([one.probe for one in scored], every))


@pytest.mark.parametrize(("reached", "fails"), [(0.099, True), (0.101, False)])
def test_an_error_that_calibrating_did_not_mend_is_told_and_does_not_fail(reached, fails):
    probes = texts(30, kind="en_prose", words=400)
    fresh = {digest: round(tokens) for digest, tokens in with_error(probes, 0.1).items()}
    drift = judge(probes, fresh, reached={"English": reached})
    assert "accuracy" in rules(drift)
    assert drift.fails is fails


def test_strata_without_a_goal_are_not_judged_by_their_error():
    probes = texts(30, kind="arabizi")
    fresh = {digest: round(tokens) for digest, tokens in with_error(probes, 0.3).items()}
    assert "accuracy" not in rules(judge(probes, fresh))


@pytest.mark.parametrize(("over", "fires"), [(0.119, False), (0.121, True)])
def test_waste_warns_above_twelve_percent_and_never_fails(over, fires):
    scored = estimates(texts(20, kind="en_prose", words=4000))
    fresh = {one.probe.digest: one.expected for one in scored}
    margin = scored[0].reserved / scored[0].expected - 1
    wide = replace(DEFAULT, z=DEFAULT.z * over / margin)
    drift = judge([one.probe for one in scored], fresh, calibration=wide)
    assert rules(drift) == (["waste"] if fires else [])
    assert not drift.fails


def test_short_texts_are_not_judged_by_waste():
    probes = texts(20, kind="en_prose", words=BULK_TOKENS // 2)
    fresh = {one.probe.digest: one.expected for one in estimates(probes)}
    assert rules(judge(probes, fresh, calibration=replace(DEFAULT, z=9.0))) == []


def test_the_worst_finding_comes_first():
    severities = [one.severity for one in judge(SHIPPED, CHANGED, stored=STORED).findings]
    assert severities == sorted(severities, reverse=True)


def test_the_same_counts_give_the_same_findings_in_any_order():
    first = judge(SHIPPED, CHANGED, stored=STORED)
    assert first == judge(SHIPPED, CHANGED, stored=STORED)
    shuffled = random.Random(7).sample(SHIPPED, len(SHIPPED))
    again = judge(shuffled, CHANGED, stored=STORED)
    assert set(again.findings) == set(first.findings)


def test_a_changed_vocabulary_is_named_by_stratum():
    subset = choose_subset(SHIPPED)
    drift = judge(SHIPPED, only(CHANGED, subset), stored=STORED)
    moved = {shift.stratum: shift.ratio for shift in drift.shifts}
    assert drift.fails
    assert 0.20 < moved["tashkeel"] < 0.30
    assert abs(moved["English"]) < 0.01
    worst = drift.findings[0]
    assert worst.severity is Severity.FAIL
    named = [one.message for one in drift.findings if one.rule == "counts"]
    assert any(message.startswith("tashkeel: counts moved by +2") for message in named)


def test_one_calibration_repairs_a_changed_vocabulary():
    stale = judge(SHIPPED, CHANGED, stored=CHANGED)
    assert set(rules(stale, at_least=Severity.FAIL)) == {"safety", "accuracy"}
    repaired = calibrate(counted_by("gemma2", SHIPPED), model=MODEL).calibration
    subset = choose_subset(SHIPPED)
    drift = judge(SHIPPED, only(CHANGED, subset), stored=CHANGED, calibration=repaired)
    assert not drift.fails


def test_stored_counts_of_another_vocabulary_are_not_judged():
    probes = texts(40, kind="en_prose")
    fresh = {one.probe.digest: one.expected for one in estimates(probes[:20])}
    stored = {probe.digest: 5 + at for at, probe in enumerate(probes)}
    drift = judge(probes, fresh, stored=stored)
    assert set(rules(drift)) == {"counts"}


def test_stored_counts_are_judged_where_none_changed():
    right, *wrong = estimates(texts(40, kind="en_prose"))
    fresh = {right.probe.digest: right.expected}
    stored = fresh | {one.probe.digest: one.expected // 2 for one in wrong}
    probes = [one.probe for one in (right, *wrong)]
    assert rules(judge(probes, fresh, stored=fresh)) == []
    assert "accuracy" in rules(judge(probes, fresh, stored=stored))
