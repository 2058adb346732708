"""The wire contract of keypool's own API, version 1: what is taken and what is answered."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from keypool_cli.service.events import EventView

MOST_TOKENS = 10**12
MOST_REQUESTS = 100

TTL_S = 600.0
"""How long a lease lasts, in seconds, where nothing else is said."""

ModelName = Annotated[str, Meta(min_length=1, max_length=200)]


class LeaseBody(msgspec.Struct, frozen=True):
    """``POST /keypool/v1/leases``: exactly one of ``tokens`` and ``request``.

    What is null is not there: many languages write all fields of a record.
    """

    model: ModelName
    pool: str | None = None
    tokens: Annotated[int, Meta(ge=1, le=MOST_TOKENS)] | None = None
    request: msgspec.Raw | UnsetType = UNSET
    requests: Annotated[int, Meta(ge=1, le=MOST_REQUESTS)] | None = 1
    wait_s: Annotated[float, Meta(ge=0, le=300)] | None = None
    affinity: Annotated[str, Meta(max_length=200)] | None = None
    ttl_s: Annotated[float, Meta(ge=1, le=3600)] | None = TTL_S


class LeasedKey(msgspec.Struct, frozen=True):
    """The key to call upstream with."""

    name: str
    project: str
    secret: str


class EstimateAnswer(msgspec.Struct, frozen=True):
    """How the reservation came about. method: ``caller``, ``estimator`` or ``exact``."""

    tokens: int
    margin: int
    method: str


class LeaseAnswer(msgspec.Struct, frozen=True):
    """A lease. use_by: a call sent later may be refused by upstream."""

    lease_id: str
    key: LeasedKey
    model: str
    tokens_reserved: int
    use_by: str
    expires_at: str
    estimate: EstimateAnswer


class SettleBody(msgspec.Struct, frozen=True):
    """``POST /keypool/v1/leases/{id}/settle``. status: upstream's, or 0 if no answer came."""

    status: Annotated[int, Meta(ge=0, le=599)]
    usage: Mapping[str, object] | None = None
    error: object = None


class VerdictAnswer(msgspec.Struct, frozen=True):
    """What a refusal meant. applied: False, with ``why``, after a reset."""

    fault: str
    scope: str
    action: str
    rule: str
    applied: bool
    until: str | UnsetType = UNSET
    why: str | UnsetType = UNSET


class SettleAnswer(msgspec.Struct, frozen=True):
    """How a lease was closed."""

    verdict: VerdictAnswer | None
    tokens_settled: int


class Healthy(msgspec.Struct, frozen=True):
    """Health tells its state and nothing else.

    partly: a node of the live store's cluster is away, and the models on it with it.
    """

    status: Literal["ok", "partly"]


class EventsAnswer(msgspec.Struct, frozen=True):
    """``GET /keypool/v1/events``: oldest first."""

    schema: int
    events: list[EventView]
