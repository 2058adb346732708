"""Which samples a check recounts."""

import random

import pytest

from keypool_cli.core.accuracy import Probe
from keypool_cli.core.drift import choose_subset
from keypool_cli.samples import load_shipped

SHIPPED = load_shipped()


def test_a_subset_holds_every_kind_by_its_share_and_all_structure():
    subset = choose_subset(SHIPPED)
    assert len(subset) == 120 + 7

    def share(probes, kind):
        return sum(probe.kind == kind for probe in probes)

    for kind in {probe.kind for probe in SHIPPED} - {"structure"}:
        assert share(subset, kind) == pytest.approx(share(SHIPPED, kind) * 120 / 274, abs=1.5)
        assert share(subset, kind) >= 1


def test_a_subset_is_always_the_same():
    shuffled = random.Random(3).sample(SHIPPED, len(SHIPPED))
    assert set(map(digest, choose_subset(shuffled))) == set(map(digest, choose_subset(SHIPPED)))
    assert len(choose_subset(SHIPPED, 40)) == 47
    assert len(choose_subset(SHIPPED, 10_000)) == len(SHIPPED)


def digest(probe: Probe):
    return probe.digest
