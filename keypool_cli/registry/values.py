"""What goes into the registry's methods and comes out of them, beside core.model's values."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from keypool_cli.core.model import Key, Mark, Policy, QuotaRow, Secret
from keypool_cli.errors import KeypoolError


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change, from which host, and why; every change is logged under one."""

    name: str
    host: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to add.

    pool: None means ``main`` for a project that is in no pool yet, else the project's pools stay.
    pools: further ones. tier, priority, billing_account, egress_proxy: for a new project; None
    takes what an existing project has. disabled, project_disabled: as an operator would.
    """

    name: str
    secret: Secret
    project: str
    pool: str | None = None
    tier: str | None = None
    priority: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    pools: tuple[str, ...] = ()
    billing_account: str | None = None
    egress_proxy: Secret | None = None
    disabled: bool = False
    project_disabled: bool = False


@dataclass(frozen=True, slots=True)
class KeyOutcome:
    """What became of one key of a bulk: added when ``error`` is None, else not touched.

    there: because this very key, with this name, secret and project, is stored already.
    """

    name: str
    error: KeypoolError | None = None
    there: bool = False


class ProjectFields(TypedDict, total=False):
    """What can be set on a project; what is absent stays as it is."""

    tier: str | None
    priority: int
    billing_account: str | None
    labels: Mapping[str, str]
    enabled: bool
    egress_proxy: Secret | None


class PoolFields(TypedDict, total=False):
    """What can be set on a pool; what is absent stays as it is."""

    policy: Policy
    wait_s: float
    shared_resources: bool


@dataclass(frozen=True, slots=True)
class QuotaScope:
    """What a limit covers: a project or a tier, one model or (None) every model.

    Project and tier exclude each other; nothing at all is the default for everything.
    """

    project: str | None = None
    tier: str | None = None
    model: str | None = None

    @property
    def owner(self) -> str:
        """Whose limits, in words."""
        return self.project or (f"tier {self.tier}" if self.tier else "every project")

    @property
    def place(self) -> str:
        """What is covered, in words."""
        return f"{self.owner} / {self.model or 'every model'}"


@dataclass(frozen=True, slots=True)
class LearnedLimits:
    """Limits that a refusal told of one project and model: dimension (``rpm``, …) to value."""

    project_id: int
    model: str
    values: Mapping[str, int]
    at_ms: int


@dataclass(frozen=True, slots=True)
class DeadKey:
    """Evidence that upstream refuses a key itself.

    fingerprint: of the secret that was refused; when the key has been rotated since, the
    evidence is about the old secret and does not count. None: not checked.
    """

    key_id: int
    rule: str
    reason: str
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """One upstream refusal and all that it decided, to be kept in one piece.

    subject: what the event is about, as an operator reads it (the project's or key's name).
    source: the client that reported it, or ``daemon``. lease_id: recording it twice changes
    nothing; None is never taken for a repetition. aliases: request model to bucket's model.
    """

    subject: str
    lease_id: str | None = None
    source: str = "daemon"
    marks: tuple[Mark, ...] = ()
    dead_keys: tuple[DeadKey, ...] = ()
    limits: tuple[LearnedLimits, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a refusal.

    repeated: its lease was recorded before, nothing changed. standing: for each mark written,
    the one that now stands (an older, longer cooldown may). void: marks not written, because a
    reset came after the call was granted or the project is gone. dead_key_ids: keys set dead.
    """

    repeated: bool = False
    standing: tuple[Mark, ...] = ()
    void: tuple[Mark, ...] = ()
    dead_key_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reset:
    """What an operator resets.

    model: None means all; marks on the whole project and on its billing account go in either case,
    else the model would stay blocked. failures: also forget exclusions, disablings and dead keys
    that refusals set. counters: for the log alone. siblings: projects that lose cooldowns only.
    at_ms: refusals of calls granted at or before it become void; None means now. late: where a
    model is named, the projects on which such refusals may still come in; None: all.
    """

    project_ids: Collection[int]
    model: str | None = None
    failures: bool = False
    counters: bool = False
    siblings: Collection[int] = ()
    at_ms: int | None = None
    late: Collection[int] | None = None


@dataclass(frozen=True, slots=True)
class ResetReport:
    """What a reset removed, as it was before: marks, and keys that had been dead."""

    marks: tuple[Mark, ...] = ()
    keys: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveEpoch:
    """A life of a model's live state. at_ms: it was in use then, by the store's clock."""

    epoch: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class DayCount:
    """Requests of one project and model counted so far in one day (``2026-11-22``)."""

    project_id: int
    model: str
    day: str
    requests: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """The newest calibration of one model: the estimator's own JSON and when it was saved."""

    model: str
    payload: Mapping[str, object]
    at_ms: int


@dataclass(frozen=True, slots=True)
class NewClient:
    """A client to add; the fields mean what they mean on core.model.Client."""

    name: str
    pools: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    scopes: tuple[str, ...] = ("lease", "proxy")
    rpm: int | None = None
    tpm: int | None = None
    reports: str = "all"
    expires_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events to list; None does not filter.

    after_id: only later ones (for following). kind: one kind (``key.added``), or all below a noun
    (``key``, or ``key.``). limit: the newest that many.
    """

    after_id: int | None = None
    since_ms: int | None = None
    kind: str | None = None
    subject: str | None = None
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class RemovedQuota:
    """A quota row that was removed, or the dimensions of it that were."""

    before: QuotaRow
    after: QuotaRow | None
