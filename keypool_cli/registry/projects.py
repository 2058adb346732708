"""Projects: found, made, changed and removed."""

from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Unpack

from sqlalchemy import Connection, delete, func, select, update

from keypool_cli.core.model import MarkKind, Project
from keypool_cli.errors import ConflictError, UsageError
from keypool_cli.registry.catalog import project_of
from keypool_cli.registry.change import Change, change
from keypool_cli.registry.database import Database
from keypool_cli.registry.egress import egress_columns
from keypool_cli.registry.lookup import chunks, named
from keypool_cli.registry.names import checked_account, checked_labels, checked_tier, new_name
from keypool_cli.registry.seals import Seals
from keypool_cli.registry.tables import (
    keys,
    marks,
    pool_projects,
    present,
    projects,
    quotas,
    resources,
)
from keypool_cli.registry.upsert import upsert
from keypool_cli.registry.values import Actor, ProjectFields

MAX_PRIORITY = 1_000_000


class Projects:
    """The registry's projects. Unknown names raise NotFoundError."""

    def __init__(self, database: Database, seals: Seals) -> None:
        self._database = database
        self._seals = seals

    def find(self, name: str) -> Project:
        """The project of this name."""
        with self._database.read() as connection:
            return project_of(named(connection, projects, name))

    def create(self, name: str, *, by: Actor, **fields: Unpack[ProjectFields]) -> Project:
        """A new project without keys; raises ConflictError if the name is taken."""
        name, values = new_name(name, "project"), _checked_fields(fields)
        values |= egress_columns(fields, name, self._seals)
        with change(self._database, by) as done:
            if done.connection.scalar(
                select(projects.c.id).where(projects.c.name == name, present)
            ):
                raise ConflictError(f"a project named {name!r} exists already")
            write_projects(done.connection, [project_row(done, name, values)])
            return project_of(named(done.connection, projects, name))

    def set(self, name: str, *, by: Actor, **fields: Unpack[ProjectFields]) -> Project:
        """The project with ``fields`` changed; what is not named stays."""
        values = _checked_fields(fields) | egress_columns(fields, name, self._seals)
        with change(self._database, by) as done:
            before = named(done.connection, projects, name)
            changed = {k: v for k, v in values.items() if getattr(before, k) != v}
            if not changed:
                return project_of(before)
            here = projects.c.id == before.id
            done.connection.execute(update(projects).where(here).values(changed))
            was = {field: getattr(before, field) for field in changed}
            detail = {"before": _shown(was), "after": _shown(changed)}
            done.event("project.changed", name, detail=detail)
            return project_of(named(done.connection, projects, name))

    def remove(self, name: str, *, by: Actor, with_keys: bool = False) -> Project:
        """Remove a project with its limits; returns it as it was.

        What upstream holds against it, counts and cooldowns, is kept for one of the same name until
        :meth:`forget`. Raises ConflictError while it has keys, unless ``with_keys`` removes them too.
        """
        with change(self._database, by) as done:
            project = project_of(named(done.connection, projects, name))
            its_keys = keys.c.project_id == project.id
            count = done.connection.scalar(select(func.count()).where(its_keys)) or 0
            if count and not with_keys:
                raise still_has_keys(name, count)
            done.connection.execute(delete(keys).where(its_keys))
            _strip(done.connection, project.id, done.at_ms)
            done.event("project.removed", name, detail={"keys": count})
            return project

    def forget(self, before_ms: int, *, by: Actor) -> list[int]:
        """Forget projects removed at or before an instant that no cooldown holds; their ids."""
        cooled = select(marks.c.project_id).where(marks.c.kind == MarkKind.COOL.value)
        over = (projects.c.removed_at_ms <= before_ms) & projects.c.id.not_in(
            cooled.where(marks.c.project_id.is_not(None))
        )
        with change(self._database, by) as done:
            ids = list(done.connection.scalars(select(projects.c.id).where(over)))
            for part in chunks(ids):
                done.connection.execute(delete(projects).where(projects.c.id.in_(part)))
                done.touch()
            return ids


def still_has_keys(name: str, count: int) -> ConflictError:
    """Why a project cannot be removed."""
    return ConflictError(
        f"project {name!r} still has {count} key{'s' if count > 1 else ''}",
        hint=f"they can go with it: keypool project remove {quote(name)} --with-keys",
    )


def _strip(connection: Connection, project_id: int, at_ms: int) -> None:
    """Leave of a project only what upstream counts; whoever adds it again means it to be used."""
    for table in (quotas, pool_projects, resources):
        connection.execute(delete(table).where(table.c.project_id == project_id))
    lasting = marks.c.kind.in_([MarkKind.COOL.value, MarkKind.DAY_END.value])
    connection.execute(delete(marks).where(marks.c.project_id == project_id, ~lasting))
    values = {"enabled": False, "egress_proxy": None, "egress_sealed": None, "removed_at_ms": at_ms}
    connection.execute(update(projects).where(projects.c.id == project_id).values(values))


def write_projects(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows of new projects; one that was removed is the same as before."""
    upsert(connection, projects, rows, key="name", keep=("reset_at_ms",))


def project_row(done: Change, name: str, values: Mapping[str, object]) -> dict[str, object]:
    """A row for a new project with a checked name, and its event."""
    done.event("project.created", name, detail=_shown(values))
    row: dict[str, object] = {
        "name": name,
        "tier": None,
        "priority": 0,
        "billing_account": None,
        "labels": {},
        "enabled": True,
        "reset_at_ms": 0,
        "created_at_ms": done.at_ms,
        "egress_proxy": None,
        "egress_sealed": None,
        "removed_at_ms": None,
    }
    return row | dict(values)


def _shown(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if name != "egress_sealed"}


def checked_priority(priority: int) -> int:
    """``priority``; raises UsageError beyond a million either way."""
    if abs(priority) > MAX_PRIORITY:
        raise UsageError(f"a priority lies between -{MAX_PRIORITY} and {MAX_PRIORITY}")
    return priority


def _checked_fields(fields: ProjectFields) -> dict[str, object]:
    values: dict[str, object] = {k: v for k, v in fields.items() if k != "egress_proxy"}
    tier, account, labels = values.get("tier"), values.get("billing_account"), values.get("labels")
    if isinstance(tier, str):
        values["tier"] = checked_tier(tier)
    if isinstance(account, str):
        values["billing_account"] = checked_account(account)
    if isinstance(labels, Mapping):
        values["labels"] = checked_labels(labels)
    if "priority" in fields:
        checked_priority(fields["priority"])
    return values
