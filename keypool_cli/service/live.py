"""Live conversations: a lease, a WebSocket upstream, its setup, and the settlement at the end.

One reservation is made for a conversation, from its setup message. What each turn cost is added up
as upstream tells it, and settled when the conversation ends.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

import msgspec

from keypool_cli.core.model import Client, Pool, Project, Secret
from keypool_cli.core.redact import REDACTED, redact_body
from keypool_cli.core.refusal import Scope
from keypool_cli.core.usage import MOST_BELIEVED, input_tokens
from keypool_cli.service.attempting import SET_ASIDE, Progress, Step, Trail, next_step, pause_s
from keypool_cli.service.closing import CLIENT_CLOSED, Closing
from keypool_cli.service.egress import Egress
from keypool_cli.service.leasing import (
    Lease,
    LeaseRequest,
    Leasing,
    PoolExhaustedError,
    PoolUnusableError,
)
from keypool_cli.service.live_refusal import refusal_of_close
from keypool_cli.service.proxying import shut
from keypool_cli.service.settling import Report
from keypool_cli.service.verdicts import Told, told_of
from keypool_cli.upstream.forward import Header, UpstreamError
from keypool_cli.upstream.websocket import Closed, Declined, Wire, dial

SETUP_S = 30.0
"""How long upstream may take to answer a setup."""

POLICY = 1008


class _Message(msgspec.Struct, rename="camel"):
    """What matters to us in a message from upstream."""

    usage_metadata: Mapping[str, object] | None = None
    session_resumption_update: Mapping[str, object] | None = None


_message = msgspec.json.Decoder(_Message)


@dataclass(frozen=True, slots=True, repr=False)
class LiveOrder:
    """A conversation that a client wants. setup: its first message, as received.

    url: upstream's, without a credential. wait_until: an instant of ``time.monotonic``. prefer:
    the id of the project that holds what the conversation resumes, as text. only: the project
    that has what the setup names.
    """

    pool: Pool
    client: Client | None
    model: str
    tokens: int
    wait_until: float
    url: str
    headers: Sequence[Header]
    setup: str | bytes
    prefer: str = ""
    only: Project | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Upstream will not hold the conversation, and no other project is to be asked."""

    closed: Closed


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How one attempt went: a conversation, or upstream's no and what it means."""

    lease: Lease
    conversation: "Conversation | None" = None
    closed: Closed | None = None
    told: Told | None = None


class Conversation:
    """An open conversation whose setup upstream has taken; whoever has it must end it.

    first: upstream's answer to the setup, for the client.
    """

    def __init__(self, wire: Wire, lease: Lease, first: str | bytes) -> None:
        self.project: Project = lease.project
        self.first = first
        self.handle = ""
        self._wire = wire
        self._lease = lease
        self._spent: int | None = None
        self._closed: Closed | None = None

    async def send(self, message: str | bytes) -> None:
        """Pass a message upstream; waits while upstream takes no more."""
        await self._wire.send(message)

    async def receive(self) -> str | bytes | Closed:
        """Upstream's next message, or its end."""
        message = await self._wire.receive()
        if isinstance(message, Closed):
            self._closed = message = _without_secret(message, self._lease.secret)
            return message
        message = _hidden(message, self._lease.secret)
        self._note(message)
        return message

    def _note(self, message: str | bytes) -> None:
        if not _mentions(message, "usageMetadata") and not _mentions(message, "sessionResumption"):
            return
        try:
            said = _message.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if said.usage_metadata is not None:
            self._add(input_tokens(said.usage_metadata))
        if said.session_resumption_update is not None:
            handle = said.session_resumption_update.get("newHandle")
            self.handle = handle if isinstance(handle, str) else ""

    def _add(self, tokens: int | None) -> None:
        """Count a turn; one whose cost is not believable is left out."""
        if tokens is not None:
            self._spent = min((self._spent or 0) + tokens, MOST_BELIEVED)

    def report(self, client: Client | None) -> Report:
        """What became of it, for the settlement."""
        usage = None if self._spent is None else {"promptTokenCount": self._spent}
        refusal = refusal_of_close(self._closed) if self._closed is not None else None
        error = refusal.body if refusal is not None else None
        return Report(self._lease.lease_id, client, 200, usage, error, witnessed=True)

    async def close(self) -> None:
        """Let go of upstream."""
        await self._wire.close()


