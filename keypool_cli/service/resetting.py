"""``reset``: forget what refusals did to projects, in SQL and live, and tell exactly what changed."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from keypool_cli.core.day import day_of
from keypool_cli.core.model import Key, KeyState, Mark, MarkKind, Project
from keypool_cli.core.natural import natural
from keypool_cli.engine.types import Snapshot, View
from keypool_cli.errors import NotFoundError, UnreachableError
from keypool_cli.registry.change import noting_revisions
from keypool_cli.registry.values import Actor, Reset
from keypool_cli.service.changing import telling
from keypool_cli.service.configured import Configured
from keypool_cli.service.loaded import models_in_reach
from keypool_cli.service.ports import Ports
from keypool_cli.service.resetting_values import Cleared, Held, ResetOutcome, ResetRequest
from keypool_cli.service.standing import told_away
from keypool_cli.service.status import REBUILT
from keypool_cli.service.sync import read_configured, sync_projects


def targets(configured: Configured, request: ResetRequest) -> list[Project]:
    """The projects a reset concerns, billing siblings among them. Raises NotFoundError."""
    chosen = {each.id: each for each in named(configured, request)}
    for project in list(chosen.values()):
        chosen |= {each.id: each for each in configured.siblings(project)}
    return sorted(chosen.values(), key=lambda each: natural(each.name))


def named(configured: Configured, request: ResetRequest) -> Iterable[Project]:
    """The projects that are asked for themselves. Raises NotFoundError."""
    projects = configured.catalog.projects
    if request.everything:
        return projects.values()
    if request.pool is not None:
        return [projects[each] for each in configured.pool(request.pool).project_ids]
    if request.project is not None:
        project = configured.projects.get(request.project)
        if project is None:
            raise NotFoundError(
                f"no project named {request.project!r}", hint="see: keypool project list"
            )
        return [project]
    unknown = [each for each in request.keys if each not in configured.keys]
    if unknown:
        raise NotFoundError(f"no key named {unknown[0]!r}", hint="see: keypool list")
    return [projects[configured.keys[each].project_id] for each in request.keys]


async def reset(
    ports: Ports, configured: Configured, request: ResetRequest, *, by: Actor
) -> ResetOutcome:
    """Clear live state, then SQL, then answer. Answers to calls made before no longer cool.

    Projects that only share the billing account lose their cooldowns and nothing else: what they
    have used of their own quota, and what refusals shut of them, nobody asked about.

    Where one model is named, projects that cool as a whole are left alone: that is not the model's
    alone to lift, and is told in ``held``.
    """
    at_ms = await ports.engine.now_ms()
    if request.model is not None:
        request = replace(request, model=configured.bucket(request.model))
    projects, own = targets(configured, request), {each.id for each in named(configured, request)}
    only_cooldowns = replace(request, counters=False, failures=False)
    asks = {each.id: request if each.id in own else only_cooldowns for each in projects}
    stopping = _stopping(configured, request, projects, at_ms)
    held = [Held(m, each.name) for m, each in stopping.items() if _is_left(m, asks[each.id])]
    ids = [each.id for each in projects if not _stays(configured, asks[each.id], each, stopping)]
    if held and not ids:
        return ResetOutcome((), tuple(each.name for each in projects), (), tuple(held))
    there, away = await models_in_reach(ports)
    own_ids, others = [i for i in ids if i in own], [i for i in ids if i not in own]
    before = await _live_before(ports, request, own_ids, there)
    if others:
        for model, views in (await _live_before(ports, only_cooldowns, others, there)).items():
            before[model] += views
    asked = Reset(
        own_ids,
        model=request.model,
        failures=request.failures,
        counters=request.counters,
        siblings=others,
        at_ms=at_ms,
        late=None if request.model in {None, *away} else _set_aside(before, at_ms),
    )
    with noting_revisions() as made, _cleared_already(request):
        report = await ports.call(ports.registry.marks.reset, asked, by=by, dry_run=request.dry_run)
    ports.unheard.extend(_left_out(away, request))
    if not request.dry_run:
        await _empty_days(ports, before, request, own_ids, at_ms)
        await telling(ports, _spread(ports, ids, made))
    cleared = _cleared(configured, report.marks, report.keys, before, asks)
    return ResetOutcome(
        cleared=tuple(cleared),
        projects=tuple(each.name for each in projects),
        freed=tuple(_freed(configured, projects, held, cleared)),
        held=tuple(held),
    )


async def _spread(ports: Ports, ids: list[int], made: list[int]) -> None:
    await sync_projects(ports, await read_configured(ports), ids, made)


def _set_aside(before: Mapping[str, list[View]], at_ms: int) -> list[int]:
    """Projects that a refusal stops in the live store, whether SQL has got it yet or not."""
    views = (view for views in before.values() for view in views)
    return [each.project_id for each in views if each.cool_until_ms > at_ms or not each.usable]


_SHUTTING = frozenset({MarkKind.EXCLUDE, MarkKind.DISABLE})


def _stopping(
    configured: Configured, request: ResetRequest, projects: Iterable[Project], at_ms: int
) -> dict[Mark, Project]:
    """The marks that stop the projects now on what is asked for; of an account's, the first."""
    found: dict[Mark, Project] = {}
    for project in projects:
        for mark in configured.marks_of.get(project.id, ()):
            asked = request.model is None or mark.model in {None, request.model}
            if asked and (mark.kind in _SHUTTING or (mark.until_at_ms or 0) > at_ms):
                found.setdefault(mark, project)
    return found


def _is_wide(mark: Mark, request: ResetRequest) -> bool:
    """Whether a mark would be lifted, were not one model named that it is not alone on."""
    lifted = request.failures or mark.kind is MarkKind.COOL
    return lifted and request.model is not None and mark.model is None


