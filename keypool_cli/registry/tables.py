"""The registry's tables. Values are made of their rows elsewhere; nothing else knows columns.

Instants and amounts are 64 bits wide. Ids are never used twice, also after a row is removed: a
lease may still name the id of a key that is gone.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_BIG_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER ids only
_OPTIONAL_JSON = JSON(none_as_null=True)

registry = Table(  # one row, id 1; writers lock it, so that their changes have one order
    "registry",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    Column("vault_salt", LargeBinary),
    Column("vault_check", LargeBinary),
)

projects = Table(
    "projects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("tier", String(100)),
    Column("priority", Integer, nullable=False),
    Column("billing_account", String(100), index=True),
    Column("labels", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("reset_at_ms", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("egress_proxy", Text),  # as it may be shown
    Column("egress_sealed", LargeBinary),  # with its password
    Column("removed_at_ms", BigInteger),  # kept for its counts and cooldowns, lest it come back
    sqlite_autoincrement=True,
)

present = projects.c.removed_at_ms.is_(None)

keys = Table(
    "keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uid", LargeBinary, nullable=False, unique=True),  # random; sealed binds to it
    Column("name", String(100), nullable=False, unique=True),
    Column("project_id", ForeignKey(projects.c.id), nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("secret_hmac", String(64), nullable=False, unique=True),
    Column("state", String(20), nullable=False),
    Column("rule", String(100)),
    Column("reason", Text),
    Column("labels", JSON, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

pools = Table(
    "pools",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("policy", String(20), nullable=False),
    Column("wait_s", Float, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("shared_resources", Boolean, nullable=False, server_default=false()),
    sqlite_autoincrement=True,
)

pool_projects = Table(
    "pool_projects",
    metadata,
    Column("pool_id", ForeignKey(pools.c.id, ondelete="CASCADE"), primary_key=True),
    Column(
        "project_id", ForeignKey(projects.c.id, ondelete="CASCADE"), primary_key=True, index=True
    ),
)

quotas = Table(  # learned limits have one row per dimension, since each has its own date
    "quotas",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("scope", Text, nullable=False, unique=True),  # what the row covers, as one text
    Column("provenance", String(20), nullable=False),
    Column("tier", String(100)),
    Column("project_id", ForeignKey(projects.c.id, ondelete="CASCADE"), index=True),
    Column("model", Text),
    Column("rpm", BigInteger),
    Column("tpm", BigInteger),
    Column("rpd", BigInteger),
    Column("in_flight", BigInteger),
    Column("at_ms", BigInteger, nullable=False),
)

marks = Table(
    "marks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("place", Text, nullable=False, unique=True),  # kind and what it covers, as one text
    Column("scope", String(20), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("rule", String(100), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("granted_at_ms", BigInteger, nullable=False),
    Column("project_id", ForeignKey(projects.c.id, ondelete="CASCADE"), index=True),
    Column("model", Text),
    Column("billing_account", String(100), index=True),
    Column("until_at_ms", BigInteger),
    Column("source", String(100), nullable=False),
    Column("lease_id", Text),
)

aliases = Table(
    "aliases",
    metadata,
    Column("name", Text, primary_key=True),  # as requests say it
    Column("model", Text, nullable=False),  # as the quota's bucket says it
    Column("at_ms", BigInteger, nullable=False),
)

day_counts = Table(
    "day_counts",
    metadata,
    Column("project_id", ForeignKey(projects.c.id, ondelete="CASCADE"), primary_key=True),
    Column("model", Text, primary_key=True),
    Column("day", String(20), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("emptied_at_ms", BigInteger, nullable=False),  # counts read before it are too old
)

live_epochs = Table(
    "live_epochs",
    metadata,
    Column("model", Text, primary_key=True),
    Column("epoch", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

calibrations = Table(
    "calibrations",
    metadata,
    Column("model", Text, primary_key=True),
    Column("payload", JSON, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

clients = Table(
    "clients",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("pools", _OPTIONAL_JSON),
    Column("models", _OPTIONAL_JSON),
    Column("scopes", JSON, nullable=False),
    Column("rpm", BigInteger),
    Column("tpm", BigInteger),
    Column("reports", String(20), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger),
    Column("last_used_at_ms", BigInteger),
    Column("revoked_at_ms", BigInteger),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    Column("id", _BIG_ID, primary_key=True),
    Column("at_ms", BigInteger, nullable=False, index=True),
    Column("kind", String(40), nullable=False),
    Column("actor", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("reason", Text),
    Column("detail", JSON, nullable=False),
    Column("lease_id", Text, unique=True),  # a lease's refusal is recorded once
    Index(None, "kind", "id"),
    Index(None, "subject", "id"),
    sqlite_autoincrement=True,
)

resources = Table(  # what upstream keeps in one project: files, caches, batches and the like
    "resources",
    metadata,
    Column("name", Text, primary_key=True),  # ``files/…``; two projects may have the same
    Column("project_id", ForeignKey(projects.c.id, ondelete="CASCADE"), primary_key=True),
    Column("client_id", ForeignKey(clients.c.id)),  # who made it; empty: not through keypool
    Column("at_ms", BigInteger, nullable=False),
    Column("until_at_ms", BigInteger, index=True),  # surely gone upstream by then
    Column("tokens", BigInteger),  # that it adds to a prompt; this and the rest as upstream told
    Column("mime_type", Text),
    Column("size_bytes", BigInteger),
    Column("seconds", Float),
    Index(None, "client_id", "at_ms"),
    Index(None, "project_id"),
)
