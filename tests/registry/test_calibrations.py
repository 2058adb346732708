"""Calibrations: the newest of each model, and what is kept beside it."""

from keypool_cli.registry.values import Calibration
from tests.support.registry import BY


def test_the_newest_calibration_of_a_model_is_kept(registry, clock):
    registry.calibrations.save("m", {"arabic": 0.4}, by=BY)
    registry.calibrations.save("m", {"arabic": 0.5}, by=BY)
    assert registry.calibrations.all() == {"m": Calibration("m", {"arabic": 0.5}, clock.now_ms)}


def test_what_is_kept_beside_a_calibration_is_no_new_calibration(registry, clock):
    registry.calibrations.save("m", {"arabic": 0.4}, by=BY)
    saved_at, revision = clock.now_ms, registry.revision()
    logged = registry.events.read()
    clock.now_ms += 5000
    registry.calibrations.keep("m", {"arabic": 0.4, "pending": 1})
    found = registry.calibrations.get("m")
    assert found == Calibration("m", {"arabic": 0.4, "pending": 1}, saved_at)
    assert registry.revision() == revision
    assert registry.events.read() == logged


def test_a_model_without_anything_kept_has_none(registry):
    assert registry.calibrations.get("m") is None
    registry.calibrations.keep("m", {"pending": 1})
    assert registry.calibrations.get("m").payload == {"pending": 1}
