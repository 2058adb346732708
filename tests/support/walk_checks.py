"""What must hold at every step of a long walk, judged by the oracle."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from keypool_cli.engine.keyspace import tag
from keypool_cli.engine.types import ASK_AGAIN, Demand, Grant, Refused
from keypool_cli.engine.wire import read_grant
from tests.support.engine_machine import views_agree
from tests.support.live_engine import USUAL_TIMES, LiveEngine, a_demand
from tests.support.oracle import Oracle
from tests.support.oracle_project import ProjectModel
from tests.support.waiting_machine import held_project

LOOK = 64
"""So many projects a refusal looks at; of larger pools it may only say that it is not sure."""

MOST_LEASES_DUE = 900
"""More leases that are over than one call ends: what they held is free a few calls later."""

SAMPLE = 6
FAR = 2**48


@dataclass(slots=True)
class Waiter:
    """A demand in a line."""

    demand: Demand
    pool: int
    since: int
    daemon_died: bool = False


class Checks:
    """Engine and oracle side by side, and the demands that wait."""

    def __init__(self, live: LiveEngine, oracle: Oracle, pool_ids: Sequence[int]) -> None:
        self.live, self.oracle, self.pool_ids = live, oracle, pool_ids
        self.counts: Counter[str] = Counter()
        self.daemons = ["d1", "d2", "d3"]
        self.waiting: dict[str, Waiter] = {}
        self.told: list[int] = []
        self.latest = self.blurred_until = 0
        self._delivered: set[str] = set()
        self._daemons_known: set[str] = set()

    @property
    def is_blurred(self) -> bool:
        """Whether the clock was set back less than a window ago: entries are kept a bit longer."""
        return self.live.now < self.blurred_until

    # --- grants -------------------------------------------------------------------------------

    def book(self, demand: Demand, grant: Grant) -> None:
        assert grant.lease_id == demand.lease_id not in self.oracle.leases, "granted twice"
        assert grant.granted_at_ms == self.live.now
        latest = self.latest if self.is_blurred else None
        place = (grant.project_id, grant.key_id, self.live.now)
        self.oracle.grant(demand, *place, latest=latest)

    def check_choice(self, demand: Demand, grant: Grant, pool: int, held: Collection[int]) -> None:
        """The pool's, the one preferred if that fits, and of the highest priority that has room."""
        chosen = self.oracle.projects[grant.project_id]
        assert pool in chosen.config.pools
        self._overtook_nobody(demand, pool)
        if self.is_blurred or grant.project_id in held:
            return
        fitting = [each for each in self._fitting(pool, demand) if each.config.id not in held]
        assert chosen in fitting, "granted where there is no room"
        if demand.prefer in {str(each.config.id) for each in fitting}:
            assert demand.prefer == str(grant.project_id)
            return
        assert chosen.config.priority == max(each.config.priority for each in fitting)

    def _fitting(self, pool: int, demand: Demand) -> list[ProjectModel]:
        return self.oracle.fitting(pool, demand, self.live.now)

    def _overtook_nobody(self, demand: Demand, pool: int) -> None:
        for each in self.waiting.values():
            if each.pool == pool and _alike(each.demand, demand) and self._is_served(each):
                assert each.demand.lease_id > demand.lease_id, "overtook an equal one that waits"

    def _is_served(self, waiter: Waiter) -> bool:
        return not waiter.daemon_died and waiter.demand.deadline_ms > self.live.now

    # --- refusals -----------------------------------------------------------------------------

    def check_refusal(
        self,
        demand: Demand,
        refused: Refused,
        pool: int,
        held: Collection[int],
        *,
        most_waiting: int,
    ) -> None:
        if refused.retry_at_ms == ASK_AGAIN or self.is_blurred:
            return
        if refused.limit == "queue":
            assert sum(each.pool == pool for each in self.waiting.values()) >= most_waiting
            return
        self._has_no_room(demand, pool, held)
        self._check_retry(demand, refused, pool, held)
        if refused.retry_at_ms:
            self.told.append(refused.retry_at_ms)
        if refused.project_id and refused.project_id not in held:
            named = self.oracle.projects[refused.project_id]
            assert named.fits(demand, refused.retry_at_ms or 0)

    def _has_no_room(self, demand: Demand, pool: int, held: Collection[int]) -> None:
        fitting = {each.config.id for each in self._fitting(pool, demand)}
        assert fitting <= set(held), f"refused though there is room in {fitting}"

    def _check_retry(
        self, demand: Demand, refused: Refused, pool: int, held: Collection[int]
    ) -> None:
        members, now, at = self.oracle.members(pool), self.live.now, refused.retry_at_ms
        unheld = self._first(demand, [each for each in members if each.config.id not in held])
        own = self.oracle.client_fits_from(demand, now)
        if own is None or own > now:
            assert at is not None or own is None or unheld is None
            assert at is None or (own is not None and at >= own)
            return
        first = self._first(demand, members)
        if refused.is_sure and at is not None:
            assert first is not None
            assert first <= at <= (unheld or at), (first, at, unheld)
        elif refused.is_sure:
            assert unheld is None, unheld
        else:
            self.counts["unsure"] += 1
            assert len(members) > LOOK
            assert at is not None
            assert now < at <= (unheld or at), (now, at, unheld)

    def _first(self, demand: Demand, members: Iterable[ProjectModel]) -> int | None:
        found = (each.fits_from(demand, self.live.now) for each in members)
        return min((at for at in found if at is not None), default=None)

    # --- waiting ------------------------------------------------------------------------------

    def check_wait(self, demand: Demand, pool: int, held: Collection[int]) -> None:
        """It waits, for nothing has room and something may have."""
        self.waiting[demand.lease_id] = Waiter(demand, pool, self.live.now)
        assert demand.deadline_ms > self.live.now
        if self.is_blurred or self._leases_due() > MOST_LEASES_DUE:
            return
        self._has_no_room(demand, pool, held)
        members = self.oracle.members(pool)
        assert len(members) > LOOK or self._first(demand, members), "waits for what never comes"

    def collect(self, handed_over: Sequence[Grant] = ()) -> None:
        """Book what was handed over, and what lies ready for the daemons without taking it."""
        self._daemons_known.update(self.daemons)
        names = [f"{tag(self.live.model)}:grants:{each}" for each in self._daemons_known]
        lists = self.live.pipeline(*(("LRANGE", name, 0, -1) for name in names))
        found = [*handed_over, *(read_grant(row) for rows in lists for row in rows)]
        served = []
        for grant in found:
            if grant.lease_id in self.waiting:
                waiter = self.waiting.pop(grant.lease_id)
                self.book(waiter.demand, grant)
                served.append(waiter)
        self.counts["served"] += len(served)
        self.nobody_passed_over(served)

    def nobody_passed_over(self, served: Iterable[Waiter]) -> None:
        for each in served:
            assert each.pool in self.oracle_pools(each.demand)
            if each.since + USUAL_TIMES.starve_ms > self.live.now:  # no project was kept for it
                self._overtook_nobody(each.demand, each.pool)

    def oracle_pools(self, demand: Demand) -> list[int]:
        """Pools of the project that a demand got."""
        return self.oracle.projects[self.oracle.leases[demand.lease_id].project].config.pools

    def held_projects(self) -> set[int]:
        """Projects kept free for a waiter."""
        return {project for _, project in self._holders().values()}

    def _holders(self) -> dict[int, tuple[str, int]]:
        """By pool, the waiter that has a project kept free, and that project."""
        prefix = tag(self.live.model)
        names = [f"{prefix}:holder:{pool}" for pool in self.pool_ids]
        found = self.live.pipeline(("MGET", *names))[0]
        holders = {p: name for p, name in zip(self.pool_ids, found, strict=True) if name}
        if not holders:
            return {}
        records = self.live.pipeline(("HMGET", f"{prefix}:waiter", *holders.values()))[0]
        return {
            pool: (name.decode(), held_project(record))
            for (pool, name), record in zip(holders.items(), records, strict=True)
            if record and held_project(record)
        }

    def pump(self, daemon: str, pools: Sequence[int] | None = None) -> int:
        """What a daemon does for its own waiters, or all pools; when it is told to come again."""
        own = {w.pool for w in self.waiting.values() if w.demand.daemon == daemon}
        pumped = self.live.pump(daemon, sorted(own) if pools is None else pools)
        for grant in pumped.grants:
            assert grant.lease_id not in self._delivered, "handed over twice"
            self._delivered.add(grant.lease_id)
        self.collect(pumped.grants)
        assert all(each.lease_id in self.oracle.leases for each in pumped.grants)
        self._forget_late()
        assert pumped.waiting >= sum(map(self._is_served, self.waiting.values()))
        return pumped.next_at_ms

    def _forget_late(self) -> None:
        late = [n for n, each in self.waiting.items() if each.demand.deadline_ms <= self.live.now]
        for name in late:
            del self.waiting[name]

    def _leases_due(self) -> int:
        name = f"{tag(self.live.model)}:leases"
        return int(self.live.pipeline(("ZCOUNT", name, "-inf", self.live.now))[0])

    def nothing_missed(self, pools: Collection[int]) -> None:
        """No demand waits that has room in one of the pools whose waiters were looked at."""
        waiters = [w for w in self.waiting.values() if w.pool in pools and self._is_served(w)]
        if not waiters or self.is_blurred or self._leases_due() > MOST_LEASES_DUE:
            return
        holders = dict(self._holders().values())
        for each in waiters[:: max(len(waiters) // SAMPLE, 1)]:
            name = each.demand.lease_id
            held = {project for holder, project in holders.items() if holder != name}
            fitting = {other.config.id for other in self._fitting(each.pool, each.demand)}
            assert fitting <= held, f"a waiter was forgotten: {each}, {fitting}"

    def starved_are_kept_a_project(self) -> None:
        """One project of each pool in which somebody has waited long enough."""
        if self.is_blurred:
            return
        holders = self._holders()
        for pool, (name, project) in holders.items():
            assert project not in self.oracle.projects or self._is_its(pool, name, project)
        held = {project for _, project in holders.values()}
        for each in self.waiting.values():
            if each.pool not in holders and self._starves(each, held):
                raise AssertionError(f"nothing is kept free for {each}")

    def _is_its(self, pool: int, name: str, project: int) -> bool:
        """Whether the project can ever be had by who it is kept free for."""
        waiter = self.waiting.get(name)
        if waiter is None or not self._is_served(waiter) or not self._client_allows(waiter):
            return True
        return pool in self.oracle.projects[project].config.pools

    def _client_allows(self, waiter: Waiter) -> bool:
        return self.oracle.client_fits_from(waiter.demand, self.live.now) == self.live.now

    def _starves(self, waiter: Waiter, held: Collection[int]) -> bool:
        """Whether many projects take it within a window: so many that a look at some finds one."""
        if waiter.since + USUAL_TIMES.starve_ms > self.live.now or not self._is_served(waiter):
            return False
        members = [m for m in self.oracle.members(waiter.pool) if m.config.id not in held]
        soon = self.live.now + self.oracle.window_ms + 1
        able = sum((m.fits_from(waiter.demand, self.live.now) or FAR) <= soon for m in members)
        return self._client_allows(waiter) and 0 < able >= len(members) // 4

    # --- how projects stand -------------------------------------------------------------------

    def views_are_exact(self, ids: Sequence[int]) -> None:
        """What a look at projects tells is what the oracle knows of them."""
        if self.is_blurred:
            return
        chosen = [each for each in ids if each not in self.held_projects()]
        found = self.live.run(self.live.engine.snapshot(self.live.model, chosen)).views
        assert [each.project_id for each in found] == chosen
        for view in found:
            views_agree(view, self.oracle.projects[view.project_id], self.live.now, a_demand(1))


def _alike(one: Demand, other: Demand) -> bool:
    """Equal but for who came first; what may get only some projects is equal to nobody."""
    fields = ("client", "tokens", "requests", "client_rpm", "client_tpm", "prefer")
    same = all(getattr(one, each) == getattr(other, each) for each in fields)
    return same and not one.avoid and not other.avoid
