"""Where the proxy's attempts come from: leases for calls that spend quota, any project for others."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from time import monotonic

from keypool_cli.core.known_sizes import Size
from keypool_cli.core.model import Key, KeyState, MarkKind, Pool, Project, Secret
from keypool_cli.core.usage import is_count
from keypool_cli.errors import KeypoolError, UnreachableError
from keypool_cli.service.closing import CLIENT_CLOSED, Closing
from keypool_cli.service.configured import Configured
from keypool_cli.service.estimating import Estimating
from keypool_cli.service.explaining import see_why
from keypool_cli.service.leasing import Lease, LeaseRequest, Leasing, PoolUnusableError
from keypool_cli.service.observing import Observing
from keypool_cli.service.passage import Passage
from keypool_cli.service.proxying import Order, shut
from keypool_cli.service.settling import Report
from keypool_cli.service.watch import Watch

Measure = Callable[[str, Project, Size], None]
"""Remembers how large something is that a project keeps."""


class LeaseTicket:
    """One lease: one attempt, settled with its outcome."""

    def __init__(
        self,
        lease: Lease,
        order: Order,
        closing: Closing,
        estimating: Estimating,
        measure: Measure,
    ) -> None:
        self.project = lease.project
        self.secret = lease.secret
        self.lease_id: str | None = lease.lease_id
        self._client = order.client
        self._closing = closing
        self._estimating = estimating
        self._id = lease.lease_id
        self._measure, self._unmeasured = measure, order.unmeasured
        closing.holding.hold(lease.lease_id)
        self._guess = None
        if order.estimate is not None:
            self._guess = estimating.guess(order.estimate, model=order.model, client=order.client)

    async def refused(self, status: int, error: object) -> None:
        """Stop traffic there, if that is what the refusal means, before anything else happens."""
        await self._closing.now(Report(self._id, self._client, status, None, error, witnessed=True))

    def abandoned(self) -> None:
        """Keep the reservation: the call may have been counted."""
        self._closing.later(Report(self._id, self._client, CLIENT_CLOSED, witnessed=True))

    def ended(self, passage: Passage) -> None:
        """Settle with the usage seen last, and the error that ended the answer."""
        end = passage.ending()
        if end.error is None and end.usage is not None and self._guess is not None:
            self._estimating.learn(self._guess, end.usage)
        if self._unmeasured and end.usage is not None:
            tokens = end.usage.get("cachedContentTokenCount")
            if is_count(tokens) and tokens:
                self._measure(self._unmeasured, self.project, Size(tokens))
        self._closing.later(
            Report(self._id, self._client, passage.status, end.usage, end.error, witnessed=True)
        )


class Leases:
    """Tickets of calls that spend quota."""

    def __init__(
        self, leasing: Leasing, closing: Closing, estimating: Estimating, measure: Measure
    ) -> None:
        self._leasing = leasing
        self._closing = closing
        self._estimating = estimating
        self._measure = measure

    async def ticket(self, order: Order, refused: frozenset[int]) -> LeaseTicket:
        """Lease a key of a project that has not refused the call. Raises what leasing raises."""
        try:
            lease = await self._leasing.lease(self._request(order, refused))
        except PoolUnusableError:
            if order.only is not None:
                raise _holder_shut(order.pool, order.only) from None
            raise
        return LeaseTicket(lease, order, self._closing, self._estimating, self._measure)

    def _request(self, order: Order, refused: frozenset[int]) -> LeaseRequest:
        return LeaseRequest(
            model=order.model,
            pool=order.pool,
            client=order.client,
            tokens=order.tokens,
            requests=order.requests,
            wait_s=max(order.wait_until - monotonic(), 0.0),
            ttl_s=self._closing.holding.ttl_s,
            prefer=order.prefer,
            avoid=refused,
            only=order.only.id if order.only is not None else None,
            proxied=True,
        )


@dataclass(frozen=True, slots=True)
class Door:
    """A key that works, and its project."""

    project: Project
    key: Key


class FreeTicket:
    """An attempt that spends no quota: nothing is reserved, and nothing is settled."""

    lease_id: str | None = None

    def __init__(self, door: Door, secret: Secret, observing: Observing) -> None:
        self.project = door.project
        self.secret = secret
        self._door = door
        self._observing = observing

    async def refused(self, status: int, error: object) -> None:
        """Evidence that the key or the project is shut counts here too."""
        with suppress(UnreachableError):  # it will be refused again
            await self._observing.observe(self._door.project, self._door.key, status, error)

    def abandoned(self) -> None:
        """Nothing is held."""

    def ended(self, passage: Passage) -> None:
        """Nothing is held."""


class FreeUse:
    """Tickets of calls that spend no quota: project after project in turn, cooling ones too."""

    def __init__(self, watch: Watch, observing: Observing) -> None:
        self._watch = watch
        self._observing = observing
        self._turn = count()
        self._doors: dict[int, list[Door]] = {}
        self._seen: Configured | None = None

    async def ticket(self, order: Order, refused: frozenset[int]) -> FreeTicket:
        """A key of a project that has not refused the call. Raises PoolUnusableError."""
        doors = [each for each in self._of(order.pool) if each.project.id not in refused]
        if order.only is not None:
            doors = [each for each in doors if each.project.id == order.only.id]
            if not doors and not refused:
                raise _holder_shut(order.pool, order.only)
        if not doors:
            raise shut(order.pool) if refused else _no_door(order.pool)
        preferred = [each for each in doors if str(each.project.id) == order.prefer]
        door = preferred[0] if preferred else doors[next(self._turn) % len(doors)]
        return FreeTicket(door, await self._watch.secret(door.key.id), self._observing)

    def _of(self, pool: Pool) -> list[Door]:
        configured = self._watch.configured
        if configured is not self._seen:
            self._seen, self._doors = configured, {}
        if pool.id not in self._doors:
            self._doors[pool.id] = doors_of(configured, pool)
        return self._doors[pool.id]


def doors_of(configured: Configured, pool: Pool) -> list[Door]:
    """The pool's projects that are in order, each with its first key that is."""
    found = (configured.catalog.projects.get(each) for each in sorted(pool.project_ids))
    doors = (_door(configured, each) for each in found if each is not None)
    return [each for each in doors if each is not None]


def _door(configured: Configured, project: Project) -> Door | None:
    marks = configured.marks_of.get(project.id, ())
    if not project.enabled or any(each.kind is MarkKind.DISABLE for each in marks):
        return None
    keys = configured.keys_of.get(project.id, ())
    return next((Door(project, each) for each in keys if each.state is KeyState.READY), None)


def _no_door(pool: Pool) -> KeypoolError:
    return PoolUnusableError(f"no project of pool {pool.name!r} can be used", hint=see_why(pool))


def _holder_shut(pool: Pool, project: Project) -> KeypoolError:
    return PoolUnusableError(
        f"project {project.name!r}, which has what the request names, cannot be used",
        hint=see_why(pool),
    )
