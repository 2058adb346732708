"""Fitting the estimator to a model's own counts."""

import json
from dataclasses import replace
from types import MappingProxyType

import pytest

from keypool_cli.core.accuracy import Counted, accuracy, score
from keypool_cli.core.calibration import calibrate, from_json, to_json
from keypool_cli.core.estimator import DEFAULT, Calibration, estimate_request, estimate_text
from keypool_cli.core.script_tokens import KINDS
from keypool_cli.core.text_tokens import GROUPS
from keypool_cli.samples import load_shipped, load_structural, load_texts
from tests.support.counting import MODEL, counted_as, counted_by

SHIPPED = load_shipped()
TEXTS = load_texts()
STRUCTURAL = load_structural()
ENGLISH = [probe for probe in TEXTS if probe.kind == "en_prose"]
MARKED = [probe for probe in TEXTS if probe.kind == "ar_tashkeel"]


def fit(truth, probes=SHIPPED):
    return calibrate(counted_as(truth, probes), model=MODEL).calibration


def gain(fitted, kind):
    return next(gain for gain in fitted.gains if gain.kind == kind)


def test_counts_as_shipped_leave_the_defaults():
    found = fit(DEFAULT)
    assert found.factors == pytest.approx(dict.fromkeys(found.factors, 1.0), abs=0.02)
    assert {*GROUPS, *KINDS, "thai"} <= found.factors.keys()
    assert (found.per_content, found.per_system) == (1.0, 1.0)
    assert (found.z, found.unusual_z) == (DEFAULT.z, DEFAULT.unusual_z)


def test_a_group_that_changed_is_found_and_the_others_stay():
    found = fit(replace(DEFAULT, factors={"tashkeel": 1.3}))
    assert found.factors["tashkeel"] == pytest.approx(1.3, abs=0.02)
    others = {group: factor for group, factor in found.factors.items() if group != "tashkeel"}
    assert others == pytest.approx(dict.fromkeys(others, 1.0), abs=0.02)


@pytest.mark.parametrize(("per_content", "per_system"), [(0.0, 0.0), (1.0, 0.0), (2.0, 5.0)])
def test_overheads_are_found_exactly(per_content, per_system):
    found = fit(replace(DEFAULT, per_content=per_content, per_system=per_system))
    assert found.per_content == pytest.approx(per_content, abs=0.03)
    assert found.per_system == pytest.approx(per_system, abs=0.03)


def test_what_a_tool_costs_is_found():
    truth = replace(DEFAULT, per_tool=18.0, tool_ratio=0.9)
    found = fit(truth)
    for probe in STRUCTURAL:
        parts = estimate_request(probe.body, model=MODEL, calibration=found).parts
        expected = estimate_request(probe.body, model=MODEL, calibration=truth).parts
        assert parts.get("tools", 0.0) == pytest.approx(expected.get("tools", 0.0), abs=2.0)
    assert found.tool_reserve > found.tool_ratio


def test_without_structural_probes_overheads_stay_near_the_defaults():
    found = fit(replace(DEFAULT, per_content=2.0), TEXTS)
    assert 1.0 < found.per_content < 2.2
    assert found.per_system == DEFAULT.per_system


def test_few_samples_move_little():
    truth = replace(DEFAULT, factors={"tashkeel": 1.4})
    assert fit(truth, MARKED[:2]).factors["tashkeel"] < 1.15
    assert fit(truth, MARKED).factors["tashkeel"] > 1.3


def test_no_samples_leave_the_defaults():
    fitted = calibrate([], model=MODEL)
    assert fitted.calibration == replace(DEFAULT, factors=dict.fromkeys((*GROUPS, *KINDS), 1.0))
    assert fitted.gains == ()
    assert fitted.after.samples == 0


def test_a_script_has_a_factor_of_its_own_and_says_little_about_the_others():
    thai = [probe for probe in TEXTS if probe.id in ("exotic-17", "exotic-18")]
    factors = fit(replace(DEFAULT, factors={"thai": 1.6}), [*ENGLISH, *thai]).factors
    assert factors["thai"] == pytest.approx(1.6, abs=0.06)
    assert 1.0 <= factors["other"] < 1.12


def test_scripts_are_left_alone_while_their_errors_are_noise():
    exotic = [probe for probe in TEXTS if probe.kind == "exotic"]
    truth = replace(DEFAULT, factors={"thai": 1.1, "greek": 0.92})
    factors = fit(truth, [*ENGLISH, *exotic]).factors
    assert (factors["thai"], factors["greek"]) == pytest.approx((1.0, 1.0), abs=0.06)


def test_scripts_that_all_changed_alike_tell_what_one_without_a_sample_costs():
    exotic = [probe for probe in TEXTS if probe.kind == "exotic"]
    factors = fit(replace(DEFAULT, factors={"other": 1.6}), [*ENGLISH, *exotic]).factors
    assert 1.2 < factors["other"] < 1.6
    assert "khmer" not in factors


def test_a_text_of_two_scripts_is_scaled_by_how_much_is_of_which():
    def tokens(text, factors):
        estimate = estimate_text(text, calibration=Calibration(factors=factors))
        return estimate.parts["other"]

    thai, hebrew = "กรุณาตรวจสอบ", "שלום לכולם"
    plain = [tokens(text, {}) for text in (thai, hebrew)]
    factors = {"thai": 1.5, "other": 0.9}
    assert tokens(thai, factors) == pytest.approx(1.5 * plain[0])
    assert tokens(f"{thai} {hebrew}", factors) == pytest.approx(1.5 * plain[0] + 0.9 * plain[1])


