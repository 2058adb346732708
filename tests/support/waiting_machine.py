"""A random walk with demands that wait: nothing is lost, granted twice, or left lying about."""

from struct import Struct

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from keypool_cli.core.model import UNLIMITED
from keypool_cli.engine.keyspace import tag
from keypool_cli.engine.types import (
    Demand,
    Grant,
    LiveMark,
    LivePool,
    MarkAction,
    Refused,
    Settlement,
    Waits,
)
from keypool_cli.engine.wire import read_grant
from tests.support.live_engine import LiveEngine, a_demand, a_project, raw
from tests.support.oracle import Oracle

DAEMONS = ("d1", "d2")
QUEUE = 12
_WAITER = Struct("<qqIB")

projects = st.builds(
    a_project,
    st.integers(1, 3),
    rpm=st.sampled_from((1, 3, 6)),
    tpm=st.sampled_from((500, 1000)),
    in_flight=st.sampled_from((1, UNLIMITED, UNLIMITED)),
    priority=st.sampled_from((0, 1)),
)
demands = st.builds(
    a_demand,
    st.sampled_from((1, 100, 100, 400, 900)),
    requests=st.sampled_from((1, 1, 1, 2)),
    ttl_ms=st.sampled_from((5000, 600_000)),
    client=st.sampled_from((0, 1, 2)),
    daemon=st.sampled_from(DAEMONS),
)


