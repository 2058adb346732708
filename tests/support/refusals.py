"""One instant and its calendar, for tests of verdicts."""

from keypool_cli.core.refusal import Dimension, LearnedLimit, classify

NOW = 1_790_000_000_000
HOUR = 3_600_000
DAY_END = NOW + 5 * HOUR

PM_COOL = "project/project_model/cool"
BILLING_COOL = "billing/billing/cool"


def judge(status, body, *, jitter=0.0, day_end_at_ms=DAY_END):
    """The verdict at NOW, five hours before the day's end."""
    return classify(status, body, now_at_ms=NOW, day_end_at_ms=day_end_at_ms, jitter=jitter)


def ruled(verdict):
    """Fault, scope and action as the table in the design writes them."""
    return f"{verdict.fault}/{verdict.scope}/{verdict.action}"


def limits(**named):
    """Learned limits, in the order a verdict holds them."""
    return tuple(LearnedLimit(Dimension(name), named[name]) for name in sorted(named))
