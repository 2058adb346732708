"""What the engine should do, in plain Python: an exact sliding log with every booking kept.

Nothing here is clever, on purpose: instants are found by trying every instant at which anything
could change. Times are ms since the epoch; a window is closed at both ends.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from keypool_cli.core.model import UNLIMITED
from keypool_cli.engine.types import Demand, LeaseEnd, LiveProject, Settled, Settlement
from tests.support.oracle_project import (
    Booking,
    Log,
    ProjectModel,
    pacific_midnights,
    utc_midnights,
)

ANSWER_KEPT_MS = 600_000


@dataclass(slots=True)
class LeaseModel:
    """One granted lease, and how it ended."""

    demand: Demand
    project: int
    key: int
    booking: Booking
    client_booking: Booking | None
    granted_at: int
    expires_at: int
    end: Settled | LeaseEnd | None = None
    orphaned: bool = False
    """Its project was removed, and perhaps added again, since."""


class Oracle:
    """One model: its projects, its clients' windows and its leases."""

    def __init__(self, *, window_ms: int = 60_500, guard_ms: int = 500) -> None:
        self.window_ms, self.guard_ms = window_ms, guard_ms
        self.projects: dict[int, ProjectModel] = {}
        self.retired: dict[int, ProjectModel] = {}
        self.policies: dict[int, int] = {}
        self.clients: dict[int, Log] = {}
        self.leases: dict[str, LeaseModel] = {}

    def load(self, config: LiveProject, now: int) -> None:
        known = self.projects.get(config.id)
        if known is None:
            log = Log(self.window_ms, config.rpm, config.tpm)
            known = ProjectModel(config, log, self.guard_ms, [], 0)
            self._count_days(known, now)
            self.projects[config.id] = known
        known.configure(config)

    def _count_days(self, new: ProjectModel, now: int) -> None:
        """The days' requests as told; one that was there before is told its own, booking by booking."""
        config, before = new.config, self.retired.pop(new.config.id, None)
        if before is None:
            new.pacific.append((next(pacific_midnights(now)), config.day_requests))
            new.utc.append((next(utc_midnights(now)), config.utc_requests))
            return
        told = (config.day_requests, config.utc_requests)
        assert told == (before.day_count(now), before.utc_count(now))
        new.pacific, new.utc = before.pacific, before.utc

    def unload(self, project: int) -> None:
        """A project goes; what its open leases reserved is counted nowhere any more."""
        self.retired[project] = self.projects.pop(project)
        for lease in self.leases.values():
            if lease.project == project:
                lease.orphaned = True

    def members(self, pool: int) -> list[ProjectModel]:
        return [each for each in self.projects.values() if pool in each.config.pools]

    def fitting(self, pool: int, demand: Demand, now: int) -> list[ProjectModel]:
        """Every project of the pool that takes the demand now; none if its client may not."""
        client = self._client(demand)
        if client is not None and not client.fits(demand, now):
            return []
        return [each for each in self.members(pool) if each.fits(demand, now)]

    def earliest(self, pool: int, demand: Demand, now: int) -> int | None:
        """When some project first takes the demand if nothing else comes; None: never."""
        client = self._client(demand)
        instants = client.changes(now) if client is not None else set()
        for each in self.members(pool):
            instants |= each.changes(now)
        return next(
            (at for at in sorted(instants | {now}) if at >= now and self.fitting(pool, demand, at)),
            None,
        )

    def client_fits_from(self, demand: Demand, now: int) -> int | None:
        """When the client's own limits let the demand through; None: never."""
        client = self._client(demand)
        if client is None:
            return now
        instants = sorted(client.changes(now) | {now})
        return next((at for at in instants if at >= now and client.fits(demand, at)), None)

    def best(self, pool: int, demand: Demand, now: int) -> list[ProjectModel]:
        """Of those that fit, the ones that priority and policy allow to be chosen."""
        fitting = self.fitting(pool, demand, now)
        top = highest(fitting)
        if not top:
            return []
        pick = min if self.policies[pool] else max
        headroom = pick(each.headroom(now) for each in top)
        return [each for each in top if each.headroom(now) == headroom]

    def _client(self, demand: Demand) -> Log | None:
        if not demand.client or demand.client_rpm == demand.client_tpm == UNLIMITED:
            return None
        log = self.clients.setdefault(demand.client, Log(self.window_ms, UNLIMITED, UNLIMITED))
        log.rpm, log.tpm = demand.client_rpm, demand.client_tpm
        return log

    def grant(
        self, demand: Demand, project: int, key: int, now: int, *, latest: int | None = None
    ) -> None:
        """Book what the engine granted; it must have been allowed, now or at the latest instant.

        latest: that the clock had shown before it was set back.
        """
        state, client = self.projects[project], self._client(demand)
        instants = {now, latest or now}
        assert any(state.fits(demand, at) for at in instants), "granted where there is no room"
        assert client is None or any(client.fits(demand, at) for at in instants), (
            "granted beyond the client's limits"
        )
        assert key in state.keys
        until = now + demand.ttl_ms
        booking = state.book(demand, now, until)
        own = Booking(now, demand.requests, demand.tokens) if client is not None else None
        if client is not None and own is not None:
            client.bookings.append(own)
        lease = LeaseModel(demand, project, key, booking, own, now, until)
        self.leases[demand.lease_id] = lease

    def _find(self, lease_id: str, client: int, now: int) -> LeaseModel | None:
        lease = self.leases.get(lease_id)
        if lease is None or lease.demand.client != client:
            return None
        return None if lease.expires_at + ANSWER_KEPT_MS <= now else lease

    def settle(self, item: Settlement, now: int) -> Settled | LeaseEnd:
        lease = self._find(item.lease_id, item.client, now)
        if lease is None:
            return LeaseEnd.MISSING
        if isinstance(lease.end, Settled):
            return msgspec.structs.replace(lease.end, first=False)
        if lease.end is None:
            lease.end = self._settle(lease, item, now)
        return lease.end

    def _settle(self, lease: LeaseModel, item: Settlement, now: int) -> Settled:
        tokens = lease.demand.tokens if item.tokens is None else item.tokens
        for booking in (lease.booking, lease.client_booking):
            if booking is not None and booking.at >= now - self.window_ms:
                booking.tokens = tokens
        applied, until, state = False, 0, self.projects.get(lease.project)
        if state is not None:
            state.open_until.pop(lease.demand.lease_id, None)
        if state is not None and item.success:
            state.failures = 0
        if state is not None and item.mark is not None:
            applied, until = state.apply(item.mark, lease.granted_at, lease.key, now)
        return Settled(
            tokens, applied, until, item.answer, lease.project, lease.key, lease.granted_at, True
        )

    def renew(self, lease_id: str, ttl_ms: int, now: int) -> bool:
        lease = self.leases[lease_id]
        if lease.end is not None or lease.expires_at <= now or lease.orphaned:
            return False
        lease.expires_at = max(lease.expires_at, now + ttl_ms)
        self.projects[lease.project].open_until[lease_id] = lease.expires_at
        return True

    def release(self, lease_id: str, client: int, now: int) -> LeaseEnd:
        lease = self._find(lease_id, client, now)
        if lease is None:
            return LeaseEnd.MISSING
        if isinstance(lease.end, Settled):
            return LeaseEnd.SETTLED
        if lease.end is None:
            lease.end = LeaseEnd.RELEASED
            state = self.projects.get(lease.project)
            if state is not None:
                state.open_until.pop(lease_id, None)
                state.unbook(lease.booking)
            if lease.client_booking is not None:
                log = self.clients[client]
                log.bookings = [each for each in log.bookings if each is not lease.client_booking]
        return LeaseEnd.RELEASED


def highest(projects: Iterable[ProjectModel]) -> list[ProjectModel]:
    """Those of the highest priority."""
    found = list(projects)
    top = max((each.config.priority for each in found), default=0)
    return [each for each in found if each.config.priority == top]
