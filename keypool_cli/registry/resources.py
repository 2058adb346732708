"""What upstream keeps in one project: which project it is in, and which client made it."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Row, delete, false, func, or_, select, update

from keypool_cli.core.known_sizes import UNTOLD, Size
from keypool_cli.registry.database import Database
from keypool_cli.registry.lookup import chunks
from keypool_cli.registry.names import storable
from keypool_cli.registry.tables import present, projects, resources
from keypool_cli.registry.upsert import upsert


@dataclass(frozen=True, slots=True)
class Resource:
    """A file, a cache, a batch, …; name: upstream's, such as ``files/abc``.

    client_id: who made it; None when that was not done through keypool. until_at_ms: when it is
    surely gone upstream; None: nobody knows. size: as far as upstream told.
    """

    name: str
    project_id: int
    client_id: int | None = None
    until_at_ms: int | None = None
    size: Size = UNTOLD


class Resources:
    """The registry's resources; they make no revision of the catalog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, names: Collection[str]) -> list[Resource]:
        """All that have one of these names, in every project."""
        query = select(resources)
        with self._database.read() as connection:
            rows = [
                row
                for some in chunks(names)
                for row in connection.execute(query.where(resources.c.name.in_(some)))
            ]
        return list(map(_resource, rows))

    def made_by(self, client_id: int, collection: str) -> dict[int, set[str]]:
        """The names in one collection that a client made, by project."""
        query = select(resources.c.project_id, resources.c.name).where(
            resources.c.client_id == client_id,
            resources.c.name.startswith(f"{collection}/", autoescape=True),
        )
        found: dict[int, set[str]] = {}
        with self._database.read() as connection:
            for project_id, name in connection.execute(query):
                found.setdefault(project_id, set()).add(name)
        return found

    def last_project(self, client_id: int | None, among: Collection[int]) -> int | None:
        """Which of these projects the client's newest resource that may still exist is in.

        client_id None: whoever comes without a name has all that nobody else has.
        """
        still = or_(
            resources.c.until_at_ms.is_(None), resources.c.until_at_ms > self._database.now_ms()
        )
        query = (
            select(resources.c.project_id)
            .where(resources.c.client_id == client_id, still)
            .order_by(resources.c.at_ms.desc())
            .limit(100)
        )
        with self._database.read() as connection:
            return next((each for each in connection.scalars(query) if each in among), None)

    def keep(self, found: Sequence[Resource], *, made: bool) -> None:
        """Remember resources; those of projects that are gone are left out.

        made: they have just been made, so whoever had the name before lost it; otherwise what is
        known already stays. Those surely gone upstream are forgotten on the way.
        """
        now_ms = self._database.now_ms()
        with self._database.write() as connection:
            connection.execute(delete(resources).where(resources.c.until_at_ms < now_ms))
            ids = projects.c.id.in_({each.project_id for each in found})
            known = set(connection.scalars(select(projects.c.id).where(ids, present)))
            rows = [_row(each, now_ms) for each in found if each.project_id in known]
            newer = None if made else lambda _: false()
            upsert(connection, resources, rows, key=("name", "project_id"), newer=newer)

    def measure(self, name: str, project_id: int, size: Size) -> None:
        """Remember how large one is, as an answer told; what is known already stays."""
        here = (resources.c.name == name) & (resources.c.project_id == project_id)
        told = {
            field: func.coalesce(resources.c[field], value)
            for field, value in _columns(size).items()
            if value is not None
        }
        with self._database.write() as connection:
            connection.execute(update(resources).where(here).values(told))

    def forget(self, name: str, project_id: int) -> None:
        """Forget one: it has been deleted upstream."""
        here = (resources.c.name == name) & (resources.c.project_id == project_id)
        with self._database.write() as connection:
            connection.execute(delete(resources).where(here))


def _resource(row: Row[Any]) -> Resource:
    size = Size(row.tokens, row.mime_type, row.size_bytes, row.seconds)
    return Resource(row.name, row.project_id, row.client_id, row.until_at_ms, size)


def _row(each: Resource, at_ms: int) -> dict[str, object]:
    row = asdict(each) | _columns(each.size) | {"at_ms": at_ms}
    del row["size"]
    return row


def _columns(size: Size) -> dict[str, object]:
    return asdict(size) | {"mime_type": storable(size.mime_type)}
