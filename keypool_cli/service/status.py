"""How the pools stand: who is ready, who cools and until when, what is used of what."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from keypool_cli.core.model import Key, KeyState, Mark, MarkKind, Pool, Project
from keypool_cli.core.natural import natural
from keypool_cli.engine.engine import SKIM_CHUNK, Engine
from keypool_cli.engine.types import View
from keypool_cli.service.configured import Configured
from keypool_cli.service.instants import iso
from keypool_cli.service.standing import (
    STATES,
    KeyStatus,
    ModelStatus,
    PoolStatus,
    ProjectStatus,
    Status,
    Unread,
    Use,
)

_READY = KeyState.READY
_UNUSED = View(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, "", 0, 0)
_SHUT_BY = ((MarkKind.DISABLE, "disabled"), (MarkKind.EXCLUDE, "excluded"))

_AT_ONCE = 16
"""Models asked for together: their answers come one after another, and daemons' between them."""

REBUILT = "store-rebuilt"
"""Rule of the cooldown that follows a lost live store."""


@dataclass(frozen=True, slots=True)
class _Live:
    """Live state of every loaded model: views by project, and the cooldowns of lost stores."""

    now_ms: int
    views: Mapping[str, Mapping[int, View]]
    rebuilt: Mapping[str, int]


async def stand(
    engine: Engine,
    configured: Configured,
    *,
    pools: Sequence[str] | None,
    models: Sequence[str],
) -> Status:
    """How the named pools (all when none is named) stand now. Raises NotFoundError.

    configured: with the newest marks, wherever it was read from. models: those in use. Those of
    them on a node of a cluster that is away are told as unread.
    """
    chosen = [configured.pool(name) for name in pools or sorted(configured.pools, key=natural)]
    ids = sorted({each for pool in chosen for each in pool.project_ids})
    away = await engine.away(models)
    now_ms, shown = await engine.now_ms(), dict[int, ProjectStatus]()
    async for part, live in _read_live(engine, ids, now_ms, [m for m in models if m not in away]):
        for each in part:
            status = _project_status(configured, live, configured.catalog.projects[each], away)
            shown[each] = status
    stands = [_pool_status(each, shown, now_ms) for each in chosen]
    unread = [Unread(model, str(err)) for model, err in sorted(away.items())]
    return Status(1, iso(now_ms), stands, unread)


async def stands_on(
    engine: Engine, configured: Configured, model: str, ids: Sequence[int]
) -> dict[int, ModelStatus]:
    """How projects stand on one bucket model, by their ids."""
    snapshot = await engine.snapshot(model, ids)
    views = {each.project_id: each for each in snapshot.views}
    rebuilt = await engine.rebuilt_until(model)
    live = _Live(snapshot.now_ms, {model: views}, {model: rebuilt})
    projects = configured.catalog.projects
    return {
        each: _model_status(configured, live, _owner(configured, projects[each]), model)
        for each in ids
    }


def why_shut(configured: Configured, project: Project, model: str) -> str | None:
    """Why a project takes nothing for a bucket model, whatever the windows hold; None if it may."""
    owner = _owner(configured, project)
    marks = [each for each in owner.marks if each.model in {None, model}]
    shut = _shut(owner, marks, offered=configured.limits(project, model).is_offered)
    return shut[1] if shut is not None else None


async def _read_live(
    engine: Engine, ids: Sequence[int], now_ms: int, models: Sequence[str]
) -> AsyncIterator[tuple[Sequence[int], _Live]]:
    """Live state of the projects, part by part; the store reads the next one meanwhile."""
    rebuilt = await engine.rebuilds(models)
    parts = [ids[at : at + SKIM_CHUNK] for at in range(0, len(ids), SKIM_CHUNK)]
    reading = [asyncio.ensure_future(_views(engine, list(rebuilt), each)) for each in parts[:1]]
    try:
        for index, part in enumerate(parts):
            views = await reading.pop()
            for following in parts[index + 1 : index + 2]:
                reading.append(asyncio.ensure_future(_views(engine, list(rebuilt), following)))
                for _ in range(2):  # its calls are begun, then sent
                    await asyncio.sleep(0)
            yield part, _Live(now_ms, views, rebuilt)
    finally:
        for task in reading:
            task.cancel()


async def _views(
    engine: Engine, models: Sequence[str], ids: Sequence[int]
) -> dict[str, dict[int, View]]:
    found = {}
    for at in range(0, len(models), _AT_ONCE):
        part = models[at : at + _AT_ONCE]
        asked = (engine.snapshot(model, ids, busy_only=True) for model in part)
        for model, snapshot in zip(part, await asyncio.gather(*asked), strict=True):
            if snapshot.views:
                found[model] = {each.project_id: each for each in snapshot.views}
    return found


def _pool_status(pool: Pool, known: Mapping[int, ProjectStatus], now_ms: int) -> PoolStatus:
    shown = sorted((known[each] for each in pool.project_ids), key=lambda p: natural(p.project))
    found = Counter(each.state for each in shown)
    waits = [
        wait
        for each in shown
        if each.state in {"full", "cooling"}
        for part in each.models or (each,)
        if (wait := part.remaining_s) is not None
    ]
    soonest = min(waits, default=None)
    return PoolStatus(
        pool=pool.name,
        projects=shown,
        next_ready_at=None if soonest is None else iso(now_ms + int(soonest * 1000)),
        next_ready_s=soonest,
        **{state: found[state] for state in STATES},
    )


_Stand = tuple[str, str | None, int | None, str | None]
"""State, reason, end in ms and rule of a project, as a whole or on a model."""

_STANDS_READY: _Stand = ("ready", None, None, None)


