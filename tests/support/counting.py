"""Upstream's counts without an upstream: played by the estimator, or measured and stored."""

import json
from pathlib import Path

from keypool_cli.core.accuracy import Counted
from keypool_cli.core.estimator import Calibration, estimate_request

MODEL = "gemini-2.5-flash"

_COUNTS = Path(__file__).parents[1] / "core" / "sample_counts.json"


def counted_as(truth: Calibration, probes):
    """The probes with the counts of an upstream that behaves exactly as a calibration says."""
    return [Counted(probe, round(_tokens(probe, truth))) for probe in probes]


def counted_by(vocabulary: str, probes):
    """The shipped probes counted with a vocabulary: ``gemma3``, or the older ``gemma2``.

    Measured with the vocabularies' own tokenizers: one token more a content and instruction, and a
    declaration's JSON with 13 tokens more, in the range of what the API was seen to add.
    """
    column = ("gemma3", "gemma2").index(vocabulary)
    counts = json.loads(_COUNTS.read_text())
    return [Counted(probe, counts[probe.id][column]) for probe in probes]


def by_digest(counted):
    """Counts as they are stored."""
    return {one.probe.digest: one.tokens for one in counted}


def _tokens(probe, truth):
    return sum(estimate_request(probe.body, model=MODEL, calibration=truth).parts.values())