class WaitingMachine(RuleBasedStateMachine):
    """Two daemons whose clients wait."""

    live: LiveEngine

    def __init__(self) -> None:
        super().__init__()
        self.oracle = Oracle()
        self.waiting: dict[str, Demand] = {}
        self.delivered: set[str] = set()

    @initialize(
        found=st.lists(projects, min_size=1, max_size=3, unique_by=lambda each: each.id),
        policy=st.sampled_from((0, 1)),
    )
    def begin(self, found, policy):
        self.live.fresh()
        self.oracle.policies = {1: policy}
        self._load(found)

    def _load(self, found):
        for each in found:
            self.oracle.load(each, self.live.now)
        self.live.load(*found, pools=[LivePool(1, self.oracle.policies[1], [1, 0])])

    # --- operations ---------------------------------------------------------------------------

    @rule(
        batch=st.lists(demands, min_size=1, max_size=4),
        wait_ms=st.sampled_from((3000, 30_000, 300_000)),
        limited=st.booleans(),
    )
    def acquire(self, batch, wait_ms, limited):
        self._keep_alive()
        for demand in batch:
            rpm = 2 if limited and demand.client == 2 else UNLIMITED
            changes = {"client_rpm": rpm, "deadline_ms": self.live.now + wait_ms}
            asked = msgspec.structs.replace(demand, **changes)
            (result,) = self.live.acquire_all(asked, queue=QUEUE)
            self._take_grants()
            self._answered(asked, result)
            self._nothing_missed()

    def _answered(self, asked, result):
        if isinstance(result, Grant):
            self._granted(asked, result)
        elif isinstance(result, Waits):
            assert len(self.waiting) < QUEUE
            self.waiting[asked.lease_id] = asked
        else:
            assert isinstance(result, Refused)
            assert (result.limit == "queue") == (len(self.waiting) >= QUEUE)

    @precondition(lambda self: self._open())
    @rule(data=st.data(), used=st.sampled_from((None, 0, 50, 1200)), cool=st.booleans())
    def settle(self, data, used, cool):
        lease_id = data.draw(st.sampled_from(self._open()))
        client = self.oracle.leases[lease_id].demand.client
        mark = LiveMark(MarkAction.COOL, self.live.now + 90_000) if cool else None
        item = Settlement(lease_id, client, used, not cool, mark)
        expected = self.oracle.settle(item, self.live.now)
        assert self.live.run(self.live.engine.settle(self.live.model, [item])) == [expected]
        self._look()

    @precondition(lambda self: self._open())
    @rule(data=st.data())
    def release(self, data):
        lease_id = data.draw(st.sampled_from(self._open()))
        client = self.oracle.leases[lease_id].demand.client
        self.oracle.release(lease_id, client, self.live.now)
        assert self.live.release(lease_id, client=client) == "released"
        self._look()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data):
        lease_id = data.draw(st.sampled_from(sorted(self.waiting)))
        asked = self.waiting.pop(lease_id)
        assert self.live.release(lease_id, client=asked.client) == "released"
        self._look()

    @rule(counters=st.booleans())
    def reset(self, counters):
        ids = sorted(self.oracle.projects)
        for each in self.oracle.projects.values():
            each.reset(self.live.now, counters=counters, failures=False)
        self.live.run(self.live.engine.reset(self.live.model, ids, counters=counters))
        self._look()

    @rule(found=projects)
    def load(self, found):
        known = self.oracle.projects.get(found.id)
        if known is None or known.config.in_flight == found.in_flight:
            self._load([found])
            self._look()

    @rule(ms=st.sampled_from((1, 700, 5000, 20_000, 61_000)))
    def pass_time(self, ms):
        """The daemons pump when they were told to, and only then."""
        until = self.live.now + ms
        while self.live.now < until:
            self._keep_alive()
            instants = [self._pump(daemon) for daemon in DAEMONS]
            self._nothing_missed()
            due = min((at for at in instants if at), default=until)
            self._nothing_fits_before(min(due, until))
            self.live.now = min(due, until)
        self._keep_alive()
        for daemon in DAEMONS:
            self._pump(daemon)
        self._nothing_missed()

    # --- what must hold -------------------------------------------------------------------------

    def _pump(self, daemon):
        pumped = self.live.pump(daemon)
        for grant in pumped.grants:
            assert grant.lease_id not in self.delivered, "handed over twice"
            self.delivered.add(grant.lease_id)
        self._take_grants(pumped.grants)
        assert all(each.lease_id in self.oracle.leases for each in pumped.grants)
        self._forget_late()
        assert pumped.waiting == len(self.waiting)
        assert pumped.next_at_ms == 0 or pumped.next_at_ms > self.live.now
        return pumped.next_at_ms

    def _granted(self, asked, grant):
        assert grant.lease_id not in self.oracle.leases, "granted twice"
        earlier = [
            each
            for each in self.waiting.values()
            if _alike(each, asked) and each.lease_id < asked.lease_id
        ]
        assert not earlier, "served before an equal demand of its client that came first"
        self.oracle.grant(asked, grant.project_id, grant.key_id, self.live.now)

    def _take_grants(self, handed_over=()):
        """Book what was handed over, and what lies ready for the daemons without taking it."""
        found = list(handed_over)
        for daemon in DAEMONS:
            name = f"{tag(self.live.model)}:grants:{daemon}"
            rows = self.live.run(self.live.client.lrange(name, 0, -1))
            found += [read_grant(raw(each)) for each in rows]
        new = [each for each in found if each.lease_id in self.waiting]
        served = [self.waiting.pop(each.lease_id) for each in new]
        for asked, grant in zip(served, new, strict=True):
            self._granted(asked, grant)

    def _look(self):
        self._take_grants()
        self._nothing_missed()

    def _open(self):
        return sorted(name for name, each in self.oracle.leases.items() if each.end is None)

    def _forget_late(self):
        late = [name for name, each in self.waiting.items() if each.deadline_ms <= self.live.now]
        for name in late:
            del self.waiting[name]

    def _keep_alive(self):
        for daemon in DAEMONS:
            self.live.run(
                self.live.client.set(f"{tag(self.live.model)}:daemon:{daemon}", self.live.now)
            )

    def _held(self):
        """The waiter that a project is kept free for, and the project."""
        get, prefix = self.live.client, tag(self.live.model)
        holder = self.live.run(get.get(f"{prefix}:holder:1"))
        record = holder and self.live.run(get.hget(f"{prefix}:waiter", holder))
        return (raw(holder).decode(), held_project(raw(record))) if record else (None, 0)

    def _nothing_missed(self):
        self._nothing_fits_before(self.live.now + 1)

    def _nothing_fits_before(self, until):
        holder, held = self._held()
        for name, asked in self.waiting.items():
            at = self._earliest(asked, without=held if name != holder else 0)
            assert at is None or at >= min(until, asked.deadline_ms), "a waiter was forgotten"

    def _earliest(self, asked, *, without):
        hidden = self.oracle.projects
        self.oracle.projects = {
            number: each for number, each in hidden.items() if number != without
        }
        try:
            return self.oracle.earliest(1, asked, self.live.now)
        finally:
            self.oracle.projects = hidden

    def teardown(self):
        if not self.oracle.projects:
            return
        self.pass_time(300_000)
        assert not self.waiting
        names = self.live.keys()
        left = {name.split(":")[0] for name in names}
        assert left.isdisjoint({"line", "sizes", "turns", "waiter", "holder", "grants"})


def _alike(one, other):
    return (one.client, one.tokens, one.requests, one.client_rpm) == (
        other.client,
        other.tokens,
        other.requests,
        other.client_rpm,
    )


def held_project(record: bytes) -> int:
    """The project kept free for a waiter, by its record in ``T:waiter``."""
    size = _WAITER.unpack_from(record)[3]
    return int(record[_WAITER.size : _WAITER.size + size])
