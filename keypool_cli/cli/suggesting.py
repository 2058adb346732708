"""Models and tiers that are alike: nobody lists them all, so one that is mistyped is no error."""

from collections.abc import Iterable
from difflib import get_close_matches

from keypool_cli.core.tiers import FREE, TIER_1, TIER_2, TIER_3, known_models


def model_meant(name: str, used: Iterable[str]) -> str | None:
    """What to say of a model that nothing is known of, if one is alike. used: that are known here."""
    known = {*used, *known_models()}
    close = [] if name in known else get_close_matches(name, known, n=1)
    return f"nothing is known of {name}; did you mean {close[0]}?" if close else None


def tier_meant(name: str | None) -> str | None:
    """What to say of a tier that nothing is assumed of, if one of Google's is alike."""
    known = (FREE, TIER_1, TIER_2, TIER_3)
    close = [] if name is None or name in known else get_close_matches(name, known, n=1)
    return f"nothing is assumed of tier {name}; did you mean {close[0]}?" if close else None
