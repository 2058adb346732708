"""Limits: set by operators, learned from refusals, and the map of model aliases."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from sqlalchemy import Connection, delete, select

from keypool_cli.core.model import DIMENSIONS, MAX_LIMIT, UNLIMITED, Provenance, QuotaRow
from keypool_cli.errors import NotFoundError, UsageError
from keypool_cli.registry.catalog import quota_of
from keypool_cli.registry.change import Change, change
from keypool_cli.registry.database import Database
from keypool_cli.registry.lookup import named
from keypool_cli.registry.names import checked_model, checked_tier, is_model
from keypool_cli.registry.tables import aliases, present, projects, quotas
from keypool_cli.registry.upsert import upsert
from keypool_cli.registry.values import Actor, LearnedLimits, QuotaScope, RemovedQuota


class Quotas:
    """The registry's limits. Unknown projects raise NotFoundError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[QuotaRow]:
        """Every row, configured and learned."""
        with self._database.read() as connection:
            return [quota_of(row) for row in connection.execute(select(quotas))]

    def set(self, scope: QuotaScope, values: Mapping[str, int], *, by: Actor) -> QuotaRow:
        """Set limits at a scope: dimension (``rpm``, …) to value; other dimensions stay.

        Returns the whole row. Raises UsageError for an unknown dimension, a value beyond 0 to
        MAX_LIMIT that is not UNLIMITED, or a scope that names both a tier and a project.
        """
        _check_values(values)
        scope = _checked(scope)
        with change(self._database, by) as done:
            place = _place(done.connection, scope)
            before = _row(done.connection, str(place["scope"]))
            row = place | {"provenance": Provenance.CONFIGURED.value, "at_ms": done.at_ms}
            upsert(done.connection, quotas, [row | dict(values)], key="scope")
            detail = {"before": _shown(before), "after": dict(values)}
            done.event("quota.set", scope.place, detail=detail)
            after = _row(done.connection, str(place["scope"]))
        if after is None:  # pragma: no cover  # it was written above
            raise NotFoundError("no such quota")
        return after

    def unset(
        self,
        scope: QuotaScope,
        dimensions: Collection[str] = DIMENSIONS,
        *,
        by: Actor,
        dry_run: bool = False,
    ) -> RemovedQuota:
        """Take back configured limits at exactly this scope; raises NotFoundError if none is."""
        _check_values(dict.fromkeys(dimensions, 0))
        scope = _checked(scope)
        with change(self._database, by, keep=not dry_run) as done:
            place = _place(done.connection, scope)
            key = str(place["scope"])
            before = _row(done.connection, key)
            if before is None or not _shown(before).keys() & set(dimensions):
                raise NotFoundError(
                    f"no limit is set for {scope.place}", hint="see: keypool quota list"
                )
            left = {name: v for name, v in _shown(before).items() if name not in dimensions}
            done.connection.execute(delete(quotas).where(quotas.c.scope == key))
            if left:
                row = place | {"provenance": before.provenance.value, "at_ms": before.at_ms}
                upsert(done.connection, quotas, [row | left], key="scope")
            detail = {"before": _shown(before), "after": left}
            done.event("quota.unset", scope.place, detail=detail)
            return RemovedQuota(before, _row(done.connection, key))

    def unset_learned(
        self, scope: QuotaScope, *, by: Actor, dry_run: bool = False
    ) -> list[QuotaRow]:
        """Forget learned limits; project and model narrow it, a tier must not be named."""
        scope = _checked(scope)
        with change(self._database, by, keep=not dry_run) as done:
            chosen = quotas.c.provenance == Provenance.LEARNED.value
            place = _place(done.connection, scope)
            if scope.project is not None:
                chosen &= quotas.c.project_id == place["project_id"]
            if scope.model is not None:
                chosen &= quotas.c.model == place["model"]
            rows = [quota_of(r) for r in done.connection.execute(select(quotas).where(chosen))]
            if rows:
                done.connection.execute(delete(quotas).where(chosen))
                done.event("quota.unset_learned", scope.place, detail={"rows": len(rows)})
            return rows


