"""Google's usage tiers, and the limits that keypool assumes for them until it learns better.

Google removed its tables of limits by model between November 2025 and January 2026 and shows a
project's own limits in AI Studio only (https://ai.google.dev/gemini-api/docs/rate-limits). So
these are dated: from its last broad table (mid to late 2025), lowered where 429 bodies and AI
Studio showed less in December 2025 to October 2026. They are a cautious start, not the truth:
set limits yourself (``keypool quota set``), or let refusals teach them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from keypool_cli.core.model import UNLIMITED

FREE = "free"
TIER_1 = "tier1"
TIER_2 = "tier2"
TIER_3 = "tier3"


@dataclass(frozen=True, slots=True)
class DefaultLimits:
    """Limits assumed for one tier and model; None where nothing is known.

    at_ms: when they were last seen, as far as that is known.
    """

    at_ms: int
    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None


def tier_name(text: str) -> str:
    """A tier's name as keypool writes it: ``Tier 1``, ``t1`` and ``1`` are ``tier1``.

    Other words are kept in lower case: an organisation may name tiers of its own.
    """
    word = text.strip().lower()
    number = word.removeprefix("tier").removeprefix("t").strip(" -_")
    return f"tier{number}" if number in ("1", "2", "3") else word


def default_limits(tier: str | None, model: str) -> DefaultLimits | None:
    """What keypool assumes for a tier and a bucket's model, or None where it knows nothing.

    A higher paid tier takes what is known of the one below it: tiers only ever add.
    """
    for lower in _SAME_OR_LOWER.get(tier or "", ()):
        found = _TABLE[lower].get(model)
        if found is not None:
            return found
    return None


def all_defaults() -> Iterator[tuple[str, str, DefaultLimits]]:
    """Tier, model and limits, of everything that is assumed."""
    for tier, models in _TABLE.items():
        for model, limits in models.items():
            yield tier, model, limits


def known_models() -> set[str]:
    """The models that the table names, in any tier."""
    return {model for models in _TABLE.values() for model in models}


def _at_ms(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1000


_LAST_TABLE = _at_ms(2025, 9)  # Google's last broad table, undated: mid to late 2025
_SEEN = _at_ms(2026, 10)  # in 429 bodies and AI Studio until then

_SAME_OR_LOWER = {
    FREE: (FREE,),
    TIER_1: (TIER_1,),
    TIER_2: (TIER_2, TIER_1),
    TIER_3: (TIER_3, TIER_2, TIER_1),
}

# Models that the free tier was seen to refuse altogether ("limit: 0") are not written as 0 here:
# one refusal finds that out, while a wrong 0 would never be noticed.
_TABLE: Mapping[str, Mapping[str, DefaultLimits]] = {
    FREE: {
        "gemini-2.0-flash": DefaultLimits(_LAST_TABLE, 15, 1_000_000, 200),
        "gemini-2.0-flash-lite": DefaultLimits(_LAST_TABLE, 30, 1_000_000, 200),
        "gemini-2.5-flash": DefaultLimits(_SEEN, 5, 250_000, 20),
        "gemini-2.5-flash-lite": DefaultLimits(_SEEN, 15, 250_000, 20),
        "gemini-2.5-pro": DefaultLimits(_LAST_TABLE, 5, 250_000, 100),
        "gemini-3-flash": DefaultLimits(_SEEN, rpm=5),
        "gemini-3.1-flash-lite": DefaultLimits(_SEEN, tpm=250_000, rpd=500),
        "gemini-3.5-flash": DefaultLimits(_SEEN, rpd=20),
        "gemini-3.5-flash-lite": DefaultLimits(_SEEN, rpd=500),
        "gemini-3.6-flash": DefaultLimits(_SEEN, rpm=5, rpd=20),
        "gemini-3.8-flash": DefaultLimits(_SEEN, 5, 250_000, 20),
        "gemini-3.8-flash-tts": DefaultLimits(_SEEN, rpd=10),
        "gemini-embedding-1.0": DefaultLimits(_SEEN, rpm=100, rpd=1000),
        "gemini-embedding-2": DefaultLimits(_SEEN, rpm=100, rpd=1000),
    },
    TIER_1: {
        "gemini-2.0-flash": DefaultLimits(_LAST_TABLE, 2000, 4_000_000, UNLIMITED),
        "gemini-2.0-flash-lite": DefaultLimits(_LAST_TABLE, 4000, 4_000_000, UNLIMITED),
        "gemini-2.5-flash": DefaultLimits(_SEEN, 1000, 1_000_000, 10_000),
        "gemini-2.5-flash-lite": DefaultLimits(_LAST_TABLE, 4000, 4_000_000, UNLIMITED),
        "gemini-2.5-pro": DefaultLimits(_LAST_TABLE, 150, 2_000_000, 10_000),
        "gemini-3-flash": DefaultLimits(_SEEN, tpm=1_000_000),
        "gemini-3-pro-image": DefaultLimits(_SEEN, rpd=250),
        "gemini-3.1-pro": DefaultLimits(_SEEN, tpm=1_000_000, rpd=250),
        "gemini-3.7-flash": DefaultLimits(_SEEN, tpm=2_000_000),
        "gemini-3.8-flash": DefaultLimits(_SEEN, rpd=10_000),
    },
    TIER_2: {
        "gemini-2.5-flash": DefaultLimits(_SEEN, 1000, 3_000_000, 10_000),
    },
    TIER_3: {
        "gemini-2.5-flash": DefaultLimits(_SEEN, 1000, 8_000_000, 10_000),
    },
}
