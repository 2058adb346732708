"""Which limits hold for a project and a model, and where each of them comes from."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from keypool_cli.core.model import DIMENSIONS, UNLIMITED, Project, Provenance, QuotaRow
from keypool_cli.core.tiers import default_limits


@dataclass(frozen=True, slots=True)
class EffectiveLimit:
    """One number of a quota: 0 to MAX_LIMIT, or UNLIMITED.

    at_ms: when it was set, learned, or last seen by keypool's authors; 0 where nothing is known.
    """

    value: int
    provenance: Provenance
    at_ms: int


NO_LIMIT = EffectiveLimit(UNLIMITED, Provenance.DEFAULT, 0)


@dataclass(frozen=True)
class Limits:
    """What holds for one project and model, per dimension (core.model.DIMENSIONS).

    Many projects share one value, and what follows from it.
    """

    rpm: EffectiveLimit
    tpm: EffectiveLimit
    rpd: EffectiveLimit
    in_flight: EffectiveLimit

    @cached_property
    def is_offered(self) -> bool:
        """Whether the model may be used at all: no dimension is 0."""
        return all(getattr(self, dimension).value != 0 for dimension in DIMENSIONS)

    @cached_property
    def stated(self) -> tuple[tuple[int | None, str], ...]:
        """Value (None: unlimited) and provenance of rpm, tpm and rpd."""
        limits = (self.rpm, self.tpm, self.rpd)
        return tuple(
            (None if each.value == UNLIMITED else each.value, each.provenance.value)
            for each in limits
        )


# Whose rows: a project's id, a tier's name, or None for every project. Ids are not names.
_Owner = int | str | None
_Found = dict[str, EffectiveLimit]
_NOTHING: _Found = {}


class QuotaIndex:
    """Quota rows, arranged so that one lookup is quick however many projects there are.

    Per dimension the most specific configured row wins: project and model, project, tier and
    model, tier, model, all. Where none says anything, keypool's dated table for the tier and model
    does, else there is no limit. A learned value replaces a default in either direction, and a
    configured value only downwards: the operator may want less than upstream allows, and cannot
    have more.
    """

    def __init__(self, rows: Iterable[QuotaRow]) -> None:
        self._configured: dict[tuple[_Owner, str | None], _Found] = defaultdict(dict)
        self._learned: dict[tuple[int | None, str | None], _Found] = defaultdict(dict)
        self._special = set[int | None]()
        for row in rows:
            self._special.add(row.project_id)
            if row.provenance is Provenance.LEARNED:
                _merge(self._learned[row.project_id, row.model], row)
            else:
                owner = row.tier if row.project_id is None else row.project_id
                _merge(self._configured[owner, row.model], row)
        self._by_tier: dict[tuple[str | None, str], Limits] = {}

    def effective(self, project: Project, model: str) -> Limits:
        """The limits of a project for a bucket's model (aliases are resolved before).

        Projects of one tier without rows of their own share one value.
        """
        if project.id not in self._special:
            return self._by_tier.get((project.tier, model)) or self._of_tier(project.tier, model)
        own = [self._configured.get((project.id, m), _NOTHING) for m in (model, None)]
        learned = self._learned.get((project.id, model), _NOTHING)
        return _limits([*own, *self._general(project.tier, model)], learned)

    def _of_tier(self, tier: str | None, model: str) -> Limits:
        limits = _limits(self._general(tier, model), _NOTHING)
        self._by_tier[tier, model] = limits
        return limits

    def _general(self, tier: str | None, model: str) -> list[_Found]:
        """What is said of a tier and of everything, most specific first."""
        owners: tuple[_Owner, ...] = (None,) if tier is None else (tier, None)
        found = [self._configured.get((o, m), _NOTHING) for o in owners for m in (model, None)]
        return [*found, _defaults(tier, model)]


def _merge(into: _Found, row: QuotaRow) -> None:
    """Add what ``row`` says; of two rows about the same dimension the newer one counts."""
    for dimension in DIMENSIONS:
        value = getattr(row, dimension)
        known = into.get(dimension)
        if value is not None and (known is None or known.at_ms <= row.at_ms):
            into[dimension] = EffectiveLimit(value, row.provenance, row.at_ms)


def _defaults(tier: str | None, model: str) -> _Found:
    known = default_limits(tier, model)
    if known is None:
        return _NOTHING
    values = {"rpm": known.rpm, "tpm": known.tpm, "rpd": known.rpd}
    return {
        dimension: EffectiveLimit(value, Provenance.DEFAULT, known.at_ms)
        for dimension, value in values.items()
        if value is not None
    }


def _limits(found: Sequence[_Found], learned: _Found) -> Limits:
    def limit(dimension: str) -> EffectiveLimit:
        stated = next((part[dimension] for part in found if dimension in part), NO_LIMIT)
        return _corrected(stated, learned.get(dimension))

    return Limits(limit("rpm"), limit("tpm"), limit("rpd"), limit("in_flight"))


def _corrected(stated: EffectiveLimit, learned: EffectiveLimit | None) -> EffectiveLimit:
    if learned is None:
        return stated
    if stated.provenance is Provenance.DEFAULT or is_lower(learned.value, stated.value):
        return learned
    return stated


def is_lower(value: int, other: int) -> bool:
    """Whether a limit allows less than another; each may be UNLIMITED."""
    return value != UNLIMITED and (other == UNLIMITED or value < other)


def shown_limits(row: QuotaRow) -> dict[str, int | str | None]:
    """Every dimension's limit of a row as :func:`shown`."""
    return {name: shown(getattr(row, name)) for name in DIMENSIONS}


def shown(value: int | None) -> int | str | None:
    """A limit as people and JSON read it; None, which is none of its kind, stays None."""
    return "unlimited" if value == UNLIMITED else value