def learn_limits(done: Change, learned: Iterable[LearnedLimits]) -> None:
    """Write learned limits, the newest ``at_ms`` of each dimension; unchanged ones make no event.

    Those of projects that are gone are dropped, and what no limit can be.
    """
    for limits in learned:
        values = {n: v for n, v in limits.values.items() if n in DIMENSIONS and _is_limit(v)}
        here = projects.c.id == limits.project_id
        project = done.connection.scalar(select(projects.c.name).where(here, present))
        if project is None or not values or not is_model(limits.model):
            continue
        if _learn(done, limits, values):
            detail = {"model": limits.model, "limits": values}
            done.event("limit.learned", project, detail=detail)


def learn_aliases(done: Change, learned: Mapping[str, str]) -> dict[str, str]:
    """Write the aliases that are new, request model to bucket's model, and return them.

    What no model could be named is dropped.
    """
    new: dict[str, str] = {}
    for name, model in learned.items():
        if name == model or not (is_model(name) and is_model(model)):
            continue
        known = done.connection.scalar(select(aliases.c.model).where(aliases.c.name == name))
        if known != model:
            row = {"name": name, "model": model, "at_ms": done.at_ms}
            upsert(done.connection, aliases, [row], key="name")
            done.event("alias.learned", name, detail={"before": known, "after": model})
            new[name] = model
    return new


def _learn(done: Change, limits: LearnedLimits, values: Mapping[str, int]) -> bool:
    """Write one row per dimension; whether any value is another than before."""
    changed = False
    for dimension, value in values.items():
        scope = f"learned/project:{limits.project_id}/{dimension}/model:{limits.model}"
        before = _row(done.connection, scope)
        if before is not None and before.at_ms > limits.at_ms:
            continue
        changed |= before is None or getattr(before, dimension) != value
        row = {
            "scope": scope,
            "provenance": Provenance.LEARNED.value,
            "project_id": limits.project_id,
            "model": limits.model,
            "at_ms": limits.at_ms,
            dimension: value,
        }
        upsert(done.connection, quotas, [row], key="scope")
    return changed


def _checked(scope: QuotaScope) -> QuotaScope:
    """The scope with tier and model as they are kept."""
    if scope.tier is not None and scope.project is not None:
        raise UsageError("a limit is set for a tier or for a project, not for both")
    return replace(
        scope,
        tier=None if scope.tier is None else checked_tier(scope.tier),
        model=None if scope.model is None else checked_model(scope.model),
    )


def _place(connection: Connection, scope: QuotaScope) -> dict[str, object]:
    """The columns that say what a row covers; ``scope`` says it as one unique text."""
    project_id = None if scope.project is None else named(connection, projects, scope.project).id
    owner = f"project:{project_id}" if project_id else f"tier:{scope.tier}" if scope.tier else "all"
    text = f"{owner}/all" if scope.model is None else f"{owner}/model:{scope.model}"
    return {"scope": text, "tier": scope.tier, "project_id": project_id, "model": scope.model}


def _row(connection: Connection, scope: str) -> QuotaRow | None:
    row = connection.execute(select(quotas).where(quotas.c.scope == scope)).one_or_none()
    return None if row is None else quota_of(row)


def _shown(row: QuotaRow | None) -> dict[str, int]:
    values = {} if row is None else {name: getattr(row, name) for name in DIMENSIONS}
    return {name: value for name, value in values.items() if value is not None}


def _check_values(values: Mapping[str, int]) -> None:
    if not values:
        raise UsageError("no limit is named", hint=f"name one of: {', '.join(DIMENSIONS)}")
    for dimension, value in values.items():
        if dimension not in DIMENSIONS:
            raise UsageError(f"no limit is called {dimension!r}", hint=", ".join(DIMENSIONS))
        if not _is_limit(value):
            raise UsageError(f"{dimension} is 0 to {MAX_LIMIT} or unlimited, not {value}")


def _is_limit(value: int) -> bool:
    return value == UNLIMITED or 0 <= value <= MAX_LIMIT
