"""``explain``: which project a demand would get, and why each other would not be chosen."""

from dataclasses import dataclass

import msgspec

from keypool_cli.core.model import MarkKind, Project
from keypool_cli.engine.types import Demand, Explanation, Reason
from keypool_cli.errors import NotFoundError
from keypool_cli.service.configured import Configured
from keypool_cli.service.instants import iso, iso_or_none
from keypool_cli.service.lease_ids import new_lease_id
from keypool_cli.service.ports import Ports
from keypool_cli.service.sync import sync_model


class ProjectVerdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a project stands to a demand.

    limit: what refuses it (rpm, tpm, rpd, in_flight, cooldown, held, larger, unusable), absent
    when it fits. at, in_s: when it will fit; absent when it fits now or never will by itself.
    """

    project: str
    chosen: bool
    limit: str | None = None
    reason: str | None = None
    at: str | None = None
    in_s: float | None = None


class Explained(msgspec.Struct, frozen=True):
    """What acquire would do with a demand now. model: the bucket's; chosen None: nothing fits."""

    schema: int
    at: str
    pool: str
    model: str
    tokens: int
    chosen: str | None
    projects: list[ProjectVerdict]


@dataclass(frozen=True, slots=True)
class Question:
    """The demand to explain."""

    pool: str
    model: str
    tokens: int
    requests: int = 1


async def explain(ports: Ports, configured: Configured, question: Question) -> Explained:
    """Ask the engine itself; reserves nothing. Raises NotFoundError for an unknown pool."""
    pool = configured.pools.get(question.pool)
    if pool is None:
        raise NotFoundError(f"no pool named {question.pool!r}", hint="see: keypool pool list")
    model = configured.bucket(question.model)
    found = await _ask(ports, configured, model, question)
    projects = configured.catalog.projects
    chosen = projects.get(found.chosen or 0)
    verdicts = [
        _verdict(configured, found, each, model)
        for each in found.reasons
        if each.project_id in projects
    ]
    return Explained(
        schema=1,
        at=iso(found.now_ms),
        pool=pool.name,
        model=model,
        tokens=question.tokens,
        chosen=chosen.name if chosen else None,
        projects=sorted(verdicts, key=_best_first),
    )


async def _ask(ports: Ports, configured: Configured, model: str, question: Question) -> Explanation:
    pool = configured.pools[question.pool]
    # What the engine knows may be older than the registry, or nothing yet.
    await sync_model(ports, model, configured)
    demand = Demand(new_lease_id(model), question.requests, question.tokens)
    return await ports.engine.explain(model, pool.id, demand, sorted(pool.project_ids))


def _verdict(
    configured: Configured, found: Explanation, reason: Reason, model: str
) -> ProjectVerdict:
    project = configured.catalog.projects[reason.project_id]
    waits = reason.at_ms > found.now_ms
    return ProjectVerdict(
        project=project.name,
        chosen=reason.project_id == found.chosen,
        limit=reason.limit or None,
        reason=unusable(configured, project, model) if reason.limit == "unusable" else None,
        at=iso_or_none(reason.at_ms if waits else None),
        in_s=(reason.at_ms - found.now_ms) / 1000 if waits else None,
    )


def unusable(configured: Configured, project: Project, model: str) -> str:
    """Why a project takes no demand for a bucket model at all."""
    if not project.enabled:
        return "disabled by an operator"
    for mark in configured.marks_of.get(project.id, ()):
        if mark.kind in {MarkKind.DISABLE, MarkKind.EXCLUDE} and mark.model in {None, model}:
            return mark.reason
    keys = configured.keys_of.get(project.id, [])
    reasons = {each.reason for each in keys if each.reason} or {
        "its quota is 0, or no key is enabled"
    }
    return "; ".join(sorted(reasons)) if keys else "it has no key"


def _best_first(verdict: ProjectVerdict) -> tuple[bool, bool, float, str]:
    waits = verdict.in_s if verdict.in_s is not None else float("inf")
    return (not verdict.chosen, verdict.limit is not None, waits, verdict.project)
