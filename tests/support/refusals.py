"""Verdicts in tests: at one instant of a calendar, and written as the table of verdicts has them."""

from dataclasses import asdict

from keypool_cli.core.refusal import Dimension, LearnedLimit, classify

NOW = 1_790_000_000_000
HOUR = 3_600_000
DAY_END = NOW + 5 * HOUR

COOL, EXCLUDE = "project/project_model/cool", "project/project_model/exclude_model"
BILLING = "billing/billing/cool"
KEY, PROJECT = "key/key/disable", "project/project/disable"
RETURN, MODEL = "request/none/return", "model/model/retry"


def judge(status, body, *, jitter=0.0, day_end_at_ms=DAY_END):
    """The verdict at NOW, five hours before the day's end."""
    return classify(status, body, now_at_ms=NOW, day_end_at_ms=day_end_at_ms, jitter=jitter)


def ruled(verdict):
    """Fault, scope and action, of a verdict or of what the API answers."""
    told = verdict if isinstance(verdict, dict) else asdict(verdict)
    return f"{told['fault']}/{told['scope']}/{told['action']}"


def limits(**named):
    """Learned limits, in the order a verdict holds them."""
    return tuple(LearnedLimit(Dimension(name), named[name]) for name in sorted(named))
