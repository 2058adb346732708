"""Keeping one refusal: its marks, dead keys, learned limits, aliases, and its line in the log.

A mark under a model's alias sets aside nothing, for requests are counted, and chosen for, in the
bucket's model: so it goes there, also when the alias is learned later than the mark.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from keypool_cli.core.model import KeyState, Mark, MarkKind, MarkScope
from keypool_cli.registry.catalog import mark_of
from keypool_cli.registry.change import Change
from keypool_cli.registry.names import storable
from keypool_cli.registry.quotas import learn_aliases, learn_limits
from keypool_cli.registry.tables import aliases, events, keys, marks, projects
from keypool_cli.registry.upsert import upsert
from keypool_cli.registry.values import DeadKey, Recorded, Refusal
from keypool_cli.registry.vault import SHOWN_DIGITS


def record(done: Change, refusal: Refusal) -> Recorded:
    """Write what a refusal decided, unless its lease has been recorded before."""
    if _is_repeated(done.connection, refusal.lease_id):
        return Recorded(repeated=True)
    for name, model in learn_aliases(done, refusal.aliases).items():
        _move_marks(done, name, model)
    standing: list[Mark] = []
    void: list[Mark] = []
    for mark in (_on_bucket(done, _normal(each)) for each in refusal.marks):
        if _is_void(done.connection, mark):
            void.append(mark)
        else:
            standing.append(_write(done, mark))
    dead = tuple(key.key_id for key in refusal.dead_keys if _kill(done, key, refusal))
    learn_limits(done, refusal.limits)
    outcome = Recorded(standing=tuple(standing), void=tuple(void), dead_key_ids=dead)
    _log(done, refusal, outcome)
    return outcome


def _is_repeated(connection: Connection, lease_id: str | None) -> bool:
    if lease_id is None:
        return False
    return connection.scalar(select(events.c.id).where(events.c.lease_id == lease_id)) is not None


def _normal(mark: Mark) -> Mark:
    """``mark`` with storable text, and with what its scope needs only.

    On a billing account that is not configured it is the project's. On one that is, it does not
    depend on the project that told of it, which may be removed.
    """
    scope = mark.scope
    if scope is MarkScope.BILLING and mark.billing_account is None:
        scope = MarkScope.PROJECT
    return replace(
        mark,
        scope=scope,
        project_id=None if scope is MarkScope.BILLING else mark.project_id,
        model=storable(mark.model) if scope is MarkScope.PROJECT_MODEL else None,
        billing_account=mark.billing_account if scope is MarkScope.BILLING else None,
        reason=storable(mark.reason) or "",
    )


def _move_marks(done: Change, name: str, model: str) -> None:
    """Let what stands under an alias that is new stand under the bucket's model."""
    here = marks.c.model == name
    for row in done.connection.execute(select(marks).where(here)).all():
        _write(done, replace(mark_of(row), model=model))
    done.connection.execute(delete(marks).where(here))


def _on_bucket(done: Change, mark: Mark) -> Mark:
    """``mark`` under its bucket's model; other daemons hear of that by a new revision.

    Whoever made it did not know the alias yet, and has marked the alias only in the live store.
    """
    if mark.model is None:
        return mark
    bucket = select(aliases.c.model).where(aliases.c.name == mark.model)
    model = done.connection.scalar(bucket)
    if model is None:
        return mark
    done.touch()
    return replace(mark, model=model)


def _is_void(connection: Connection, mark: Mark) -> bool:
    """Whether a reset came after the call was granted, or nothing is left to mark."""
    last_reset = select(func.max(projects.c.reset_at_ms))
    if mark.scope is MarkScope.BILLING:
        # A reset of any project clears its account, so it voids what others report of it.
        query = last_reset.where(projects.c.billing_account == mark.billing_account)
    else:
        query = last_reset.where(projects.c.id == mark.project_id)
    reset_at_ms = connection.scalar(query)
    place = _place(replace(mark, kind=MarkKind.RESET))
    of_model = connection.scalar(select(marks.c.granted_at_ms).where(marks.c.place == place))
    return reset_at_ms is None or mark.granted_at_ms <= max(reset_at_ms, of_model or 0)


def _write(done: Change, mark: Mark) -> Mark:
    """Write a mark unless a longer cooldown stands there; returns the one that stands."""
    place = _place(mark)
    stands = done.connection.execute(select(marks).where(marks.c.place == place)).one_or_none()
    if stands is not None and not _outlasts(mark, stands):
        return mark_of(stands)
    upsert(done.connection, marks, [mark_row(mark)], key="place")
    if mark.scope is not MarkScope.PROJECT_MODEL or mark.kind is not MarkKind.COOL:
        done.touch()
    return mark


def _outlasts(mark: Mark, stands: Row[Any]) -> bool:
    if mark.kind is not MarkKind.COOL:
        return bool(mark.at_ms >= stands.at_ms)
    return bool((mark.until_at_ms or 0) > (stands.until_at_ms or 0))


def _place(mark: Mark) -> str:
    match mark.scope:
        case MarkScope.BILLING:
            return f"{mark.kind}/billing:{mark.billing_account}"
        case MarkScope.PROJECT:
            return f"{mark.kind}/project:{mark.project_id}"
        case MarkScope.PROJECT_MODEL:
            return f"{mark.kind}/project:{mark.project_id}/model:{mark.model}"


def mark_row(mark: Mark) -> dict[str, object]:
    """A mark as it is stored."""
    columns = (column.name for column in marks.c if column.name not in ("id", "place"))
    return {name: getattr(mark, name) for name in columns} | {"place": _place(mark)}


def _kill(done: Change, dead: DeadKey, refusal: Refusal) -> bool:
    """Set a key dead. One that an operator disabled stays as it is: a reset must not revive it."""
    row = done.connection.execute(select(keys).where(keys.c.id == dead.key_id)).one_or_none()
    if row is None or row.state != KeyState.READY:
        return False
    if dead.fingerprint not in (None, row.secret_hmac[:SHOWN_DIGITS]):
        return False
    values = {
        "state": KeyState.DEAD.value,
        "rule": dead.rule,
        "reason": storable(dead.reason),
    }
    done.connection.execute(update(keys).where(keys.c.id == row.id).values(values))
    done.event("key.dead", row.name, detail={"rule": dead.rule, "source": refusal.source})
    return True


def _log(done: Change, refusal: Refusal, outcome: Recorded) -> None:
    detail = {
        **refusal.detail,
        "marks": [_told(mark) for mark in outcome.standing],
        "void": [_told(mark) for mark in outcome.void],
        "dead_keys": list(outcome.dead_key_ids),
    }
    row = done.event_row(
        "refusal",
        refusal.subject,
        actor=refusal.source,
        reason=storable(refusal.reason),
        detail=detail,
        lease_id=refusal.lease_id,
    )
    # At once, so that the same lease further on in this transaction is seen as a repetition.
    done.connection.execute(insert(events).values(row))


def _told(mark: Mark) -> dict[str, object]:
    """A mark as the log shows it."""
    told = {
        "scope": mark.scope.value,
        "kind": mark.kind.value,
        "rule": mark.rule,
        "model": mark.model,
        "billing_account": mark.billing_account,
        "until_at_ms": mark.until_at_ms,
    }
    return {name: value for name, value in told.items() if value is not None}
