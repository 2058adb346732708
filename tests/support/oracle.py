"""What the engine should do, in plain Python: an exact sliding log with every booking kept.

Nothing here is clever, on purpose: instants are found by trying every instant at which anything
could change. Times are ms since the epoch; a window is closed at both ends.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import floor
from zoneinfo import ZoneInfo

import msgspec

from keypool_cli.core.model import UNLIMITED
from keypool_cli.engine.types import Demand, LeaseEnd, LiveMark, LiveProject, Settled, Settlement

DAY_MS = 86_400_000
ANSWER_KEPT_MS = 600_000
USABLE, EXCLUDED, BOTH_DAYS = 1, 2, 4


def pacific_midnights(at_ms: int) -> Iterator[int]:
    """Starts of the Pacific day of an instant and of the two after it, in ms."""
    zone = ZoneInfo("America/Los_Angeles")
    day = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(zone).date()
    for offset in range(3):
        each = day + timedelta(days=offset)
        local = datetime(each.year, each.month, each.day, tzinfo=zone)
        yield round(local.timestamp()) * 1000


def utc_midnights(at_ms: int) -> Iterator[int]:
    """The same of the UTC day."""
    start = at_ms // DAY_MS * DAY_MS
    return iter((start, start + DAY_MS, start + 2 * DAY_MS))


def allows(limit: int, amount: int) -> bool:
    """Whether a limit lets an amount through."""
    return limit == UNLIMITED or amount <= limit


@dataclass(slots=True)
class Booking:
    """What one lease holds in the windows."""

    at: int
    requests: int
    tokens: int


@dataclass(slots=True)
class Log:
    """Every booking of a project or client, and limits on what one window may hold."""

    window_ms: int
    rpm: int
    tpm: int
    bookings: list[Booking] = field(default_factory=list)

    def used(self, now: int) -> tuple[int, int]:
        """Requests and tokens in the window that ends at ``now``."""
        live = [each for each in self.bookings if each.at >= now - self.window_ms]
        return sum(each.requests for each in live), sum(each.tokens for each in live)

    def fits(self, demand: Demand, now: int) -> bool:
        requests, tokens = self.used(now)
        return allows(self.rpm, requests + demand.requests) and allows(
            self.tpm, tokens + demand.tokens
        )

    def changes(self, now: int) -> set[int]:
        """Instants at which bookings leave the window."""
        return {each.at + self.window_ms + 1 for each in self.bookings if each.at <= now}


@dataclass(slots=True)
class ProjectModel:
    """One project on the model."""

    config: LiveProject
    log: Log
    guard_ms: int
    keys: list[int]
    flags: int
    pacific: list[tuple[int, int]] = field(default_factory=list)
    utc: list[tuple[int, int]] = field(default_factory=list)
    open_until: dict[str, int] = field(default_factory=dict)
    cool_until: int = 0
    wide_until: int = 0
    failures: int = 0
    reset_at: int = 0
    emptied_at: int = 0

    @property
    def usable(self) -> bool:
        return self.flags & (USABLE | EXCLUDED) == USABLE and bool(self.keys)

    def day_count(self, now: int) -> int:
        """Requests of the Pacific day, with those so near its start that they count in two."""
        return self._since(self.pacific, next(pacific_midnights(now)))

    def utc_count(self, now: int) -> int:
        return self._since(self.utc, next(utc_midnights(now)))

    def _since(self, counts: list[tuple[int, int]], start: int) -> int:
        return sum(requests for at, requests in counts if at >= start - self.guard_ms)

    def in_flight(self, now: int) -> int:
        return sum(until > now for until in self.open_until.values())

    def headroom(self, now: int) -> tuple[int, int]:
        """Tokens, then requests, that the window still takes; a day where it takes fewer than 100."""
        requests, tokens = self.log.used(now)
        of_day = self.day_count(now)
        if self.flags & BOTH_DAYS:
            of_day = max(of_day, self.utc_count(now))
        day = _left(self.config.rpd, of_day)
        most = day if day < 100 else 4095
        return _left(self.log.tpm, tokens), min(_left(self.log.rpm, requests), most)

    def fits(self, demand: Demand, now: int) -> bool:
        """Whether the project takes the demand at an instant if nothing else comes before."""
        rpd, n = self.config.rpd, demand.requests
        return (
            self.usable
            and max(self.cool_until, self.wide_until) <= now
            and allows(rpd, self.day_count(now) + n)
            and (not self.flags & BOTH_DAYS or allows(rpd, self.utc_count(now) + n))
            and allows(self.config.in_flight, self.in_flight(now) + 1)
            and self.log.fits(demand, now)
        )

    def changes(self, now: int) -> set[int]:
        """Every instant at which more may fit."""
        midnights = {*pacific_midnights(now), *utc_midnights(now)}
        marks = {self.cool_until, self.wide_until}
        return self.log.changes(now) | midnights | marks | set(self.open_until.values())

    def book(self, demand: Demand, now: int, until: int) -> Booking:
        booking = Booking(now, demand.requests, demand.tokens)
        self.log.bookings.append(booking)
        self.pacific.append((now, demand.requests))
        self.utc.append((now, demand.requests))
        self.open_until[demand.lease_id] = until
        return booking

    def unbook(self, booking: Booking) -> None:
        """A release: the requests never happened, unless the counts were emptied since."""
        if booking in self.log.bookings:
            self.log.bookings = [each for each in self.log.bookings if each is not booking]
        if booking.at > self.emptied_at:
            self.pacific.remove((booking.at, booking.requests))
            self.utc.remove((booking.at, booking.requests))

    def apply(self, mark: LiveMark, granted_at: int, key_id: int, now: int) -> tuple[bool, int]:
        """What a refusal does; answers whether it counted and until when."""
        if mark.action == "drop_key":
            self.keys = [each for each in self.keys if each != key_id]
            return True, 0
        if granted_at <= self.reset_at:
            return False, 0
        if mark.action in {"exclude", "disable"}:
            self.flags = self.flags | EXCLUDED if mark.action == "exclude" else self.flags & ~USABLE
            return True, 0
        return True, self._cool(mark, now)

    def _cool(self, mark: LiveMark, now: int) -> int:
        until = mark.until_ms
        if not until:
            span = min(mark.cap_ms, mark.base_ms * 2**self.failures)
            until = now + floor(max(mark.base_ms / 2, span * mark.jitter))
            self.failures += 1
        if mark.action == "cool":
            self.cool_until = max(self.cool_until, until)
            return self.cool_until
        self.wide_until = max(self.wide_until, until)
        return self.wide_until

    def reset(self, now: int, *, counters: bool, failures: bool) -> None:
        self.cool_until, self.wide_until, self.reset_at = 0, 0, now
        if counters:
            self.log.bookings, self.pacific, self.utc, self.emptied_at = [], [], [], now
        if failures:
            self.failures, self.flags = 0, (self.flags | USABLE) & ~EXCLUDED

    def configure(self, config: LiveProject) -> None:
        self.config, self.keys, self.flags = config, list(config.keys), config.flags
        self.log.rpm, self.log.tpm = config.rpm, config.tpm
        self.reset_at = max(self.reset_at, config.reset_at_ms)
        if config.cool_granted_at_ms > self.reset_at:
            self.cool_until = max(self.cool_until, config.cool_until_ms)
        if config.wide_granted_at_ms > self.reset_at:
            self.wide_until = max(self.wide_until, config.wide_until_ms)


def _left(limit: int, used: int) -> int:
    return 2**40 - 1 - used if limit == UNLIMITED else limit - used


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


class Oracle:
    """One model: its projects, its clients' windows and its leases."""

    def __init__(self, *, window_ms: int = 60_500, guard_ms: int = 500) -> None:
        self.window_ms, self.guard_ms = window_ms, guard_ms
        self.projects: dict[int, ProjectModel] = {}
        self.policies: dict[int, int] = {}
        self.clients: dict[int, Log] = {}
        self.leases: dict[str, LeaseModel] = {}

    def load(self, config: LiveProject, now: int) -> None:
        known = self.projects.get(config.id)
        if known is None:
            log = Log(self.window_ms, config.rpm, config.tpm)
            known = ProjectModel(config, log, self.guard_ms, [], 0)
            known.pacific.append((next(pacific_midnights(now)), config.day_requests))
            known.utc.append((next(utc_midnights(now)), config.utc_requests))
            self.projects[config.id] = known
        known.configure(config)

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

    def grant(self, demand: Demand, project: int, key: int, now: int) -> None:
        """Book what the engine granted; it must have been allowed."""
        state, client = self.projects[project], self._client(demand)
        assert state.fits(demand, now), "granted where there is no room"
        assert client is None or client.fits(demand, now), "granted beyond the client's limits"
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
        state = self.projects[lease.project]
        state.open_until.pop(lease.demand.lease_id, None)
        if item.success:
            state.failures = 0
        applied, until = False, 0
        if item.mark is not None:
            applied, until = state.apply(item.mark, lease.granted_at, lease.key, now)
        return Settled(
            tokens, applied, until, item.answer, lease.project, lease.key, lease.granted_at, True
        )

    def renew(self, lease_id: str, ttl_ms: int, now: int) -> bool:
        lease = self.leases[lease_id]
        if lease.end is not None or lease.expires_at <= now:
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
            state = self.projects[lease.project]
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
