"""The registry: one object per subject, on one database."""

from collections.abc import Callable

from sqlalchemy import update

from keypool_cli.core.model import Catalog
from keypool_cli.errors import KeypoolError
from keypool_cli.registry import catalog, database, schema, tables
from keypool_cli.registry.calibrations import Calibrations
from keypool_cli.registry.clients import Clients
from keypool_cli.registry.day_counts import DayCounts
from keypool_cli.registry.events import Events
from keypool_cli.registry.keys import Keys
from keypool_cli.registry.live_epochs import LiveEpochs
from keypool_cli.registry.lockbox import Lockbox
from keypool_cli.registry.marks import Marks
from keypool_cli.registry.pools import Pools
from keypool_cli.registry.projects import Projects
from keypool_cli.registry.quotas import Quotas
from keypool_cli.registry.resources import Resources
from keypool_cli.registry.seals import Seals


class Registry:
    """What is configured, and what must outlive the live store.

    May be used by several threads. Every change is one transaction with its events; a change of
    what :meth:`catalog` holds raises the revision, except cooldowns of one project and model:
    those are written to the live store first, and reloading everything for each would be slow.
    Every method raises UnreachableError when the database cannot be used.
    """

    def __init__(self, db: database.Database, master_key: bytes | None) -> None:
        """Use :meth:`open` instead, which brings the schema up to date first."""
        self._database = db
        self._lockbox = Lockbox(db, master_key)
        self.keys = Keys(db, self._lockbox)
        self.seals = Seals(self._lockbox)
        self.projects = Projects(db, self.seals)
        self.pools = Pools(db)
        self.quotas = Quotas(db)
        self.marks = Marks(db)
        self.day_counts = DayCounts(db)
        self.live_epochs = LiveEpochs(db)
        self.calibrations = Calibrations(db)
        self.clients = Clients(db)
        self.events = Events(db)
        self.resources = Resources(db)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        master_key: bytes | None,
        clock: Callable[[], int] = database.now_ms,
    ) -> "Registry":
        """The registry at an SQLAlchemy URL, made or migrated if need be.

        master_key: 32 bytes, or None if no secret will be touched; it is checked when the first
        one is, or by :meth:`check_master_key`. clock: what dates changes, in ms since the epoch.
        Raises UsageError for a malformed URL, UnreachableError within 3 s, and ConflictError if a
        newer keypool has migrated the database.
        """
        db = database.connect(url, clock=clock)
        try:
            schema.ensure(db)
        except KeypoolError:
            db.close()
            raise
        return cls(db, master_key)

    def close(self) -> None:
        """Close the connections; the registry opens new ones if it is used again."""
        self._database.close()

    def is_sealed(self) -> bool:
        """Whether this registry is tied to a master key."""
        return self._lockbox.is_sealed()

    def check_master_key(self) -> None:
        """Raise NotPermittedError unless the master key opens this registry's secrets.

        A registry that never held a secret is tied to this master key from now on.
        """
        self._lockbox.vault()

    def revision(self) -> int:
        """The number of the newest change of the catalog; one cheap query."""
        with self._database.read() as connection:
            return catalog.revision(connection)

    def try_writing(self) -> None:
        """Raise UnreachableError unless the database takes writes; what it holds stays."""
        with self._database.write() as connection:
            # SQLite writes nothing where a row stays as it is.
            for step in (1, -1):
                revision = tables.registry.c.revision + step
                connection.execute(update(tables.registry).values(revision=revision))

    def catalog(self) -> Catalog:
        """Everything configured, as of one revision; 100,000 keys take about a second."""
        with self._database.read() as connection:
            return catalog.load(connection)
