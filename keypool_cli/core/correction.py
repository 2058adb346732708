"""Correcting estimates by what live traffic cost: a ratio for texts of one client and script.

Texts of one kind err alike. Ten requests of a kind show by how much, and correct the next ones;
what they show is shrunk towards 1, as if 300 tokens more had been estimated exactly.
"""

from math import ceil, sqrt
from typing import Final, NamedTuple

from keypool_cli.core.estimator import Estimate

LEAST, MOST = 0.75, 1.35
"""Bounds of a ratio. Another tokenizer was seen to move a script by 30 %."""

DRIFT: Final = 0.02
"""A ratio that moves by more than this is told."""

_PRIOR_TOKENS: Final = 300
_HEAVIEST: Final = 5_000
"""Tokens that one request counts for at most: one long text must not decide alone."""

_ODDEST: Final = 2.0
"""A request that cost more than this many times what was expected holds something uncounted."""

_SURE_REQUESTS: Final = 10
_SURE_MARGIN: Final = 0.8
"""Share of the margin that is kept once the kind is known. Measured on 560 requests of sources that
sent ten before: none under-reserved, 7.3 % reserved above need; 8.9 % with the whole margin."""

_SPREAD: Final = 0.05
"""Standard deviation of one request's error within a kind."""

_SURE_DEVIATIONS: Final = 3.3


class Evidence(NamedTuple):
    """What requests of one kind were expected to cost, and what they did; both in tokens."""

    expected: int = 0
    actual: int = 0
    requests: int = 0

    @property
    def ratio(self) -> float:
        """What estimates of this kind are multiplied with."""
        raw = (_PRIOR_TOKENS + self.actual) / (_PRIOR_TOKENS + max(self.expected, 0))
        return min(max(raw, LEAST), MOST)

    def plus(self, other: "Evidence") -> "Evidence":
        """Both together."""
        return Evidence(
            self.expected + other.expected,
            self.actual + other.actual,
            self.requests + other.requests,
        )


NOTHING: Final = Evidence()


def observed(expected: float, actual: float) -> Evidence | None:
    """What one request shows; None where it shows nothing. Both: tokens of its text alone."""
    if expected < 1 or not 1 / _ODDEST <= actual / expected <= _ODDEST:
        return None
    weight = 1.0 if expected <= _HEAVIEST else _HEAVIEST / expected
    return Evidence(round(expected * weight), round(actual * weight), 1)


def corrected(estimate: Estimate, evidence: Evidence) -> Estimate:
    """An estimate with what is known of its kind; never more than its text's bytes allow.

    Its text is corrected; media and overheads are known.
    ``parts`` stay as they were: evidence is always against the uncorrected estimate.
    """
    if not evidence.requests or not estimate.tokens:
        return estimate
    ratio = evidence.ratio
    tokens = max(1, round(estimate.tokens + estimate.text * (ratio - 1)))
    keep = _SURE_MARGIN if evidence.requests >= _SURE_REQUESTS else 1.0
    margin = ceil(estimate.margin * keep * ratio)
    if estimate.most is not None:
        tokens = min(tokens, estimate.most)
        margin = min(margin, estimate.most - tokens)
    return Estimate(tokens, margin, *estimate[2:])


def has_drifted(evidence: Evidence, *, told: float) -> bool:
    """Whether a ratio has moved from the one told last by more than DRIFT, and not by chance."""
    if evidence.requests < _SURE_REQUESTS:
        return False
    chance = _SURE_DEVIATIONS * _SPREAD / sqrt(evidence.requests)
    return abs(evidence.ratio / told - 1) > max(DRIFT, chance)
