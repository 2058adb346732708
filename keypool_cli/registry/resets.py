"""An operator's reset: which marks and dead keys it clears, and since when refusals are void."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, delete, select, update

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

_SETBACKS = (MarkKind.COOL, MarkKind.EXCLUDE, MarkKind.DISABLE)
"""What a reset with failures clears; where a day ends stays known, as learned limits do."""

_VOIDS_MS = 2 * 86_400_000
"""A reset of one model is known so long: the cooldowns of a model end with a day."""


def reset(done: Change, asked: Reset) -> ResetReport:
    """Clear what ``asked`` says and log it."""
    at_ms = done.at_ms if asked.at_ms is None else asked.at_ms
    names = _void_before(done.connection, asked, at_ms)
    cleared = _clear_marks(done.connection, asked)
    revived = _revive_keys(done.connection, asked) if asked.failures else []
    detail = {
        "projects": names[:MAX_NAMED],
        "model": asked.model,
        "failures": asked.failures,
        "marks": [f"{mark.kind} {mark.rule}" for mark in cleared[:MAX_NAMED]],
        "keys": [key.name for key in revived[:MAX_NAMED]],
        "counts": {"projects": len(names), "marks": len(cleared), "keys": len(revived)},
    }
    subject = names[0] if len(names) == 1 else f"{len(names)} projects"
    done.event("reset", subject, detail=detail)
    return ResetReport(tuple(cleared), tuple(revived))


def _void_before(connection: Connection, asked: Reset, at_ms: int) -> list[str]:
    """Void earlier calls' marks; returns the names of the projects.

    Of one model, where one is named: what another was refused is not yet here, perhaps.
    """
    names: list[str] = []
    for part in _parts(projects.c.id, asked.project_ids):
        names += connection.scalars(select(projects.c.name).where(part, present))
        if asked.model is None:
            older = part & (projects.c.reset_at_ms < at_ms)
            connection.execute(update(projects).where(older).values(reset_at_ms=at_ms))
    if asked.model is not None:
        late = asked.project_ids if asked.late is None else asked.late
        rows = [mark_row(_reset_mark(each, asked.model, at_ms)) for each in late]
        earlier = marks.c.granted_at_ms < at_ms
        upsert(connection, marks, rows, key="place", newer=lambda _: earlier)
    return names


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
    kinds = _SETBACKS if asked.failures else (MarkKind.COOL,)
    wanted: ColumnElement[bool] = marks.c.kind.in_([kind.value for kind in kinds])
    if asked.model is not None:
        # None of them has a model, so the project's and the account's marks are meant as well.
        wanted &= marks.c.model.is_(None) | (marks.c.model == asked.model)
    cleared: list[Mark] = []
    for part in _places(connection, asked.project_ids):
        rows = connection.execute(select(marks).where(wanted, part)).all()
        connection.execute(delete(marks).where(wanted, part))
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
