"""The schema's version: checked with one query at each opening, migrated when it is behind."""

from contextlib import nullcontext
from pathlib import Path

from sqlalchemy import inspect as inspect_database
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from keypool_cli.errors import ConflictError
from keypool_cli.registry.database import Database, alone, errors_as_ours
from keypool_cli.registry.patience import in_no_hurry

HEAD = "0004"
"""The newest migration's revision; revisions are numbers that sort as text."""

_ADVISORY_LOCK = 0x6B657970  # "keyp": any number, the same in every keypool


class NewerSchemaError(ConflictError):
    """A newer keypool has migrated the database."""

    def __init__(self, database: Database, found: str) -> None:
        super().__init__(
            f"database {database.shown_url} has schema {found}, newer than {HEAD} of this keypool",
            hint="upgrade keypool here to the version that others use on this database",
        )


def ensure(database: Database) -> None:
    """Bring the database to the schema this code knows, on first use or after an upgrade.

    Any number of processes may do this at once: one migrates, the others wait for it. Raises
    ConflictError if the schema is newer than this code.
    """
    if _is_behind(database):
        # A migration of SQLite may outlast the time that writers wait for each other.
        with nullcontext() if database.file is None else alone(database.file):
            if _is_behind(database):  # else another process was quicker
                _migrate(database)


def version(database: Database) -> str | None:
    """The schema's revision, or None for a database that keypool has not used yet."""
    with errors_as_ours(database.shown_url), database.reader.connect() as connection:
        try:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        except DBAPIError:
            connection.rollback()
            if inspect_database(connection).has_table("alembic_version"):
                raise
            return None
    return None if found is None else str(found)


def _is_behind(database: Database) -> bool:
    found = version(database)
    if found is not None and found > HEAD:
        raise NewerSchemaError(database, found)
    return found != HEAD


def _migrate(database: Database) -> None:
    # Slow to import, and rarely needed. Not inside the transaction, which keeps others waiting.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    folder = str(Path(__file__).parent / "migrations")
    config = Config()
    config.set_main_option("script_location", folder.replace("%", "%%"))
    with database.write() as connection, in_no_hurry(connection):
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _ADVISORY_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)
