"""What may be behind it: a model or tier that is alike, or what an operator has set."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from shlex import quote
from typing import TYPE_CHECKING

from keypool_cli.core.model import DEFAULT_POOL, KeyState
from keypool_cli.core.tiers import FREE, TIER_1, TIER_2, TIER_3, known_models

if TYPE_CHECKING:
    from keypool_cli.service.configured import Configured


MOST_HINTS = 3


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


def what_holds(configured: "Configured", projects: Sequence[str]) -> Iterator[str]:
    """What keeps projects from use though no refusal does, each with the command that ends it."""
    for name in projects:
        project, place = configured.projects[name], quote(name)
        keys = configured.keys_of.get(project.id, ())
        if not project.enabled:
            yield f"{name} is disabled by an operator: keypool project set {place} --enable"
        for key in keys:
            if key.state is KeyState.DISABLED:
                yield f"{key.name} is disabled by an operator: keypool enable {quote(key.name)}"
        if not keys:
            yield f"{name} has no key: keypool add NAME --project {place}"
        if not configured.pools_of.get(project.id):
            yield f"{name} is in no pool: keypool pool set {DEFAULT_POOL} --add-project {place}"
