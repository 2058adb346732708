"""How sure a figure from few samples is: quantiles, binomial bounds, resampled intervals."""

from collections.abc import Sequence
from math import ceil, comb
from typing import Final

_MASK: Final = (1 << 64) - 1
_ALARM: Final = 0.01
_SHARE: Final = 0.95


def upper_quantile(values: Sequence[float], share: float) -> float | None:
    """The value that a new one stays below with at least the probability ``share``.

    None where the values are too few to tell: the 99 % quantile takes 99 of them.
    """
    rank = ceil(share * (len(values) + 1))
    return sorted(values)[rank - 1] if rank <= len(values) else None


def too_many(trials: int, *, rate: float = 0.01) -> int:
    """The least number of events so improbable at ``rate`` that it is an alarm.

    Its probability, or that of more, is at most one percent: 5 of 120, 8 of 240 at 1 %.
    """
    tail = 1.0
    for events in range(trials + 1):
        if tail <= _ALARM:
            return events
        tail -= comb(trials, events) * rate**events * (1 - rate) ** (trials - events)
    return trials + 1


def mean_interval(
    values: Sequence[float], *, seed: int, resamples: int = 1000
) -> tuple[float, float]:
    """An interval that holds the mean with a probability of 95 %, by resampling the values.

    The same values, in whatever order, and seed give the same interval. Not for no values at all.
    """
    means = sorted(_resampled_means(sorted(values), seed, resamples))
    cut = round((1 - _SHARE) / 2 * resamples)
    return means[cut], means[resamples - 1 - cut]


def _resampled_means(values: Sequence[float], seed: int, resamples: int) -> list[float]:
    count = len(values)
    state = seed
    means = []
    for _ in range(resamples):
        total = 0.0
        for _ in range(count):
            # Knuth's MMIX generator: pure, so that a check never flaps on the same data.
            state = (state * 6364136223846793005 + 1442695040888963407) & _MASK
            total += values[(state >> 33) * count >> 31]
        means.append(total / count)
    return means
