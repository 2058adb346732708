"""The first schema. What the columns mean is said in registry/tables.py."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make every table."""
    _registry()
    _projects()
    _keys()
    _pools()
    _quotas()
    _marks()
    _live()
    _clients()
    _events()


def _id(table: str) -> tuple[sa.Column[int], sa.PrimaryKeyConstraint]:
    return sa.Column("id", sa.Integer), sa.PrimaryKeyConstraint("id", name=f"pk_{table}")


def _required(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _unique(table: str, column: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(column, name=f"uq_{table}_{column}")


def _belongs_to(
    table: str, column: str, owner: str, *, ondelete: str | None = "CASCADE"
) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{owner}.id"], name=f"fk_{table}_{column}_{owner}", ondelete=ondelete
    )


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def _registry() -> None:
    table = op.create_table(
        "registry",
        sa.Column("id", sa.Integer, autoincrement=False),
        _required("revision", sa.BigInteger()),
        sa.Column("vault_salt", sa.LargeBinary),
        sa.Column("vault_check", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name="pk_registry"),
    )
    op.bulk_insert(table, [{"id": 1, "revision": 0}])


def _projects() -> None:
    op.create_table(
        "projects",
        *_id("projects"),
        _required("name", sa.String(100)),
        sa.Column("tier", sa.String(100)),
        _required("priority", sa.Integer()),
        sa.Column("billing_account", sa.String(100)),
        _required("labels", sa.JSON()),
        _required("enabled", sa.Boolean()),
        _required("reset_at_ms", sa.BigInteger()),
        _required("created_at_ms", sa.BigInteger()),
        _unique("projects", "name"),
        sqlite_autoincrement=True,
    )
    _index("projects", "billing_account")


def _keys() -> None:
    op.create_table(
        "keys",
        *_id("keys"),
        _required("uid", sa.LargeBinary()),
        _required("name", sa.String(100)),
        _required("project_id", sa.Integer()),
        _required("sealed", sa.LargeBinary()),
        _required("secret_hmac", sa.String(64)),
        _required("state", sa.String(20)),
        sa.Column("rule", sa.String(100)),
        sa.Column("reason", sa.Text),
        _required("labels", sa.JSON()),
        _required("created_at_ms", sa.BigInteger()),
        _unique("keys", "uid"),
        _unique("keys", "name"),
        _unique("keys", "secret_hmac"),
        _belongs_to("keys", "project_id", "projects", ondelete=None),
        sqlite_autoincrement=True,
    )
    _index("keys", "project_id")


def _pools() -> None:
    op.create_table(
        "pools",
        *_id("pools"),
        _required("name", sa.String(100)),
        _required("policy", sa.String(20)),
        _required("wait_s", sa.Float()),
        _required("created_at_ms", sa.BigInteger()),
        _unique("pools", "name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "pool_projects",
        _required("pool_id", sa.Integer()),
        _required("project_id", sa.Integer()),
        sa.PrimaryKeyConstraint("pool_id", "project_id", name="pk_pool_projects"),
        _belongs_to("pool_projects", "pool_id", "pools"),
        _belongs_to("pool_projects", "project_id", "projects"),
    )
    _index("pool_projects", "project_id")


def _quotas() -> None:
    op.create_table(
        "quotas",
        *_id("quotas"),
        _required("scope", sa.Text()),
        _required("provenance", sa.String(20)),
        sa.Column("tier", sa.String(100)),
        sa.Column("project_id", sa.Integer),
        sa.Column("model", sa.Text),
        *(sa.Column(name, sa.BigInteger) for name in ("rpm", "tpm", "rpd", "in_flight")),
        _required("at_ms", sa.BigInteger()),
        _unique("quotas", "scope"),
        _belongs_to("quotas", "project_id", "projects"),
    )
    _index("quotas", "project_id")
    op.create_table(
        "aliases",
        _required("name", sa.Text()),
        _required("model", sa.Text()),
        _required("at_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("name", name="pk_aliases"),
    )


def _marks() -> None:
    op.create_table(
        "marks",
        *_id("marks"),
        _required("place", sa.Text()),
        _required("scope", sa.String(20)),
        _required("kind", sa.String(20)),
        _required("rule", sa.String(100)),
        _required("reason", sa.Text()),
        _required("at_ms", sa.BigInteger()),
        _required("granted_at_ms", sa.BigInteger()),
        sa.Column("project_id", sa.Integer),
        sa.Column("model", sa.Text),
        sa.Column("billing_account", sa.String(100)),
        sa.Column("until_at_ms", sa.BigInteger),
        _required("source", sa.String(100)),
        sa.Column("lease_id", sa.Text),
        _unique("marks", "place"),
        _belongs_to("marks", "project_id", "projects"),
    )
    _index("marks", "project_id")
    _index("marks", "billing_account")


def _live() -> None:
    op.create_table(
        "day_counts",
        _required("project_id", sa.Integer()),
        _required("model", sa.Text()),
        _required("day", sa.String(20)),
        _required("requests", sa.BigInteger()),
        _required("emptied_at_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("project_id", "model", "day", name="pk_day_counts"),
        _belongs_to("day_counts", "project_id", "projects"),
    )
    op.create_table(
        "live_epochs",
        _required("model", sa.Text()),
        _required("epoch", sa.Text()),
        _required("at_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("model", name="pk_live_epochs"),
    )
    op.create_table(
        "calibrations",
        _required("model", sa.Text()),
        _required("payload", sa.JSON()),
        _required("at_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("model", name="pk_calibrations"),
    )


def _clients() -> None:
    op.create_table(
        "clients",
        *_id("clients"),
        _required("name", sa.String(100)),
        _required("token_hash", sa.String(64)),
        sa.Column("pools", sa.JSON),
        sa.Column("models", sa.JSON),
        _required("scopes", sa.JSON()),
        sa.Column("rpm", sa.BigInteger),
        sa.Column("tpm", sa.BigInteger),
        _required("reports", sa.String(20)),
        _required("created_at_ms", sa.BigInteger()),
        sa.Column("expires_at_ms", sa.BigInteger),
        sa.Column("last_used_at_ms", sa.BigInteger),
        sa.Column("revoked_at_ms", sa.BigInteger),
        _unique("clients", "name"),
        _unique("clients", "token_hash"),
        sqlite_autoincrement=True,
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", _BIG_ID),
        _required("at_ms", sa.BigInteger()),
        _required("kind", sa.String(40)),
        _required("actor", sa.Text()),
        _required("host", sa.Text()),
        _required("subject", sa.Text()),
        sa.Column("reason", sa.Text),
        _required("detail", sa.JSON()),
        sa.Column("lease_id", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        _unique("events", "lease_id"),
        sqlite_autoincrement=True,
    )
    _index("events", "at_ms")
    _index("events", "kind", "id")
    _index("events", "subject", "id")