def _stays(
    configured: Configured, request: ResetRequest, project: Project, stopping: Collection[Mark]
) -> bool:
    marks = configured.marks_of.get(project.id, ())
    return any(each in stopping and _is_wide(each, request) for each in marks)


def _is_left(mark: Mark, request: ResetRequest) -> bool:
    return _is_wide(mark, request) or (mark.kind in _SHUTTING and not request.failures)


def _freed(
    configured: Configured,
    projects: Iterable[Project],
    held: Iterable[Held],
    cleared: Iterable[Cleared],
) -> list[str]:
    """Keys of which something was cleared, and that nothing holds any more as a whole."""
    subjects = {each.subject for each in cleared}
    revived = {each.subject for each in cleared if each.what == "dead key"}
    stopped = {each.mark.project_id for each in held if each.mark.model is None}
    accounts = {each.mark.billing_account for each in held} - {None}
    return [
        key.name
        for project in projects
        if project.enabled and project.id not in stopped
        if project.billing_account not in accounts
        for key in configured.keys_of.get(project.id, ())
        if subjects & {project.name, project.billing_account, key.name}
        if key.state is KeyState.READY or key.name in revived
    ]


def _left_out(
    away: Mapping[str, UnreachableError], request: ResetRequest
) -> Iterator[UnreachableError]:
    """What will not be so when the models out of reach are loaded again."""
    concerned = {each: err for each, err in away.items() if request.model in {None, each}}
    told = told_away(concerned)
    if not concerned:
        return
    if request.dry_run:
        yield UnreachableError(told, hint="what is in the way: keypool doctor")
    elif request.counters:
        yield UnreachableError(
            f"their counters were not emptied: {told}",
            hint="run it again when that node is back; cooldowns end there by themselves then",
        )


async def _live_before(
    ports: Ports, request: ResetRequest, ids: Collection[int], models: Iterable[str]
) -> dict[str, list[View]]:
    """Reset live state (or look at it, in a dry run); answers how it was, by model."""
    found: dict[str, list[View]] = {}
    for model in models:
        if request.model not in {None, model}:
            continue
        if request.dry_run:
            snapshot = await ports.engine.snapshot(model, list(ids))
        else:
            snapshot = await _reset_live(ports, model, list(ids), request)
        found[model] = snapshot.views
    return found


@contextmanager
def _cleared_already(request: ResetRequest) -> Iterator[None]:
    """Tell, where the database then fails, that live state is cleared."""
    try:
        yield
    except UnreachableError as err:
        if request.dry_run:
            raise
        raise UnreachableError(
            f"the reset holds until the live store is loaded anew, not beyond: {err}",
            hint=f"run it again when that is mended: {err.hint}",
        ) from err


async def _reset_live(ports: Ports, model: str, ids: list[int], request: ResetRequest) -> Snapshot:
    also = {"counters": request.counters, "failures": request.failures}
    try:
        return await ports.engine.reset(model, ids, **also)
    except UnreachableError as err:
        raise UnreachableError(
            f"the reset broke off at {model}, and some of it may be cleared: {err}",
            hint=f"run it again when that is mended: {err.hint}",
        ) from err


async def _empty_days(
    ports: Ports, before: dict[str, list[View]], request: ResetRequest, ids: list[int], at_ms: int
) -> None:
    if request.counters:
        day = day_of(at_ms).isoformat()
        for model in before:
            await ports.call(ports.registry.day_counts.empty, ids, model, day, at_ms=at_ms)


_NAMES = {
    MarkKind.COOL: "cooldown",
    MarkKind.EXCLUDE: "exclusion",
    MarkKind.DISABLE: "disabled",
    MarkKind.DAY_END: "day end",
}


def _cleared(
    configured: Configured,
    marks: Iterable[Mark],
    keys: Iterable[Key],
    before: dict[str, list[View]],
    asks: Mapping[int, ResetRequest],
) -> list[Cleared]:
    projects = configured.catalog.projects
    found = [
        Cleared(
            _NAMES[each.kind],
            each.billing_account or projects[each.project_id or 0].name,
            each.model,
            each.rule,
            each.until_at_ms,
        )
        for each in marks
    ]
    found += [Cleared("dead key", each.name, rule=each.rule) for each in keys]
    in_sql = {(each.subject, each.model) for each in found if each.what == "cooldown"}
    for model, views in before.items():
        for view in views:
            name = projects[view.project_id].name
            lively = _cleared_live(view, name, model, asks[view.project_id])
            found += [
                each
                for each in lively
                if each.what != "cooldown" or not in_sql & {(name, model), (name, None)}
            ]
    return found


def _cleared_live(view: View, name: str, model: str, request: ResetRequest) -> list[Cleared]:
    found = []
    if view.cool_until_ms > 0 and view.why == "cooldown":
        cool = Cleared("cooldown", name, model, until_at_ms=view.cool_until_ms)
        found.append(replace(cool, rule=REBUILT))
    if request.counters and (view.requests or view.tokens):
        was = f"{view.requests} requests, {view.tokens} tokens"
        found.append(Cleared("minute window", name, model, was=was))
    if request.counters and view.day_requests:
        found.append(Cleared("day count", name, model, was=f"{view.day_requests} requests"))
    if request.failures and view.failures:
        found.append(Cleared("failures", name, model, was=str(view.failures)))
    return found


def dead_keys(configured: Configured, projects: Iterable[Project]) -> list[Key]:
    """Keys of projects that a plain reset leaves dead."""
    return [
        key
        for project in projects
        for key in configured.keys_of.get(project.id, ())
        if key.state is KeyState.DEAD
    ]
