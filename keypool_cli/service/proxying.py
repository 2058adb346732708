"""The proxy's decisions in motion: lease, send, judge, move on, and settle each attempt.

Every attempt of a call that spends quota is a reservation of its own. What an attempt's outcome
means is decided in :mod:`keypool_cli.service.attempting`.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from time import monotonic
from typing import Protocol

import msgspec

from keypool_cli.core.estimator import Estimate
from keypool_cli.core.model import Client, Pool, Project, Secret
from keypool_cli.core.refusal import Scope
from keypool_cli.errors import NoCapacityError
from keypool_cli.service.alarms import Alarms
from keypool_cli.service.attempting import (
    MOST_PROJECTS,
    MOST_RETRIES,
    SET_ASIDE,
    Progress,
    Step,
    Trail,
    misleads,
    next_step,
    pause_s,
)
from keypool_cli.service.egress import Egress
from keypool_cli.service.explaining import see_why
from keypool_cli.service.leasing import PoolExhaustedError, PoolUnusableError
from keypool_cli.service.passage import Passage, opened
from keypool_cli.service.verdicts import Told, told_of
from keypool_cli.upstream.forward import Forwarder, Header, Outgoing, UpstreamError
from keypool_cli.upstream.headers import redirected_here


class RefusedError(NoCapacityError):
    """Every project that was tried is shut to the call, until someone repairs it."""


class Order(msgspec.Struct, frozen=True):
    """A call that a client wants made; times are instants of ``time.monotonic``.

    tokens, requests: what to reserve; estimate: where tokens come from. wait_until: how long it
    may wait for room; deadline: when no further attempt makes sense. target: path and query,
    without any credential. session: what keeps to one project; prefer: the id of that project, as
    text. bearer: the key goes as a bearer token, as the OpenAI-compatible paths want it. whole:
    the answer is one object, of use to the client only when all of it is there. only: the project
    that has what the call names; unmeasured: a cache of those whose tokens are not known. makes: upstream keeps what the call makes, so it is sent again
    only where an answer tells that nothing was made. A body in parts is sent once: it cannot be
    had again.
    """

    pool: Pool
    client: Client | None
    model: str
    tokens: int
    requests: int
    wait_until: float
    deadline: float
    method: str
    target: str
    headers: Sequence[Header]
    body: bytes | AsyncIterator[bytes] | None = None
    session: str = ""
    prefer: str = ""
    estimate: Estimate | None = None
    bearer: bool = False
    whole: bool = False
    only: Project | None = None
    unmeasured: str = ""
    makes: bool = False

    def __repr__(self) -> str:
        """Tell nothing of what the client sends."""
        return f"Order({self.method} …)"


class Ticket(Protocol):
    """The right to make one attempt, and what must be done with its outcome."""

    project: Project
    secret: Secret
    lease_id: str | None

    async def refused(self, status: int, error: object) -> None:
        """Upstream said no, or nothing at all (status 0): make that known before going on."""
        ...

    def abandoned(self) -> None:
        """The client went away before an answer came."""
        ...

    def ended(self, passage: Passage) -> None:
        """The answer has been passed on, whole or in part."""
        ...


class Ticketing(Protocol):
    """Where attempts come from: leases, or free use of a project."""

    async def ticket(self, order: Order, refused: frozenset[int]) -> Ticket:
        """A project to try that has not refused yet. Raises what leasing raises."""
        ...


class Attempt(msgspec.Struct, frozen=True):
    """One call upstream that came back. passage: None when no answer came (then failure is set)."""

    ticket: Ticket
    told: Told | None
    passage: Passage | None = None
    failure: UpstreamError | None = None

    @property
    def answer(self) -> Passage:
        """What upstream answered. Raises UpstreamError where it did not."""
        if self.passage is None:
            raise self.failure or UpstreamError("upstream did not answer")
        return self.passage

    async def close(self) -> None:
        """Let go of upstream, and settle what a good answer told of its cost."""
        if self.passage is None:
            return
        try:
            await self.passage.close()
        finally:
            if self.told is None:
                self.ticket.ended(self.passage)


class Proxying:
    """Makes calls for clients, on one project after another where that is right."""

    def __init__(self, forwarder: Forwarder, upstream_url: str, egress: Egress) -> None:
        self._forwarder = forwarder
        self._egress = egress
        self._deadlines = Alarms()
        self.url = upstream_url.rstrip("/")

    async def answer(self, order: Order, tickets: Ticketing) -> Attempt:
        """Make the call; the attempt has the answer for the client, who must close it.

        Raises what leasing raises, and RefusedError.
        """
        attempt = await self._attempt(order, await tickets.ticket(order, frozenset()))
        trail = Trail()
        while (said := attempt.told) is not None and await _goes_on(attempt, said, order, trail):
            last, attempt = attempt, await self._next(attempt, order, tickets, trail)
            if attempt is last:
                break
        return attempt

    async def _next(self, last: Attempt, order: Order, tickets: Ticketing, trail: Trail) -> Attempt:
        """The next attempt; the last one again where none is left and its answer says more.

        Other projects come first: only then another key of one whose key is dead.
        """
        try:
            ticket = await tickets.ticket(order, trail.refused)
        except (PoolExhaustedError, PoolUnusableError, RefusedError) as err:
            if trail.turns_to_keys():
                return await self._next(last, order, tickets, trail)
            if not _says_more(last, err):
                raise
            return last
        return await self._attempt(order, ticket)

    async def _attempt(self, order: Order, ticket: Ticket) -> Attempt:
        try:
            passage = await self._opened(order, ticket)
        except UpstreamError as err:
            await ticket.refused(0, None)
            return Attempt(ticket, told_of(0, None), failure=err)
        except BaseException:
            ticket.abandoned()
            raise
        if passage.refusal is None:
            return Attempt(ticket, None, passage)
        error = passage.refusal.decode(errors="replace")
        await ticket.refused(passage.status, error)
        return Attempt(ticket, told_of(passage.status, error), passage)

    async def _opened(self, order: Order, ticket: Ticket) -> Passage:
        secret, proxy = ticket.secret, self._egress.url(ticket.project)
        headers = [*order.headers, _credential(secret, bearer=order.bearer)]
        url = self.url + order.target
        outgoing = Outgoing(order.method, url, headers, order.body, proxy, whole=order.whole)
        try:
            with self._deadlines.within(order.deadline - monotonic()):
                passage = await opened(await self._forwarder.send(outgoing), secret)
        except TimeoutError:
            raise UpstreamError("upstream did not answer in time", timed_out=True) from None
        if 300 <= passage.status < 400:
            passage.headers = redirected_here(passage.headers, self.url)
        return passage


def _says_more(last: Attempt, err: NoCapacityError) -> bool:
    """Whether upstream's last answer tells a client more than that no other project is left.

    That a pool has no room is said with the time it will.
    """
    if isinstance(err, PoolExhaustedError):
        return last.told is None or last.told.action not in SET_ASIDE
    return last.told is None or not misleads(last.told)


def _credential(secret: Secret, *, bearer: bool) -> Header:
    return ("authorization", f"Bearer {secret.text}") if bearer else ("x-goog-api-key", secret.text)


async def _goes_on(attempt: Attempt, said: Told, order: Order, trail: Trail) -> bool:
    """Whether another attempt follows, once the pause before it is over. Raises RefusedError."""
    if said.action in SET_ASIDE:
        _set_aside(attempt, order, trail, by_key=said.scope == Scope.KEY)
    pause = pause_s(trail.retries, jitter=random.random())  # noqa: S311 - spreads retries only
    match next_step(said, _progress(attempt, order, trail), pause_s=pause):
        case Step.MOVE:
            return True
        case Step.AGAIN:
            trail.retries += 1
            await asyncio.sleep(pause)
            return True
        case Step.FAIL:
            raise shut(order.pool)
        case Step.ANSWER:
            return False


def _set_aside(attempt: Attempt, order: Order, trail: Trail, *, by_key: bool) -> None:
    trail.moves += 1
    if order.only is not None and attempt.ticket.lease_id is not None:
        # No other project can help; but there is a time at which this one will.
        trail.retries += 1
        return
    trail.set_aside(attempt.ticket.project.id, by_key=by_key)


def _progress(attempt: Attempt, order: Order, trail: Trail) -> Progress:
    """How far a call has come; as far as can be where nothing may be sent a second time."""
    only_once = isinstance(order.body, AsyncIterator) or (
        order.makes and attempt.failure is not None
    )
    if only_once or (order.only is not None and trail.retries > MOST_RETRIES):
        return Progress(MOST_PROJECTS, MOST_RETRIES, 0)
    return Progress(trail.moves, trail.retries, order.deadline - monotonic())


def shut(pool: Pool) -> RefusedError:
    """The error of a call that found no project in order."""
    return RefusedError(
        f"the projects of pool {pool.name!r} that were tried cannot be used",
        hint=see_why(pool),
    )
