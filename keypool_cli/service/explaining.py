"""``explain``: which project a demand would get, and why each other would not be chosen."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from shlex import quote

import msgspec

from keypool_cli.core.model import MAX_LIMIT, Pool, Project
from keypool_cli.core.natural import natural
from keypool_cli.engine.engine import Engine
from keypool_cli.engine.types import Demand, Explanation, Reason
from keypool_cli.errors import UsageError
from keypool_cli.registry.names import checked_model
from keypool_cli.service.configured import Configured
from keypool_cli.service.instants import iso, iso_or_none
from keypool_cli.service.lease_ids import new_lease_id
from keypool_cli.service.ports import Ports
from keypool_cli.service.standing import ModelStatus, Use
from keypool_cli.service.status import stands_on, why_shut
from keypool_cli.service.sync import sync_model

_PART = 1000
"""Projects one call of the engine explains: about 10 ms of the server's time."""

_REASONS = 3
"""How many different reasons one answer names."""


class ProjectVerdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a project stands to a demand.

    limit: what refuses it (rpm, tpm, rpd, in_flight, cooldown, held, larger, unusable), absent
    when it fits. reason, rule: what stands behind that, where it is known. at, in_s: when it will
    fit; absent when it fits now or never will by itself. rpm, tpm, rpd: what is used of it.
    """

    project: str
    chosen: bool
    priority: int
    rpm: Use
    tpm: Use
    rpd: Use
    limit: str | None = None
    reason: str | None = None
    rule: str | None = None
    at: str | None = None
    in_s: float | None = None


class Explained(msgspec.Struct, frozen=True):
    """What acquire would do with a demand now. model: the bucket's; chosen None: nothing fits.

    policy: how the pool chooses among projects of one priority. waiting: demands on the model
    that were there before.
    """

    schema: int
    at: str
    pool: str
    policy: str
    model: str
    tokens: int
    waiting: int
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
    """Ask the engine itself; reserves nothing.

    Raises NotFoundError for an unknown pool, UsageError for what no request can be.
    """
    if question.tokens > MAX_LIMIT:
        raise UsageError("no request has more than 10^12 tokens")
    pool = configured.pool(question.pool)
    model = configured.bucket(checked_model(question.model))
    # What the engine knows may be older than the registry, or nothing yet.
    await sync_model(ports, model, configured)
    ids = sorted(pool.project_ids & configured.catalog.projects.keys())
    demand = Demand(new_lease_id(model), question.requests, question.tokens)
    found = await _ask(ports.engine, model, pool.id, demand, ids)
    newest = configured.with_marks(await ports.call(ports.registry.marks.all))
    stands = await stands_on(ports.engine, newest, model, ids)
    chosen = configured.catalog.projects.get(found.chosen or 0)
    verdicts = [_verdict(newest, found, each, stands[each.project_id]) for each in found.reasons]
    return Explained(
        schema=1,
        at=iso(found.now_ms),
        pool=pool.name,
        policy=pool.policy.value,
        model=model,
        tokens=question.tokens,
        waiting=await ports.engine.queued(model),
        chosen=chosen.name if chosen else None,
        projects=sorted(verdicts, key=_best_first),
    )


async def _ask(
    engine: Engine, model: str, pool_id: int, demand: Demand, ids: Sequence[int]
) -> Explanation:
    """What the engine says of many projects, asked for in parts; it chooses among all each time."""
    parts = [ids[start : start + _PART] for start in range(0, len(ids), _PART)] or [ids]
    found = [await engine.explain(model, pool_id, demand, part) for part in parts]
    reasons = [reason for each in found for reason in each.reasons]
    # The newest clock: what fitted when its part was asked for must not seem to wait.
    return Explanation(found[-1].now_ms, found[-1].chosen, reasons)


def _verdict(
    configured: Configured, found: Explanation, reason: Reason, stand: ModelStatus
) -> ProjectVerdict:
    project = configured.catalog.projects[reason.project_id]
    waits = reason.at_ms > found.now_ms
    told = stand if reason.limit in {"cooldown", "unusable"} else None
    why = told.reason if told is not None else None
    if reason.limit == "unusable" and why is None:
        why = _unusable(configured, project, stand.model)
    return ProjectVerdict(
        project=project.name,
        chosen=reason.project_id == found.chosen,
        priority=project.priority,
        rpm=stand.rpm,
        tpm=stand.tpm,
        rpd=stand.rpd,
        limit=reason.limit or None,
        reason=why,
        rule=told.rule if told is not None else None,
        at=iso_or_none(reason.at_ms if waits else None),
        in_s=(reason.at_ms - found.now_ms) / 1000 if waits else None,
    )


def why_unusable(configured: Configured, project_ids: Iterable[int], model: str) -> str:
    """Why projects take no demand for a bucket model: a few reasons, with one project each."""
    projects = configured.catalog.projects
    known = [projects[each] for each in project_ids if each in projects]
    reasons = {_unusable(configured, each, model): each for each in known}
    told = [f"{each.name}: {reason}" for reason, each in reasons.items()][:_REASONS]
    return "; ".join(told) or "it has none"


def see_why(pool: Pool) -> str:
    """The hint where no project of a pool can be used."""
    return f"see why: keypool status --pool {quote(pool.name)}"


def _unusable(configured: Configured, project: Project, model: str) -> str:
    """Why a project takes no demand for a bucket model at all."""
    told = why_shut(configured, project, model)
    # The engine may have heard of a change before what is configured was read again.
    return told or "its quota is 0, or no key is enabled"


def _best_first(verdict: ProjectVerdict) -> tuple[bool, bool, float, str]:
    waits = verdict.in_s if verdict.in_s is not None else float("inf")
    return (not verdict.chosen, verdict.limit is not None, waits, natural(verdict.project))
