"""Epochs: one for each model, and when it was in use last."""

from keypool_cli.registry.values import LiveEpoch


def test_a_model_has_no_epoch_until_one_is_set(registry):
    assert registry.live_epochs.get("m") is None
    registry.live_epochs.set("m", "one", at_ms=1)
    registry.live_epochs.set("m", "two", at_ms=2)
    registry.live_epochs.set("n", "three", at_ms=3)
    assert registry.live_epochs.get("m") == LiveEpoch("two", 2)
    assert registry.live_epochs.all() == {"m": "two", "n": "three"}


def test_a_use_is_only_noted_later_than_the_last(registry):
    registry.live_epochs.note_use("m", at_ms=5)
    assert registry.live_epochs.get("m") is None
    registry.live_epochs.set("m", "one", at_ms=10)
    for at_ms in (20, 15):
        registry.live_epochs.note_use("m", at_ms=at_ms)
    assert registry.live_epochs.get("m") == LiveEpoch("one", 20)
