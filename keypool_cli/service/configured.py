"""What the registry holds, indexed for the live store and for answers."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property

from keypool_cli.core.model import (
    UNLIMITED,
    Catalog,
    Client,
    Key,
    KeyState,
    Mark,
    MarkKind,
    MarkScope,
    Policy,
    Pool,
    Project,
)
from keypool_cli.core.quota import Limits, QuotaIndex
from keypool_cli.core.tiers import known_models
from keypool_cli.engine.types import LivePool, LiveProject
from keypool_cli.errors import NotFoundError

USABLE, EXCLUDED, BOTH_DAYS = 1, 2, 4
"""Flags of a live project; see ``engine/lua/library.lua``."""


class Configured:
    """One revision of the registry with its indexes, made on first use."""

    def __init__(self, catalog: Catalog, token_hashes: Mapping[str, int] | None = None) -> None:
        self.catalog = catalog
        self.token_hashes = token_hashes or {}

    def with_marks(self, marks: Iterable[Mark]) -> "Configured":
        """The same with newer marks: a cooldown of one model makes no new revision."""
        newer = Configured(replace(self.catalog, marks=tuple(marks)), self.token_hashes)
        # Indexes that have nothing to do with marks need not be made again.
        made = {name: made for name, made in vars(self).items() if name not in vars(newer)}
        for name in ("marks_of", "resets"):
            made.pop(name, None)
        vars(newer).update(made)
        return newer

    @property
    def revision(self) -> int:
        """The registry's revision."""
        return self.catalog.revision

    @cached_property
    def projects(self) -> Mapping[str, Project]:
        """Projects by name."""
        return {each.name: each for each in self.catalog.projects.values()}

    @cached_property
    def counted(self) -> Mapping[int, Project]:
        """Projects whose live state is kept: those configured, and those removed of late."""
        return {**self.catalog.projects, **self.catalog.removed}

    @cached_property
    def pools(self) -> Mapping[str, Pool]:
        """Pools by name."""
        return {each.name: each for each in self.catalog.pools.values()}

    def pool(self, name: str) -> Pool:
        """The pool of this name. Raises NotFoundError."""
        found = self.pools.get(name)
        if found is None:
            raise NotFoundError(f"no pool named {name!r}", hint="see: keypool pool list")
        return found

    @cached_property
    def keys(self) -> Mapping[str, Key]:
        """Keys by name."""
        return {each.name: each for each in self.catalog.keys.values()}

    @cached_property
    def keys_of(self) -> Mapping[int, list[Key]]:
        """Keys by project, in the order they were added."""
        found: dict[int, list[Key]] = defaultdict(list)
        for each in sorted(self.catalog.keys.values(), key=lambda each: each.id):
            found[each.project_id].append(each)
        return found

    @cached_property
    def pools_of(self) -> Mapping[int, list[Pool]]:
        """Pools by project."""
        found: dict[int, list[Pool]] = defaultdict(list)
        for each in sorted(self.catalog.pools.values(), key=lambda each: each.id):
            for project_id in each.project_ids:
                found[project_id].append(each)
        return found

    @cached_property
    def marks_of(self) -> Mapping[int, list[Mark]]:
        """Every mark that touches a project, those of its billing account among them."""
        found: dict[int, list[Mark]] = defaultdict(list)
        on_account: dict[str, list[Mark]] = defaultdict(list)
        for mark in self.catalog.marks:
            if mark.scope is MarkScope.BILLING and mark.billing_account is not None:
                on_account[mark.billing_account].append(mark)
            elif mark.project_id is not None and mark.kind is not MarkKind.RESET:
                found[mark.project_id].append(mark)
        for project in self.catalog.projects.values() if on_account else ():
            if project.billing_account in on_account:
                found[project.id] += on_account[project.billing_account]
        return found

    @cached_property
    def resets(self) -> Mapping[tuple[int | None, str | None], int]:
        """When single models of projects were reset, by project and model."""
        marks = (each for each in self.catalog.marks if each.kind is MarkKind.RESET)
        return {(each.project_id, each.model): each.granted_at_ms for each in marks}

    @cached_property
    def quotas(self) -> QuotaIndex:
        """Limits by project, tier and model."""
        return QuotaIndex(self.catalog.quotas)

    @cached_property
    def _models_of(self) -> Mapping[int | str | None, set[str]]:
        """Models named by quota rows, by project id, tier, or None for all."""
        found: dict[int | str | None, set[str]] = defaultdict(set)
        for row in self.catalog.quotas:
            if row.model is not None:
                found[row.tier if row.project_id is None else row.project_id].add(row.model)
        return found

    @cached_property
    def known_models(self) -> frozenset[str]:
        """Models that a quota row, the table of tiers or an alias names."""
        aliases = self.catalog.aliases
        return frozenset().union(
            known_models(), aliases, aliases.values(), *self._models_of.values()
        )

    @cached_property
    def _models_of_tiers(self) -> dict[str | None, frozenset[str]]:
        return {}

    def named_models(self, project: Project) -> frozenset[str]:
        """Models that a quota row speaks of for this project, its tier, or everything."""
        of_tier = self._models_of_tiers.get(project.tier)
        if of_tier is None:
            of_tier = frozenset().union(
                *(self._models_of.get(each, ()) for each in (project.tier, None))
            )
            self._models_of_tiers[project.tier] = of_tier
        own = self._models_of.get(project.id)
        return of_tier | own if own else of_tier

    def limits(self, project: Project, model: str) -> Limits:
        """The limits in force for a project on a bucket model."""
        return self.quotas.effective(project, model)

    def bucket(self, model: str) -> str:
        """The model upstream counts a request's model as."""
        return self.catalog.aliases.get(model, model)

    def client_of(self, token_hash: str) -> Client | None:
        """The client a token belongs to, unless it was revoked."""
        client = self.catalog.clients.get(self.token_hashes.get(token_hash, 0))
        return client if client is not None and client.revoked_at_ms is None else None

    def siblings(self, project: Project) -> list[Project]:
        """Projects on the same billing account, itself among them."""
        if project.billing_account is None:
            return [project]
        account = project.billing_account
        return [each for each in self.catalog.projects.values() if each.billing_account == account]

    def live_pools(self) -> list[LivePool]:
        """Pools as acquire needs them."""
        projects = self.catalog.projects
        return [
            LivePool(
                pool.id,
                1 if pool.policy is Policy.PACK else 0,
                sorted({projects[each].priority for each in pool.project_ids}, reverse=True),
            )
            for pool in self.catalog.pools.values()
        ]

    def live_project(
        self, project: Project, model: str, day_requests: tuple[int, int] = (0, 0)
    ) -> LiveProject:
        """One project as a model's live state is loaded with it."""
        limits = self.limits(project, model)
        marks = [each for each in self.marks_of.get(project.id, ()) if each.model in {None, model}]
        narrow = _latest(each for each in marks if each.scope is MarkScope.PROJECT_MODEL)
        wide = _latest(each for each in marks if each.scope is not MarkScope.PROJECT_MODEL)
        reset_at_ms = max(project.reset_at_ms, self.resets.get((project.id, model), 0))
        # A reset removes the marks it clears. Those that are left stay, however old they are.
        stands_from = reset_at_ms + 1
        return LiveProject(
            id=project.id,
            rpm=limits.rpm.value,
            tpm=limits.tpm.value,
            rpd=limits.rpd.value,
            in_flight=limits.in_flight.value,
            flags=_flags(project, limits, marks),
            priority=project.priority,
            keys=[
                each.id for each in self.keys_of.get(project.id, ()) if each.state is KeyState.READY
            ],
            pools=[each.id for each in self.pools_of.get(project.id, ())],
            cool_until_ms=narrow[0],
            cool_granted_at_ms=max(narrow[1], stands_from),
            wide_until_ms=wide[0],
            wide_granted_at_ms=max(wide[1], stands_from),
            reset_at_ms=reset_at_ms,
            day_requests=day_requests[0],
            utc_requests=day_requests[1],
        )

    def may_take(self, pool_id: int, model: str, requests: int, tokens: int) -> bool:
        """Whether a project of the pool takes such a demand, now or when it has room again."""
        pool, projects = self.catalog.pools.get(pool_id), self.catalog.projects
        known = (projects[each] for each in (pool.project_ids if pool else ()) if each in projects)
        return any(
            each.keys
            and each.flags & (USABLE | EXCLUDED) == USABLE
            and each.in_flight != 0
            and all(limit == UNLIMITED or requests <= limit for limit in (each.rpm, each.rpd))
            and (each.tpm == UNLIMITED or tokens <= each.tpm)
            for each in (self.live_project(project, model) for project in known)
        )


def _latest(marks: Iterable[Mark]) -> tuple[int, int]:
    """End and grant of the cooldown that lasts longest; zeros when there is none."""
    ends = [
        (each.until_at_ms, each.granted_at_ms)
        for each in marks
        if each.kind is MarkKind.COOL and each.until_at_ms is not None
    ]
    return max(ends, default=(0, 0))


def _flags(project: Project, limits: Limits, marks: list[Mark]) -> int:
    kinds = {each.kind for each in marks}
    usable = project.enabled and MarkKind.DISABLE not in kinds
    excluded = MarkKind.EXCLUDE in kinds or not limits.is_offered
    both_days = MarkKind.DAY_END in kinds
    return USABLE * usable | EXCLUDED * excluded | BOTH_DAYS * both_days
