"""An operator's reset: which marks and dead keys it clears, and since when refusals are void."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, delete, select, true, update

from keypool_cli.core.model import Key, KeyState, Mark, MarkKind, MarkScope
from keypool_cli.registry.catalog import KEY_COLUMNS, key_of, mark_of
from keypool_cli.registry.change import Change
from keypool_cli.registry.lookup import chunks
from keypool_cli.registry.refusals import mark_row
from keypool_cli.registry.tables import keys, marks, present, projects
from keypool_cli.registry.upsert import upsert
from keypool_cli.registry.values import Reset, ResetReport

MAX_NAMED = 100
"""Projects, marks and keys that one event names; it counts them all."""

_SHUTTING = (MarkKind.EXCLUDE.value, MarkKind.DISABLE.value)
"""What a reset clears with failures only; where a day ends stays known, as learned limits do."""

_VOIDS_MS = 2 * 86_400_000
"""A reset of one model is known so long: the cooldowns of a model end with a day."""


def reset(done: Change, asked: Reset) -> ResetReport:
    """Clear what ``asked`` says and log it."""
    at_ms = done.at_ms if asked.at_ms is None else asked.at_ms
    names = _names(done.connection, asked.project_ids)
    also = _names(done.connection, asked.siblings)
    _void_before(done.connection, asked, at_ms)
    cleared = _clear_marks(done.connection, asked)
    revived = _revive_keys(done.connection, asked) if asked.failures else []
    detail = {
        "projects": [*names, *also][:MAX_NAMED],
        "model": asked.model,
        "failures": asked.failures,
        "counters": asked.counters,
        "marks": [f"{mark.kind} {mark.rule}" for mark in cleared[:MAX_NAMED]],
        "keys": [key.name for key in revived[:MAX_NAMED]],
        "counts": {"projects": len(names) + len(also), "marks": len(cleared), "keys": len(revived)},
    }
    asked_for = names or also
    subject = asked_for[0] if len(asked_for) == 1 else f"{len(asked_for)} projects"
    done.event("reset", subject, detail=detail)
    return ResetReport(tuple(cleared), tuple(revived))


def _names(connection: Connection, project_ids: Collection[int]) -> list[str]:
    found: list[str] = []
    for part in _parts(projects.c.id, project_ids):
        found += connection.scalars(select(projects.c.name).where(part, present))
    return found


def _void_before(connection: Connection, asked: Reset, at_ms: int) -> None:
    """Void earlier calls' marks.

    Of one model, where one is named: what another was refused is not yet here, perhaps.
    """
    everyone = [*asked.project_ids, *asked.siblings]
    if asked.model is not None:
        late = everyone if asked.late is None else asked.late
        rows = [mark_row(_reset_mark(each, asked.model, at_ms)) for each in late]
        earlier = marks.c.granted_at_ms < at_ms
        upsert(connection, marks, rows, key="place", newer=lambda _: earlier)
        return
    for part in _parts(projects.c.id, everyone):
        older = part & (projects.c.reset_at_ms < at_ms)
        connection.execute(update(projects).where(older).values(reset_at_ms=at_ms))


def _reset_mark(project_id: int, model: str, at_ms: int) -> Mark:
    return Mark(
        MarkScope.PROJECT_MODEL,
        MarkKind.RESET,
        rule="reset",
        reason="",
        at_ms=at_ms,
        granted_at_ms=at_ms,
        project_id=project_id,
        model=model,
        until_at_ms=at_ms + _VOIDS_MS,
    )


def _clear_marks(connection: Connection, asked: Reset) -> list[Mark]:
    cools, shut = marks.c.kind == MarkKind.COOL.value, marks.c.kind.in_(_SHUTTING)
    # None of them has a model, so the project's and the account's marks are meant as well.
    model = marks.c.model.is_(None) | (marks.c.model == asked.model)
    concerned = true() if asked.model is None else model
    places = _places(connection, [*asked.project_ids, *asked.siblings])
    wanted = [cools & place for place in places]
    if asked.failures:
        wanted += [shut & part for part in _parts(marks.c.project_id, asked.project_ids)]
    cleared: list[Mark] = []
    for part in wanted:
        rows = connection.execute(select(marks).where(part, concerned)).all()
        connection.execute(delete(marks).where(part, concerned))
        cleared += map(mark_of, rows)
    return cleared


def _places(connection: Connection, project_ids: Collection[int]) -> list[ColumnElement[bool]]:
    """Conditions for the marks of the projects and of their billing accounts."""
    accounts: set[str] = set()
    for part in _parts(projects.c.id, project_ids):
        found = connection.scalars(select(projects.c.billing_account).where(part))
        accounts.update(filter(None, found))
    return [
        *_parts(marks.c.project_id, project_ids),
        *_parts(marks.c.billing_account, accounts),
    ]


def _revive_keys(connection: Connection, asked: Reset) -> list[Key]:
    dead = keys.c.state == KeyState.DEAD.value
    revived: list[Key] = []
    for part in _parts(keys.c.project_id, asked.project_ids):
        rows = connection.execute(select(*KEY_COLUMNS).where(dead, part)).all()
        revived += map(key_of, rows)
    ready = {"state": KeyState.READY.value, "rule": None, "reason": None}
    for part in _parts(keys.c.id, [key.id for key in revived]):
        connection.execute(update(keys).where(part).values(ready))
    return revived


def _parts(column: ColumnElement[object], values: Collection[object]) -> list[ColumnElement[bool]]:
    """Conditions that together choose ``values``."""
    return [column.in_(part) for part in chunks(values)]
