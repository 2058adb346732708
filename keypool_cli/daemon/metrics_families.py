"""The metric families: names, labels, and how many of each there may be."""

import platform
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from keypool_cli.core.model import MAX_LIMIT
from keypool_cli.engine.types import View
from keypool_cli.service.configured import Configured
from keypool_cli.service.counters import BOUNDS_S, Counts, Histogram, Use, UseName

MOST_SERIES = 1000
"""Label values of one family; what is beyond is added up under ``other``."""

OTHER = "other"

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one scrape tells of. views: projects in use, by model. now_ms: the store's clock."""

    counts: Counts
    configured: Configured
    views: Mapping[str, list[View]]
    waiting: int
    now_ms: int


def families(seen: Seen) -> Iterator[Metric]:
    """Every family."""
    yield _build()
    yield from _used(seen)
    yield from _outcomes(seen.counts)
    yield from _windows(seen)
    yield GaugeMetricFamily("keypool_waiting", "Demands parked in this daemon.", seen.waiting)
    told = (
        ("keypool_lease_seconds", "Until a lease was granted, waiting included.", "lease_s"),
        ("keypool_settle_seconds", "Until a settlement was made.", "settle_s"),
        ("keypool_proxied_seconds", "Proxied calls, to the end of the answer.", "proxied_s"),
    )
    for name, words, field in told:
        yield _histogram(name, words, getattr(seen.counts, field))


def _build() -> Metric:
    family = GaugeMetricFamily(
        "keypool_build_info", "Which keypool this is.", labels=("version", "python")
    )
    family.add_metric((_version(), platform.python_version()), 1)
    return family


def _version() -> str:
    try:
        return version("keypool")
    except PackageNotFoundError:
        return "unknown"


def _used(seen: Seen) -> Iterator[Metric]:
    """Leases and tokens, by project and model, by client, and by key."""
    by_model, by_client, by_key = (_Sums() for _ in range(3))
    configured = seen.configured
    for name, use in seen.counts.uses.items():
        client, project, key = _names(configured, name)
        by_model.add((project, name[3]), use)
        by_client.add((client,), use)
        by_key.add((project, key), use)
    yield from by_model.families("", ("project", "model"))
    yield from by_client.families("client_", ("client",))
    yield from by_key.families("key_", ("project", "key"))


def _names(configured: Configured, name: UseName) -> tuple[str, str, str]:
    catalog = configured.catalog
    client = catalog.clients.get(name[0])
    project = catalog.projects.get(name[1])
    key = catalog.keys.get(name[2])
    return (
        client.name if client else "",
        project.name if project else OTHER,
        key.name if key else OTHER,
    )


class _Sums:
    """Uses added up under labels, of which there are only so many."""

    def __init__(self) -> None:
        self._found: dict[Labels, Use] = defaultdict(Use)

    def add(self, labels: Labels, use: Use) -> None:
        if labels not in self._found and len(self._found) >= MOST_SERIES:
            labels = (OTHER,) * len(labels)
        found = self._found[labels]
        found.granted += use.granted
        found.reserved += use.reserved
        found.settled += use.settled
        found.settlements += use.settlements

    def families(self, prefix: str, labels: Labels) -> Iterator[Metric]:
        told: tuple[tuple[str, str, Callable[[Use], int]], ...] = (
            ("leases", "Leases granted.", lambda use: use.granted),
            ("settlements", "Leases settled.", lambda use: use.settlements),
            ("tokens_reserved", "Input tokens reserved.", lambda use: use.reserved),
            ("tokens_settled", "Input tokens settled.", lambda use: use.settled),
        )
        for name, words, read in told:
            family = CounterMetricFamily(f"keypool_{prefix}{name}", words, labels=labels)
            for values, use in self._found.items():
                family.add_metric(values, read(use))
            yield family


def _outcomes(counts: Counts) -> Iterator[Metric]:
    refused = CounterMetricFamily(
        "keypool_leases_refused", "Demands without room, by the limit.", labels=("limit",)
    )
    for limit, number in counts.refused.items():
        refused.add_metric((limit,), number)
    yield refused
    verdicts = CounterMetricFamily(
        "keypool_verdicts", "What upstream's refusals meant, by rule.", labels=("rule",)
    )
    for rule, number in counts.verdicts.items():
        verdicts.add_metric((rule,), number)
    yield verdicts
    answers = CounterMetricFamily(
        "keypool_upstream_answers",
        "Outcomes of leased calls: the proxy's attempts, or as clients settled them.",
        labels=("via", "status"),
    )
    for (via, status), number in counts.answers.items():
        answers.add_metric((via, str(status)), number)
    yield answers


def _windows(seen: Seen) -> Iterator[Metric]:
    labels = ("project", "model", "dimension")
    used = GaugeMetricFamily("keypool_used", "Settled and reserved now.", labels=labels)
    limit = GaugeMetricFamily("keypool_limit", "The limit in force, if any.", labels=labels)
    pair = ("project", "model")
    cooling = GaugeMetricFamily("keypool_cooldown_seconds", "Cooldown left.", labels=pair)
    for model, views in seen.views.items():
        for view in views:
            project = seen.configured.catalog.projects.get(view.project_id)
            if project is None:
                continue
            for dimension, now, most in _dimensions(view):
                used.add_metric((project.name, model, dimension), now)
                if most <= MAX_LIMIT:  # the live store has a number for none
                    limit.add_metric((project.name, model, dimension), most)
            until_ms = max(view.cool_until_ms, view.wide_until_ms)
            cooling.add_metric((project.name, model), max(until_ms - seen.now_ms, 0) / 1000)
    yield from (used, limit, cooling)


def _dimensions(view: View) -> tuple[tuple[str, int, int], ...]:
    return (
        ("rpm", view.requests, view.limit_requests),
        ("tpm", view.tokens, view.limit_tokens),
        ("rpd", view.day_requests, view.limit_day),
        ("in_flight", view.in_flight, view.limit_in_flight),
    )


def _histogram(name: str, words: str, histogram: Histogram) -> Metric:
    total, buckets = 0, []
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), histogram.buckets, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return HistogramMetricFamily(name, words, buckets=buckets, sum_value=histogram.sum_s)
