"""What the registry holds: projects, keys, pools, limits, marks and clients.

All values are frozen. Instants end in ``_at_ms`` (milliseconds since the epoch, UTC); amounts
are integers. No value here holds a secret in clear except :class:`Secret`, which hides itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

UNLIMITED = -1
"""A limit's value where upstream sets none; shown as ``unlimited``."""

MAX_LIMIT = 10**12
"""The largest finite limit."""

DIMENSIONS = ("rpm", "tpm", "rpd", "in_flight")
"""Requests a minute, input tokens a minute, requests a Pacific day, leases open at once."""

DEFAULT_POOL = "main"


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A Gemini API key in clear. Its text appears in no repr, log or error."""

    text: str

    def __repr__(self) -> str:
        """Tell nothing of the secret."""
        return "Secret(…)"

    __str__ = __repr__


class Policy(StrEnum):
    """How a pool chooses among the projects that fit."""

    SPREAD = "spread"  # most headroom first
    PACK = "pack"  # least headroom that fits, which keeps room for large requests


class KeyState(StrEnum):
    """Whether a key may be leased."""

    READY = "ready"
    DISABLED = "disabled"  # by an operator
    DEAD = "dead"  # by evidence that upstream refuses the key itself


class MarkKind(StrEnum):
    """What a refusal, or a reset, left on a project, a billing account, or one model of them."""

    COOL = "cool"  # set aside until an instant
    EXCLUDE = "exclude"  # this model is not offered to the project
    DISABLE = "disable"  # the project cannot be used until someone repairs it
    DAY_END = "day_end"  # a believed hint that the day ends elsewhere: count by the UTC day too
    RESET = "reset"  # nothing: an operator reset this model, which voids refusals of calls before


class MarkScope(StrEnum):
    """What a mark covers."""

    PROJECT_MODEL = "project_model"
    PROJECT = "project"
    BILLING = "billing"


class Provenance(StrEnum):
    """Where a limit comes from."""

    CONFIGURED = "configured"  # an operator set it
    LEARNED = "learned"  # a refusal's quotaValue said so
    DEFAULT = "default"  # keypool's dated table for the tier, or nothing known


@dataclass(frozen=True, slots=True)
class Project:
    """A Google Cloud project: the holder of quota, per model.

    priority: larger is chosen first. billing_account: None means an account of its own.
    enabled: an operator's switch; marks from refusals are kept apart (:class:`Mark`).
    reset_at_ms: answers to calls granted at or before this instant no longer cool it.
    egress_proxy: the proxy its calls leave through, its password masked; egress_sealed: the URL.
    removed_at_ms: of one that is kept for what it has spent only, in case it comes back.
    """

    id: int
    name: str
    tier: str | None = None
    priority: int = 0
    billing_account: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True
    reset_at_ms: int = 0
    egress_proxy: str | None = None
    egress_sealed: bytes | None = None
    removed_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A Gemini API key as configured; its secret stays sealed in the registry.

    fingerprint: 12 hex digits of a keyed hash of the secret: equal secrets, equal fingerprints.
    state, rule, reason: READY, or who set it aside and why.
    """

    id: int
    name: str
    project_id: int
    fingerprint: str
    state: KeyState = KeyState.READY
    rule: str | None = None
    reason: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    created_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Pool:
    """A named set of projects chosen from by one policy.

    wait_s: how long a demand without a wait of its own is parked when nothing has room.
    shared_resources: every client of the pool may use files, caches and the like of every other.
    """

    id: int
    name: str
    policy: Policy = Policy.SPREAD
    wait_s: float = 0.0
    project_ids: frozenset[int] = frozenset()
    shared_resources: bool = False


@dataclass(frozen=True, slots=True)
class QuotaRow:
    """Limits set at one scope. ``None`` in a dimension: this row says nothing about it.

    Scope: project_id and/or model, or tier and/or model, or model alone, or nothing (the default).
    Values: 0 (the model is not offered) to MAX_LIMIT, or UNLIMITED.
    at_ms: when it was set or learned.
    """

    provenance: Provenance
    tier: str | None = None
    project_id: int | None = None
    model: str | None = None
    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    in_flight: int | None = None
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """What refusals decided about a project, durable until it passes or is reset.

    scope says which of project_id (PROJECT, PROJECT_MODEL), model (PROJECT_MODEL) and
    billing_account (BILLING) are set. until_at_ms: for COOL, when it ends; else None.
    granted_at_ms: when the refused call was granted; a later reset makes the mark void.
    source: the client that reported it, or ``daemon``. lease_id: the refused lease.
    """

    scope: MarkScope
    kind: MarkKind
    rule: str
    reason: str
    at_ms: int
    granted_at_ms: int
    project_id: int | None = None
    model: str | None = None
    billing_account: str | None = None
    until_at_ms: int | None = None
    source: str = "daemon"
    lease_id: str | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """An application allowed to use the daemon; its token is kept as a hash only.

    pools: names it may use; None means every pool. scopes: of lease, proxy, read, admin.
    models: names it may use; None means every model. rpm, tpm: its own limits per model, None for
    none. reports: ``all``, or ``usage`` when its error reports must not cool or disable anything.
    expires_at_ms: from then on the token is refused; None means never.
    """

    id: int
    name: str
    pools: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    scopes: tuple[str, ...] = ("lease", "proxy")
    rpm: int | None = None
    tpm: int | None = None
    reports: str = "all"
    created_at_ms: int = 0
    expires_at_ms: int | None = None
    last_used_at_ms: int | None = None
    revoked_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the audit log: who did what to what, from which host, and why."""

    id: int
    at_ms: int
    kind: str
    actor: str
    host: str
    subject: str
    reason: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything configured, as of one revision: what the engine's live tables are made from.

    removed: projects that are configured no more; upstream still counts what they did.
    """

    revision: int
    projects: Mapping[int, Project]
    keys: Mapping[int, Key]
    pools: Mapping[int, Pool]
    quotas: tuple[QuotaRow, ...]
    marks: tuple[Mark, ...]
    aliases: Mapping[str, str]
    clients: Mapping[int, Client]
    removed: Mapping[int, Project] = field(default_factory=dict)