def costing(probes, deviations):
    """Counts that exceed the default estimate by so many deviations, in the order given."""
    none, unit = Calibration(z=0.0, unusual_z=0.0), Calibration(z=1.0, unusual_z=1.0)
    found = []
    for probe, above in zip(probes, deviations, strict=True):
        least, one = (score(Counted(probe, 1), model=MODEL, calibration=z) for z in (none, unit))
        found.append(Counted(probe, round(one.expected + above * (one.reserved - least.reserved))))
    return found


def test_the_margin_is_never_narrower_than_the_default():
    fitted = calibrate(costing(ENGLISH * 4, [0.0] * 128), model=MODEL)
    assert fitted.calibration.z == DEFAULT.z


def test_the_margin_widens_when_many_samples_cost_more_than_reserved():
    above = [6.0 if at % 20 == 0 else 0.0 for at in range(len(TEXTS))]
    fitted = calibrate(costing(TEXTS, above), model=MODEL)
    assert 4.0 < fitted.calibration.z < 8.0


def test_one_sample_of_many_does_not_widen_the_margin():
    fitted = calibrate(costing(TEXTS, [6.0] + [0.0] * (len(TEXTS) - 1)), model=MODEL)
    assert fitted.calibration.z == DEFAULT.z


def test_too_few_samples_for_one_in_a_hundred_take_the_widest_seen():
    fitted = calibrate(costing(ENGLISH, [6.0] + [0.0] * 31), model=MODEL)
    assert 4.0 < fitted.calibration.z < 8.0


def test_a_margin_is_judged_on_samples_that_did_not_set_it():
    fitted = calibrate(costing(ENGLISH, [6.0] + [0.0] * 31), model=MODEL)
    assert fitted.after.under == 1
    assert fitted.after.over > 2 * fitted.before.over


def test_unusual_scripts_widen_their_own_margin_only():
    above = [40.0 if probe.kind == "exotic" else 0.0 for probe in TEXTS]
    found = calibrate(costing(TEXTS, above), model=MODEL).calibration
    assert found.z == DEFAULT.z
    assert found.unusual_z > DEFAULT.unusual_z


def test_a_sample_is_judged_by_a_fit_without_it():
    marked = MARKED[-1]
    truth = replace(DEFAULT, factors={"tashkeel": 2.0})
    fitted = calibrate(counted_as(truth, [*ENGLISH, marked]), model=MODEL)
    assert fitted.calibration.factors["tashkeel"] > 1.1
    judged = gain(fitted, "ar_tashkeel")
    assert judged.after.mape == pytest.approx(judged.before.mape, abs=0.01)


def test_the_report_tells_each_class_and_all():
    counted = counted_by("gemma3", SHIPPED)
    fitted = calibrate(counted, model=MODEL)
    assert [gain.kind for gain in fitted.gains] == list(dict.fromkeys(p.kind for p in TEXTS))
    assert fitted.before.samples == fitted.after.samples == 274
    marked = [one for one in counted if one.probe.kind == "ar_tashkeel"]
    scored = [score(one, model=MODEL, calibration=DEFAULT) for one in marked]
    assert gain(fitted, "ar_tashkeel").before == accuracy(scored)
    assert 1.6 < gain(fitted, "ar_tashkeel").after.characters_per_token < 2.0


def test_an_unchanged_vocabulary_is_left_as_good_as_it_was():
    fitted = calibrate(counted_by("gemma3", SHIPPED), model=MODEL)
    assert fitted.after.mape < fitted.before.mape
    assert fitted.after.under == 0
    factors = fitted.calibration.factors
    assert all(0.9 < factors[group] < 1.15 for group in (*GROUPS, *KINDS))
    assert all(0.85 < factor < 1.2 for factor in factors.values())


def test_a_changed_vocabulary_is_repaired_in_every_class():
    fitted = calibrate(counted_by("gemma2", SHIPPED), model=MODEL)
    assert gain(fitted, "ar_tashkeel").before.bias < -0.15
    assert gain(fitted, "exotic").before.mape > 0.2
    assert max(gain.after.mape for gain in fitted.gains) < 0.07
    assert fitted.calibration.factors["tashkeel"] == pytest.approx(1.24, abs=0.05)
    assert fitted.before.under > 10
    assert fitted.after.under == 0


def test_the_same_counts_give_the_same_fit():
    counted = counted_by("gemma2", SHIPPED)
    assert calibrate(counted, model=MODEL) == calibrate(counted, model=MODEL)


def test_a_calibration_survives_json():
    fitted = calibrate(counted_by("gemma2", SHIPPED), model=MODEL).calibration
    assert from_json(json.loads(json.dumps(to_json(fitted)))) == fitted


def test_factors_of_any_mapping_become_plain_json():
    frozen = replace(DEFAULT, factors=MappingProxyType({"arabic": 1.1}))
    assert json.loads(json.dumps(to_json(frozen)))["factors"] == {"arabic": 1.1}


def test_json_of_another_version_keeps_defaults_for_what_it_lacks():
    assert from_json({"z": 3, "colour": "blue"}) == replace(DEFAULT, z=3.0)


@pytest.mark.parametrize("values", [{"z": None}, {"factors": {"arabic": []}}, {"z": "wide"}])
def test_json_that_holds_no_numbers_is_refused(values):
    with pytest.raises((TypeError, ValueError)):
        from_json(values)