class _Owner(NamedTuple):
    """A project with what decides how it stands on every model. lost: it has no key to use."""

    project: Project
    keys: Sequence[Key]
    marks: Sequence[Mark]
    lost: tuple[str, str] | None


def _owner(configured: Configured, project: Project) -> _Owner:
    keys = configured.keys_of.get(project.id, ())
    return _Owner(project, keys, configured.marks_of.get(project.id, ()), _keyless(keys))


def _project_status(
    configured: Configured, live: _Live, project: Project, away: Collection[str]
) -> ProjectStatus:
    owner = _owner(configured, project)
    models = [
        _model_status(configured, live, owner, model)
        for model in _models(configured, live, owner)
        if model not in away
    ]
    keys = [KeyStatus(each.name, each.fingerprint, each.state, each.reason) for each in owner.keys]
    state, reason, until, rule = _project_stand(live, owner, models)
    end, left_s = _end(live, until)
    return ProjectStatus(project.name, project.tier, state, models, keys, reason, end, left_s, rule)


def _models(configured: Configured, live: _Live, owner: _Owner) -> list[str]:
    """Models with a quota row of the project's, a mark, or use today."""
    project_id, now_ms = owner.project.id, live.now_ms
    used = [
        model
        for model, views in live.views.items()
        if (view := views.get(project_id)) is not None and _in_use(view, now_ms)
    ]
    named = configured.named_models(owner.project)
    if not named and not owner.marks:
        return used
    return sorted({*used, *named, *(each.model for each in owner.marks if each.model is not None)})


def _in_use(view: View, now_ms: int) -> bool:
    counts = view.requests or view.day_requests or view.utc_requests
    return bool(counts or view.cool_until_ms > now_ms)


def _project_stand(live: _Live, owner: _Owner, models: Sequence[ModelStatus]) -> _Stand:
    """How a project stands: as what stops it as a whole says, else as its best model does."""
    wide = [each for each in owner.marks if each.model is None] if owner.marks else ()
    shut = _shut(owner, wide, offered=True)
    if shut is not None:
        return shut
    cooling = _cooling_in_sql(live, wide)
    best = cooling[0]
    if models:
        best = models[0].state
        if len(models) > 1:
            best = min([each.state for each in models], key=STATES.index)
    return cooling if best == cooling[0] else (best, None, None, None)


def _model_status(configured: Configured, live: _Live, owner: _Owner, model: str) -> ModelStatus:
    limits = configured.limits(owner.project, model)
    view = live.views.get(model, {}).get(owner.project.id)
    marks = [each for each in owner.marks if each.model in {None, model}] if owner.marks else ()
    shut = _shut(owner, marks, offered=limits.is_offered)
    state, reason, until, rule = shut or _stand(live, model, marks, view)
    (rpm, rpm_by), (tpm, tpm_by), (rpd, rpd_by) = limits.stated
    end, left_s = _end(live, until)
    used = view or _UNUSED
    return ModelStatus(
        model,
        state,
        used.in_flight,
        Use(used.requests, rpm, rpm_by),
        Use(used.tokens, tpm, tpm_by),
        Use(used.day_requests, rpd, rpd_by),
        reason,
        end,
        left_s,
        rule,
    )


def _end(live: _Live, until: int | None) -> tuple[str | None, float | None]:
    """An instant, and the seconds until it; of none, none."""
    return (iso(until), (until - live.now_ms) / 1000) if until else (None, None)


def _stand(live: _Live, model: str, marks: Sequence[Mark], view: View | None) -> _Stand:
    """How a project stands that may take requests for the model."""
    if view is None:
        return _cooling_in_sql(live, marks)
    if (until := max(view.cool_until_ms, view.wide_until_ms)) > live.now_ms:
        return ("cooling", *_why_cooling(live, model, marks, until))
    if view.why and view.usable:
        return "full", f"{view.why} used up", view.opens_at_ms or None, None
    return _STANDS_READY


def _shut(owner: _Owner, marks: Sequence[Mark], *, offered: bool) -> _Stand | None:
    """How a project stands that takes nothing for the model; None if it may."""
    for kind, state in _SHUT_BY if marks else ():
        found = next((each for each in marks if each.kind is kind), None)
        if found is not None:
            return state, found.reason, None, found.rule
    if not owner.project.enabled:
        return "disabled", "disabled by an operator", None, None
    if owner.lost is not None:
        return (*owner.lost, None, None)
    return None if offered else ("excluded", "its quota is 0", None, None)


def _keyless(keys: Sequence[Key]) -> tuple[str, str] | None:
    """State and reason of a project without a key to use; None if it has one."""
    for each in keys:
        if each.state is _READY:
            return None
    dead = next((each for each in keys if each.state is KeyState.DEAD), None)
    if dead is not None:
        return "dead", dead.reason or "upstream refuses its keys"
    if not keys:
        return "disabled", "it has no key"
    return "disabled", keys[0].reason or "its keys are disabled"


def _cooling_in_sql(live: _Live, marks: Sequence[Mark]) -> _Stand:
    """A model that is not loaded yet cools as its marks say."""
    cools = [each for each in marks if (each.until_at_ms or 0) > live.now_ms] if marks else ()
    if not cools:
        return _STANDS_READY
    last = max(cools, key=lambda each: each.until_at_ms or 0)
    return "cooling", last.reason, last.until_at_ms, last.rule


def _why_cooling(
    live: _Live, model: str, marks: Sequence[Mark], until: int
) -> tuple[str | None, int, str | None]:
    if until == live.rebuilt.get(model):
        return "the live store was lost: waiting out what it had granted", until, REBUILT
    cools = [each for each in marks if each.until_at_ms is not None]
    nearest = min(cools, key=lambda each: abs((each.until_at_ms or 0) - until), default=None)
    return (nearest.reason, until, nearest.rule) if nearest is not None else (None, until, None)
