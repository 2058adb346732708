"""A long walk through the engine with hundreds of projects, each answer held against the oracle.

What only scale shows: pools in which many projects must be passed over, sets read in pages, calls
that give up half-way.
"""

from collections.abc import Callable, Sequence
from random import Random

from keypool_cli.engine.types import (
    Demand,
    Grant,
    LeaseEnd,
    LiveMark,
    LiveProject,
    MarkAction,
    Settled,
    Settlement,
    Waits,
)
from tests.support.live_engine import LiveEngine, a_demand
from tests.support.oracle import Oracle
from tests.support.oracle_project import pacific_midnights, utc_midnights
from tests.support.walk_catalog import Catalog
from tests.support.walk_checks import Checks
from tests.support.walk_world import World

HOUR_MS = 3_600_000
QUEUE = 400
MOST_ROUNDS = 100
"""After so many calls a model is up to date, however much was due."""

REST_MS = 250
"""A pump rests at least this long."""


class Walk(Checks):
    """One seed's walk. Daemons have names; one that dies is never heard of again."""

    def __init__(self, live: LiveEngine, seed: int, *, size: int, pool_count: int) -> None:
        self.random = Random(seed)
        self.world = World(self.random, size, pool_count)
        super().__init__(live, Oracle(), self.world.pool_ids)
        self.oracle.policies = self.world.policies
        self.catalog = Catalog(self.world, self.oracle)
        self.revision, self._born = 0, 3
        live.fresh()
        live.now = self.world.start
        self._change([self.world.project(each) for each in range(1, size + 1)], [])

    @property
    def ids(self) -> list[int]:
        return list(self.oracle.projects)

    def walk(self, steps: int) -> None:
        """So many operations, then all waiters' time runs out, and nothing may be left of them."""
        for _ in range(steps):
            chosen = self.random.choices(list(OPERATIONS), list(OPERATIONS.values()))[0]
            self.counts[chosen.__name__] += 1
            chosen(self)
            self._trim()
        self.live.now = max(self.live.now, self.blurred_until) + 301_000
        self.catch_up()
        assert not self.waiting
        names = self.live.keys()
        left = {name.split(":")[0] for name in names}
        assert left.isdisjoint({"line", "sizes", "turns", "waiter", "holder"}), left

    # --- demands ------------------------------------------------------------------------------

    def acquire(self) -> None:
        size, now, ids = self.random.choice((1, 1, 2, 8, 32)), self.live.now, self.ids
        batch = [self.world.demand(ids, now, self.daemons) for _ in range(size)]
        self._acquire(batch, self.random.choice(self.world.pool_ids))

    def flood(self) -> None:
        """Very many equal demands, until hardly a project has room for more of them."""
        kinds = ((1, 1), (90, 1), (90, 2), (1, 2), (280, 1), (590, 1))
        tokens, requests = self.random.choice(kinds)
        pool, ttl_ms = self.random.choice(self.world.pool_ids), self.random.choice((1000, 60_000))
        for _ in range(self.random.choice((1, 3, 8))):
            batch = [a_demand(tokens, requests=requests, ttl_ms=ttl_ms) for _ in range(32)]
            self._acquire(batch, pool)

    def _acquire(self, batch: Sequence[Demand], pool: int) -> None:
        before = self.held_projects()
        results = self.live.acquire_all(*batch, pool=pool, queue=QUEUE)
        self.collect()
        held = before | self.held_projects()
        for demand, result in zip(batch, results, strict=True):
            self.counts[type(result).__name__] += 1
            if isinstance(result, Grant):
                self.check_choice(demand, result, pool, held)
                self.book(demand, result)
            elif isinstance(result, Waits):
                self.check_wait(demand, pool, held)
            else:
                self.check_refusal(demand, result, pool, held, most_waiting=QUEUE)

    def acquire_best(self) -> None:
        """With every score up to date, the choice is the policy's."""
        self.catch_up()
        pool = self.random.choice(self.world.pool_ids)
        if self.is_blurred or self.waiting:
            return
        demand = a_demand(self.random.choice((1, 200, 600)), ttl_ms=30_000)
        best = self.oracle.best(pool, demand, self.live.now)
        (result,) = self.live.acquire_all(demand, pool=pool)
        if isinstance(result, Grant):
            assert self.oracle.projects[result.project_id] in best, "not the policy's choice"
            self.book(demand, result)
        else:
            assert not best, "refused though there is room"

    # --- leases -------------------------------------------------------------------------------

    def settle(self) -> None:
        """Several at once, used as reserved, not at all or far more, some refused."""
        items = []
        for name in self._some_leases(5):
            mark = self.world.mark(self.live.now) if self.random.random() < 0.4 else None
            used = self.random.choice((None, 0, 40, 500, 5000))
            client = self.oracle.leases[name].demand.client
            items.append(Settlement(name, client, used, mark is None, mark))
        expected = [self.oracle.settle(each, self.live.now) for each in items]
        assert self.live.run(self.live.engine.settle(self.live.model, items)) == expected
        ended = [
            n for n, e in zip(items, expected, strict=True) if isinstance(e, Settled) and e.first
        ]
        self._after({self.oracle.leases[each.lease_id].project for each in ended})

    def release(self) -> None:
        for name in self._some_leases(3):
            lease = self.oracle.leases[name]
            had_ended = lease.end is not None
            expected = self.oracle.release(name, lease.demand.client, self.live.now)
            assert self.live.release(name, client=lease.demand.client) == expected
            changes = expected == LeaseEnd.RELEASED and not had_ended
            self._after({lease.project} if changes else set())

    def renew(self) -> None:
        names, ttl_ms = self._some_leases(4), self.random.choice((1, 900, 30_000))
        if self.is_blurred:  # one whose time was over before the clock was set may have been ended
            names = [n for n in names if self.oracle.leases[n].expires_at > self.latest]
        expected = sum(self.oracle.renew(each, ttl_ms, self.live.now) for each in names)
        assert self.live.renew(*names, ttl_ms=ttl_ms) == expected

    def withdraw(self) -> None:
        """A client that waits hangs up."""
        for name in self.random.sample(sorted(self.waiting), min(len(self.waiting), 3)):
            waiter = self.waiting.pop(name, None)
            if waiter is not None:  # the one before may have made room for it
                found = self.live.release(name, client=waiter.demand.client)
                late = waiter.demand.deadline_ms <= self.live.now or waiter.daemon_died
                assert found == LeaseEnd.RELEASED or late
                self.collect()

    def _some_leases(self, count: int) -> list[str]:
        """Mostly open ones; seldom one that ended, or whose project is gone."""
        leases = self.oracle.leases
        names = [name for name, each in leases.items() if each.end is None]
        if self.random.random() < 0.1:
            names = list(leases)
        return self.random.sample(names, min(len(names), count))

    def _after(self, projects: set[int]) -> None:
        """What made room in projects has served the waiters of their pools."""
        self.collect()
        known = [self.oracle.projects[each] for each in projects if each in self.oracle.projects]
        self.nothing_missed({pool for each in known for pool in each.config.pools})

    # --- refusals, resets, the catalog ----------------------------------------------------------

    def mark(self) -> None:
        """A refusal seen on another model, or an account's, meets many projects at once."""
        chosen = self.random.sample(self.ids, self.random.choice((1, 5, 40)))
        mark = LiveMark(MarkAction.COOL, self.live.now + self.random.choice((500, 9000, 90_000)))
        at = self.live.now - self.random.choice((0, 0, 5000))
        states = [self.oracle.projects[each] for each in chosen]
        expected = sum(each.apply(mark, at, 0, self.live.now)[0] for each in states)
        call = self.live.engine.mark(self.live.model, chosen, mark, granted_at_ms=at)
        assert self.live.run(call) == expected

    def reset(self) -> None:
        count = self.random.choice((1, 5, 40, 200))
        chosen = self.random.sample(self.ids, min(count, len(self.ids)))
        what = {each: self.random.random() < 0.4 for each in ("counters", "failures")}
        self.live.run(self.live.engine.reset(self.live.model, chosen, **what))
        for each in chosen:
            self.oracle.projects[each].reset(self.live.now, **what)
        self._after(set(chosen))

    def change(self) -> None:
        """Projects added, removed, moved, switched off, with other limits or priorities."""
        if not self._a_day_ends_soon():
            named = [each.demand.avoid[2:-1] for each in self.waiting.values()]
            awaited = {int(each) for each in named if each.isdigit()} | self.held_projects()
            self._change(*self.catalog.change(self.live.now, awaited))

    def _a_day_ends_soon(self) -> bool:
        """Within the guard: what is booked now would count in the next, too."""
        ends = (each(self.live.now + 1500) for each in _MIDNIGHTS)
        return any(next(each) > self.live.now for each in ends)

    def _change(self, projects: Sequence[LiveProject], gone: Sequence[int]) -> None:
        for each in projects:
            self.oracle.load(each, self.live.now)
        for number in gone:
            self.oracle.unload(number)
        revisions = (self.revision, self.revision + 1)
        self.revision += 1
        engine, model, pools = self.live.engine, self.live.model, self.world.pools
        if revisions[0] and self.random.random() < 0.7:
            call = engine.amend(model, projects, gone, pools=pools, revisions=revisions)
            assert self.live.run(call)
        else:
            self.live.run(engine.load(model, projects))
            self.live.run(engine.unload(model, gone))
            call = engine.seal(model, revision=revisions[1], pools=pools, epoch="e")
            assert self.live.run(call)
        self.collect()
        self.nothing_missed(set(self.world.pool_ids))

    # --- time and daemons -----------------------------------------------------------------------

    def pass_time(self) -> None:
        spans = (0, 1, 3, 200, 700, 5000, 20_000, 60_501, 62_000)
        self._pass(self.live.now + self.random.choice(spans))

    def _pass(self, until: int) -> None:
        """The daemons pump when they were told to, and only then."""
        due = dict.fromkeys(self.daemons, self.live.now)
        while self.waiting and self.live.now < until:
            for daemon in [name for name, at in due.items() if at <= self.live.now]:
                told, rests = self.pump(daemon), self.live.now + REST_MS
                due[daemon] = min(max(told or rests + 1000, rests), self.live.now + 1000)
            self.live.now = min(*due.values(), until)
        self.live.now = until

    def pass_hours(self) -> None:
        self.live.now += self.random.choice((8, 16, 24)) * HOUR_MS

    def go_to_a_retry(self) -> None:
        if self.told:
            at = self.random.choice(self.told[-20:])
            if at < self.live.now + 100_000:
                self._pass(max(self.live.now, at))

    def set_clock_back(self) -> None:
        """The store's clock makes a small step; for a window, only what is granted is judged."""
        ms, now = self.random.choice((1, 40, 900, 4000)), self.live.now
        near = any(next(each(now + 70_000)) != next(each(now - 70_000)) for each in _MIDNIGHTS)
        if not near and not self.is_blurred and not self.waiting:
            self.latest, self.blurred_until = now, now + self.oracle.window_ms + 1
            self.live.now -= ms

    def settle_down(self) -> None:
        """Every daemon pumps until nothing is due: then no waiter may fit anywhere."""
        self.catch_up()
        self.nothing_missed(set(self.world.pool_ids))
        self.starved_are_kept_a_project()
        self.views_are_exact(self.random.sample(self.ids, 20))

    def kill_a_daemon(self) -> None:
        """Its waiters stay, its leases too, and another starts."""
        gone = self.random.choice(self.daemons)
        self._born += 1
        self.daemons[self.daemons.index(gone)] = f"d{self._born}"
        for waiter in self.waiting.values():
            waiter.daemon_died |= waiter.demand.daemon == gone

    def catch_up(self) -> None:
        """Pump until nothing is due at this instant."""
        for _ in range(MOST_ROUNDS):
            told = [self.pump(each, self.world.pool_ids) for each in self.daemons]
            if all(at == 0 or at > self.live.now for at in told):
                return
        raise AssertionError("still not up to date")

    def _trim(self) -> None:
        """Bookings that count no more slow the oracle down."""
        since = self.live.now - self.oracle.window_ms - 10_000
        for each in self.oracle.projects.values():
            if len(each.log.bookings) > 6:
                each.log.bookings = [b for b in each.log.bookings if b.at >= since]


_MIDNIGHTS = (pacific_midnights, utc_midnights)

OPERATIONS: dict[Callable[[Walk], None], int] = {
    Walk.acquire: 50,
    Walk.flood: 9,
    Walk.acquire_best: 3,
    Walk.settle: 9,
    Walk.release: 4,
    Walk.renew: 2,
    Walk.withdraw: 2,
    Walk.mark: 3,
    Walk.reset: 2,
    Walk.change: 5,
    Walk.pass_time: 14,
    Walk.pass_hours: 1,
    Walk.go_to_a_retry: 2,
    Walk.set_clock_back: 1,
    Walk.settle_down: 4,
    Walk.kill_a_daemon: 1,
}
