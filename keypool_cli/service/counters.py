"""What this daemon has done since it started, as plain counters: a scrape reads them.

The hot path must not notice them: a dictionary and additions cost about 0.3 us a lease, where
labelled counters of the Prometheus library cost 2 us each.
"""

from bisect import bisect_left
from collections import Counter

from keypool_cli.core.refusal import Verdict

MOST_USES = 10_000
"""Clients x projects x keys x models that are told apart; model names come from clients."""

REST = (0, 0, 0, "other")
"""Where everything beyond is counted."""

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

UseName = tuple[int, int, int, str]
"""Client id (0: none), project id, key id, bucket model."""


class Use:
    """What one client did with one key on one model. reserved, settled: tokens."""

    __slots__ = ("granted", "reserved", "settled", "settlements")

    def __init__(self) -> None:
        self.granted = 0
        self.reserved = 0
        self.settled = 0
        self.settlements = 0


class Histogram:
    """Durations by :data:`BOUNDS_S`; the last bucket has no bound."""

    __slots__ = ("buckets", "sum_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.buckets[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds


class Counts:
    """Everything that is counted."""

    def __init__(self) -> None:
        self.uses: dict[UseName, Use] = {}
        self.refused: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.answers: Counter[tuple[str, int]] = Counter()
        self.lease_s = Histogram()
        self.settle_s = Histogram()
        self.proxied_s = Histogram()

    def granted(self, name: UseName, tokens: int, seconds: float) -> None:
        """A lease was granted, after so long."""
        use = self.uses.get(name) or self.use(name)
        use.granted += 1
        use.reserved += tokens
        self.lease_s.observe(seconds)

    def settled(self, name: UseName, tokens: int, seconds: float) -> None:
        """A lease was settled, which took so long."""
        use = self.uses.get(name) or self.use(name)
        use.settlements += 1
        use.settled += tokens
        self.settle_s.observe(seconds)

    def answered(self, via: str, status: int, verdict: Verdict | None) -> None:
        """Upstream answered a call with a lease. via: ``proxy`` or ``client``; status 0: nothing."""
        # Clients report what they like: other numbers than HTTP's say nothing.
        self.answers[via, status if status == 0 or 100 <= status < 600 else 0] += 1
        if verdict is not None:
            self.verdicts[verdict.rule] += 1

    def use(self, name: UseName) -> Use:
        """The counters of a name, or of all that came too late for their own."""
        if name not in self.uses and len(self.uses) >= MOST_USES:
            name = REST
        return self.uses.setdefault(name, Use())