class Conversing:
    """Opens conversations for clients, on one project after another where that is right."""

    def __init__(self, leasing: Leasing, closing: Closing, egress: Egress) -> None:
        self._leasing = leasing
        self._closing = closing
        self._egress = egress

    async def open(self, order: LiveOrder) -> Conversation | Refused:
        """Set a conversation up. Raises what leasing raises, RefusedError and UpstreamError."""
        trail = Trail()
        while True:
            attempt = await self._attempt(order, await self._lease(order, trail))
            if attempt.conversation is not None:
                return attempt.conversation
            if (said := attempt.told) is not None and said.action in SET_ASIDE:
                trail.moves += 1
                trail.set_aside(attempt.lease.project.id, by_key=said.scope == Scope.KEY)
            pause = pause_s(trail.retries, jitter=random.random())  # noqa: S311 - spreads retries only
            match next_step(said, Progress(trail.moves, trail.retries, SETUP_S), pause_s=pause):
                case Step.MOVE:
                    continue
                case Step.AGAIN:
                    trail.retries += 1
                    await asyncio.sleep(pause)
                case Step.FAIL:
                    raise shut(order.pool)
                case Step.ANSWER:
                    return _refused(attempt)

    async def end(self, conversation: Conversation, client: Client | None) -> None:
        """Close it, and settle what is known of its cost."""
        self._closing.later(conversation.report(client))
        await conversation.close()

    async def _lease(self, order: LiveOrder, trail: Trail) -> Lease:
        """A lease of another project; only where there is none, of another key of one tried."""
        try:
            return await self._lease_beside(order, trail.refused)
        except (PoolExhaustedError, PoolUnusableError):
            if not trail.turns_to_keys():
                raise
            return await self._lease_beside(order, trail.refused)

    async def _lease_beside(self, order: LiveOrder, avoid: frozenset[int]) -> Lease:
        lease = await self._leasing.lease(
            LeaseRequest(
                model=order.model,
                pool=order.pool,
                client=order.client,
                tokens=order.tokens,
                wait_s=max(order.wait_until - monotonic(), 0.0),
                ttl_s=self._closing.holding.ttl_s,
                prefer=order.prefer,
                avoid=avoid,
                only=order.only.id if order.only is not None else None,
                proxied=True,
            )
        )
        self._closing.holding.hold(lease.lease_id)
        return lease

    async def _attempt(self, order: LiveOrder, lease: Lease) -> _Attempt:
        try:
            async with asyncio.timeout(SETUP_S):
                return await self._set_up(order, lease)
        except (UpstreamError, TimeoutError):
            return await self._no(order, lease, Closed(None), 0, None)
        except BaseException:
            report = Report(lease.lease_id, order.client, CLIENT_CLOSED, witnessed=True)
            self._closing.later(report)
            raise

    async def _set_up(self, order: LiveOrder, lease: Lease) -> _Attempt:
        headers = [*order.headers, ("x-goog-api-key", lease.secret.text)]
        wire = await dial(order.url, headers, self._egress.url(lease.project))
        if isinstance(wire, Declined):
            body = redact_body(wire.body.encode(), lease.secret.text).decode()
            closed = Closed(POLICY, f"upstream answered {wire.status}")
            return await self._no(order, lease, closed, wire.status, body)
        try:
            await wire.send(order.setup)
            first = await wire.receive()
        except BaseException:
            await wire.close()
            raise
        if not isinstance(first, Closed):
            return _Attempt(lease, Conversation(wire, lease, _hidden(first, lease.secret)))
        refusal = refusal_of_close(first)
        status, error = (refusal.status, refusal.body) if refusal is not None else (0, None)
        return await self._no(order, lease, _without_secret(first, lease.secret), status, error)

    async def _no(
        self, order: LiveOrder, lease: Lease, closed: Closed, status: int, error: object
    ) -> _Attempt:
        """Make a refusal known before going on."""
        report = Report(lease.lease_id, order.client, status, None, error, witnessed=True)
        await self._closing.now(report)
        return _Attempt(lease, closed=closed, told=told_of(status, error))


def _refused(attempt: _Attempt) -> Refused:
    closed = attempt.closed or Closed(None)
    if closed.code is None:
        raise UpstreamError("upstream did not answer")
    return Refused(closed)


def _mentions(message: str | bytes, word: str) -> bool:
    return word in message if isinstance(message, str) else word.encode() in message


def _hidden(message: str | bytes, secret: Secret) -> str | bytes:
    """The message without our key: upstream's own words may repeat it."""
    if isinstance(message, str):
        return message.replace(secret.text, REDACTED)
    return message.replace(secret.text.encode(), REDACTED.encode())


def _without_secret(closed: Closed, secret: Secret) -> Closed:
    return Closed(closed.code, closed.reason.replace(secret.text, REDACTED))
