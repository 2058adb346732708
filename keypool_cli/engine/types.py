"""What goes into the engine and what comes out of it."""

from enum import StrEnum

import msgspec

from keypool_cli.core.model import UNLIMITED


class Demand(msgspec.Struct, frozen=True, array_like=True):
    """What one request asks of a pool on a model.

    lease_id: the id its lease will have; at least 128 random bits. tokens: to reserve.
    ttl_ms: how long the lease lasts. client: its id, 0 for none; client_rpm and client_tpm are
    its own limits per model, UNLIMITED for none. prefer: a project to take if it fits.
    deadline_ms: when waiting ends, on the store's clock; 0 does not wait. daemon: who waits.
    avoid: ids of projects it must not get, as ``,1,2,``; empty for none; ``=,1,``: none but these.
    """

    lease_id: str
    requests: int
    tokens: int
    ttl_ms: int = 600_000
    client: int = 0
    client_rpm: int = UNLIMITED
    client_tpm: int = UNLIMITED
    prefer: str = ""
    deadline_ms: int = 0
    daemon: str = ""
    avoid: str = ""


class Grant(msgspec.Struct, frozen=True):
    """A lease: the right to use ``key_id`` of ``project_id`` for one request."""

    lease_id: str
    project_id: int
    key_id: int
    granted_at_ms: int
    expires_at_ms: int


class Refused(msgspec.Struct, frozen=True):
    """No room now.

    retry_at_ms: the earliest instant one project takes it if nothing else comes; None: never.
    ASK_AGAIN: unknown yet, ask again at once. Unless ``is_sure``, it is not before this instant,
    if ever: the pool is large, and many other projects come first. limit: rpm, tpm, rpd, in_flight,
    cooldown, held, client, queue, or none. project_id: the one that frees first, 0: none, or unknown.
    """

    retry_at_ms: int | None
    limit: str
    project_id: int

    @property
    def is_sure(self) -> bool:
        """Whether it is known what happens at ``retry_at_ms``."""
        return self.project_id != 0 or self.limit in {"client", "queue", "none"}

    def wait_ms(self, now_ms: int) -> int:
        """How long a client waits from ``now_ms`` on; never nothing, and not for ``None``.

        A second for ASK_AGAIN: whoever still hears that has been asking for long.
        """
        if self.retry_at_ms is None:
            raise ValueError("there will never be room")
        return 1000 if self.retry_at_ms == ASK_AGAIN else max(self.retry_at_ms - now_ms, 1)


ASK_AGAIN = -1


class Waits(msgspec.Struct, frozen=True):
    """The demand is in the queue; its grant comes through the daemon's pump."""


class Acquired(msgspec.Struct, frozen=True):
    """Answers to demands, in their order."""

    now_ms: int
    results: list[Grant | Refused | Waits]


class Stale(msgspec.Struct, frozen=True):
    """The model was never loaded, is lost, or is older than the registry: load it, ask again."""

    revision: int


class MarkAction(StrEnum):
    """What a refusal does to a project on one model; see ``lua/settle.lua``."""

    COOL = "cool"
    WIDE = "wide"
    EXCLUDE = "exclude"
    DISABLE = "disable"
    DROP_KEY = "drop_key"


class LiveMark(msgspec.Struct, frozen=True, array_like=True):
    """A refusal's effect. until_ms 0: base_ms * 2^failures, at most cap_ms, full jitter in [0, 1)."""

    action: MarkAction
    until_ms: int = 0
    base_ms: int = 0
    cap_ms: int = 0
    jitter: float = 0.0


class Settlement(msgspec.Struct, frozen=True):
    """How a lease ends. tokens None: keep the reservation. answer: text kept and repeated."""

    lease_id: str
    client: int
    tokens: int | None
    success: bool
    mark: LiveMark | None = None
    answer: str = ""


class LeaseEnd(StrEnum):
    """How an attempt to end a lease went."""

    SETTLED = "settled"
    RELEASED = "released"
    MISSING = "missing"


class Settled(msgspec.Struct, frozen=True):
    """A lease's one settlement; ``first`` is False when an earlier one had won.

    applied: whether the mark took effect (not after a reset). until_ms: end of the cooldown, 0
    for none.
    """

    tokens: int
    applied: bool
    until_ms: int
    answer: str
    project_id: int
    key_id: int
    granted_at_ms: int
    first: bool


class View(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How one project stands on a model. Limits: None is unlimited once read.

    opens_at_ms: when one more token fits; 0 when never by itself. why: what holds it back.
    """

    project_id: int
    requests: int
    tokens: int
    day_requests: int
    in_flight: int
    cool_until_ms: int
    wide_until_ms: int
    failures: int
    flags: int
    key_count: int
    limit_requests: int
    limit_tokens: int
    limit_day: int
    limit_in_flight: int
    why: str
    opens_at_ms: int
    utc_requests: int

    @property
    def usable(self) -> bool:
        """Enabled, with a key, and the model not excluded."""
        return self.flags & 3 == 1 and self.key_count > 0

    @property
    def excluded(self) -> bool:
        """Whether the model is not offered to this project."""
        return bool(self.flags & 2)


class Snapshot(msgspec.Struct, frozen=True):
    """Projects of a model as they stand. revision -1: the model is not loaded."""

    now_ms: int
    views: list[View]
    revision: int


class LiveProject(msgspec.Struct, frozen=True, array_like=True):
    """One project as a model's live state is loaded with it. Limits: UNLIMITED or a number.

    flags: 1 usable, 2 excluded, 4 counted by the UTC day too. The days' requests are taken only
    where the state is new. Marks whose grant a later reset covers are ignored.
    """

    id: int
    rpm: int
    tpm: int
    rpd: int
    in_flight: int
    flags: int
    priority: int
    keys: list[int]
    pools: list[int]
    cool_until_ms: int = 0
    cool_granted_at_ms: int = 0
    wide_until_ms: int = 0
    wide_granted_at_ms: int = 0
    reset_at_ms: int = 0
    day_requests: int = 0
    utc_requests: int = 0


class LivePool(msgspec.Struct, frozen=True, array_like=True):
    """A pool as acquire needs it. policy: 0 spread, 1 pack. priorities: highest first."""

    id: int
    policy: int
    priorities: list[int]


class Reason(msgspec.Struct, frozen=True, array_like=True):
    """Why a project cannot take a demand. limit '' means it can. at_ms 0: never by itself."""

    project_id: int
    limit: str
    at_ms: int


class Explanation(msgspec.Struct, frozen=True):
    """What acquire would choose (0: nothing; None: not loaded), and how each project stands."""

    now_ms: int
    chosen: int | None
    reasons: list[Reason]


class Pumped(msgspec.Struct, frozen=True):
    """Grants made to this daemon's waiters; when to pump again (0: nothing is due)."""

    now_ms: int
    grants: list[Grant]
    next_at_ms: int
    waiting: int
