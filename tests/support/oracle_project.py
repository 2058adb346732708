"""One project as the oracle knows it: its bookings, its days, and what refusals did to it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import floor
from zoneinfo import ZoneInfo

from keypool_cli.core.model import UNLIMITED
from keypool_cli.engine.types import Demand, LiveMark, LiveProject

DAY_MS = 86_400_000
USABLE, EXCLUDED, BOTH_DAYS = 1, 2, 4


def pacific_midnights(at_ms: int) -> Iterator[int]:
    """Starts of the Pacific day of an instant and of the two after it, in ms."""
    return iter(_pacific_midnights(at_ms))


@lru_cache(maxsize=4096)
def _pacific_midnights(at_ms: int) -> tuple[int, ...]:
    zone = ZoneInfo("America/Los_Angeles")
    day = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(zone).date()
    days = [day + timedelta(days=offset) for offset in range(3)]
    starts = [datetime(each.year, each.month, each.day, tzinfo=zone) for each in days]
    return tuple(round(each.timestamp()) * 1000 for each in starts)


def utc_midnights(at_ms: int) -> Iterator[int]:
    """The same of the UTC day."""
    start = at_ms // DAY_MS * DAY_MS
    return iter((start, start + DAY_MS, start + 2 * DAY_MS))


def allows(limit: int, amount: int) -> bool:
    """Whether a limit lets an amount through."""
    return limit == UNLIMITED or amount <= limit


def may_get(demand: Demand, project: int) -> bool:
    """Whether the demand does not avoid the project."""
    only = demand.avoid.startswith("=")
    return not demand.avoid or (f",{project}," in demand.avoid) == only


@dataclass(slots=True)
class Booking:
    """What one lease holds in the windows."""

    at: int
    requests: int
    tokens: int
    emptied: int = 0
    """How often the counts had been emptied before it."""


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
    emptied: int = 0

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
            and may_get(demand, self.config.id)
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

    def fits_from(self, demand: Demand, now: int) -> int | None:
        """When the project takes the demand if nothing else comes; None: never."""
        if not self.usable:
            return None
        instants = sorted(self.changes(now) | {now})
        return next((at for at in instants if at >= now and self.fits(demand, at)), None)

    def book(self, demand: Demand, now: int, until: int) -> Booking:
        booking = Booking(now, demand.requests, demand.tokens, self.emptied)
        self.log.bookings.append(booking)
        self.pacific.append((now, demand.requests))
        self.utc.append((now, demand.requests))
        self.open_until[demand.lease_id] = until
        return booking

    def unbook(self, booking: Booking) -> None:
        """A release: the requests never happened, unless the counts were emptied since."""
        if booking in self.log.bookings:
            self.log.bookings = [each for each in self.log.bookings if each is not booking]
        if booking.emptied == self.emptied:
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
            self.log.bookings, self.pacific, self.utc = [], [], []
            self.emptied += 1
        if failures:
            self.failures, self.flags = 0, (self.flags | USABLE) & ~EXCLUDED

    def configure(self, config: LiveProject) -> None:
        self.config, self.keys, self.flags = config, list(config.keys), config.flags
        self.log.rpm, self.log.tpm = config.rpm, config.tpm
        if config.reset_at_ms > self.reset_at:  # it was not heard of here
            self.cool_until, self.wide_until = 0, 0
        self.reset_at = max(self.reset_at, config.reset_at_ms)
        if config.cool_granted_at_ms > self.reset_at:
            self.cool_until = max(self.cool_until, config.cool_until_ms)
        if config.wide_granted_at_ms > self.reset_at:
            self.wide_until = max(self.wide_until, config.wide_until_ms)


def _left(limit: int, used: int) -> int:
    return 2**40 - 1 - used if limit == UNLIMITED else limit - used
