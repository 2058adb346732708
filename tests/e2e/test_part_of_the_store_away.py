"""One node of three of a cluster stands still: what is known of the other models, and what goes on.

It is stopped and goes on later with all it had, as after a network that was cut.
"""

import asyncio
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx2
import pytest
import redis
from redis.crc import key_slot

from keypool_cli.core.day import day_of
from keypool_cli.engine.keyspace import MODELS as LIST
from keypool_cli.engine.keyspace import tag
from keypool_cli.engine.open_leases import open_leases
from keypool_cli.engine.store_client import ANSWER_S
from keypool_cli.engine.types import Demand
from keypool_cli.service.holding import Holding
from keypool_cli.service.lease_ids import new_lease_id
from keypool_cli.service.mirror import MIRROR
from tests.daemon.test_description import Described
from tests.support import bodies, bodies_faults
from tests.support.command_line import COMMAND, Result
from tests.support.daemon import API, APool, a_home, eventually
from tests.support.servers import SLOTS, cluster
from tests.support.timing import TRIES

pytestmark = pytest.mark.e2e

SIZE = 3


def node_of(key):
    """The index of the node that has a key."""
    slot = key_slot(key.encode())
    return next(i for i in range(SIZE) if slot < SLOTS * (i + 1) // SIZE)


NAMES = sorted((f"gemini-{each}" for each in range(50)), key=lambda name: node_of(tag(name)))
MODELS = {node_of(tag(each)): each for each in NAMES}
LISTING, MIRRORING = node_of(LIST), node_of(MIRROR)
MANY = 6


class World:
    """A cluster, a home that uses it, and a daemon."""

    def __init__(self, home, daemon, nodes):
        """nodes: port and process of each."""
        self.home, self.daemon, self._nodes = home, daemon, nodes

    @contextmanager
    def without(self, node):
        """One node stands still; at the end all is well again. Yields its model, and the others."""
        lost = MODELS[node]
        os.kill(self._nodes[node][1], signal.SIGSTOP)
        try:
            yield lost, sorted(set(MODELS.values()) - {lost})
        finally:
            os.kill(self._nodes[node][1], signal.SIGCONT)
            eventually(lambda: not any(map(_misses_one, self._nodes.values())))
            eventually(lambda: self.daemon.http.get("/readyz").json() == {"status": "ok"})

    def keypool(self, *words):
        done = subprocess.run(
            [*COMMAND, *words], env=self.home.env, capture_output=True, text=True, check=False
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def pool(self):
        """A pool with one project that every model was leased of."""
        pool = APool(self.home)
        project = pool.add(rpm=1000)
        for model in MODELS.values():
            self.daemon.granted(pool=pool.name, model=model)
        return pool.name, project

    def leases(self, pool, model):
        return self.daemon.lease(pool=pool, model=model).status_code


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    with (
        cluster(folder / "store", size=SIZE, whole=False) as url,
        a_home(folder / "home", window_s=6) as home,
    ):
        nodes = {}
        with redis.Redis(port=int(url.rpartition(":")[2])) as first:
            for low, _, (_, port, *_), *_ in first.execute_command("CLUSTER", "SLOTS"):
                node = round(low * SIZE / SLOTS)
                with redis.Redis(port=port) as each:
                    nodes[node] = port, each.info("server")["process_id"]
        hosts = ",".join(f"127.0.0.1:{port}" for port, _ in nodes.values())
        home.env["KEYPOOL_REDIS_URL"] = f"redis+cluster://{hosts}"
        with home.daemon() as daemon:
            yield World(home, daemon, nodes)


def _misses_one(node):
    """Whether a node still takes another for failed, which was stopped."""
    with redis.Redis(port=node[0]) as client:
        return "fail" in str(client.execute_command("CLUSTER", "NODES"))


@pytest.mark.parametrize("node", sorted({LISTING, MIRRORING, 0, 2}))
def test_what_can_be_known_is_shown_and_what_cannot_is_named(world, node):
    pool, project = world.pool()
    with world.without(node) as (lost, others):
        shown = world.keypool("status", "--pool", pool, "--json")
        assert shown.code == 6
        [told] = shown.json["pools"]
        assert [each["model"] for each in told["projects"][0]["models"]] == others
        assert [each["model"] for each in shown.json["unread"]] == [lost]
        assert f"out of reach: {lost} (node 127.0.0.1:" in shown.err
        assert world.keypool("status", "--pool", pool, "--model", others[0]).code == 0
        assert world.keypool("status", "--pool", pool, "--check").code == 6
        line = world.keypool("top", "--pool", pool, "--once", "--json")
        assert line.code == 6
        assert {each["model"] for each in line.json["rows"] if each["project"] == project} == {
            *others
        }
        assert [each["model"] for each in line.json["unread"]] == [lost]
        answer = world.daemon.http.get(f"{API}/status", params={"pool": pool})
        described = Described(world.daemon.http.get(f"{API}/openapi.json").json())
        described.check(f"{API}/status", "get", answer)
        assert [each["model"] for each in answer.json()["unread"]] == [lost]
        assert f"out of reach: {lost}" in answer.headers["x-keypool-away"]
        scraped = httpx2.get(f"{world.daemon.url}/metrics").text
        counted = re.findall(
            rf'keypool_used{{dimension="rpm",model="(.+)",project="{project}"}}', scraped
        )
        assert sorted(counted) == others


@pytest.mark.parametrize("node", range(SIZE))
def test_a_daemon_that_serves_some_models_is_ready(world, node):
    with world.without(node):
        answer = world.daemon.http.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"status": "partly"})


def test_a_model_out_of_reach_holds_up_no_other(world):
    """A machine that stands still does; not every time."""
    pool, _ = world.pool()
    assert any(_slowest_of_others(world, pool) < ANSWER_S / 2 for _ in range(TRIES))


def _slowest_of_others(world, pool):
    """How long leases on other models take at most while one waits for a model that is away."""
    with world.without(LISTING) as (lost, others), ThreadPoolExecutor(1) as threads:
        asked, slowest = threads.submit(world.leases, pool, lost), 0.0
        while not asked.done():
            began = time.monotonic()
            assert {world.leases(pool, each) for each in others} == {201}
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.05)
        assert asked.result() == 503
    return slowest


@pytest.mark.parametrize("node", range(SIZE))
def test_a_daemon_starts_and_serves_the_other_models(world, node):
    pool, _ = world.pool()
    with world.without(node) as (_, others), world.home.daemon() as late:
        for each in others:
            assert late.granted(pool=pool, model=each)


@pytest.mark.parametrize("node", [LISTING, (LISTING + 1) % SIZE])
def test_a_change_is_made_where_it_can_be_and_holds_for_the_rest_when_it_is_back(world, node):
    pool, project = world.pool()
    with world.without(node) as (lost, others):
        done = world.keypool("disable", f"{project}-key")
        assert (done.code, done.out) == (6, f"{project}-key is disabled\n")
        assert (
            f"the change is made, but daemons have not all heard of it: out of reach: {lost}"
            in (done.err)
        )
        assert {world.leases(pool, each) for each in others} == {503}
    assert world.leases(pool, lost) == 503


@pytest.mark.parametrize("node", [LISTING, (LISTING + 1) % SIZE])
def test_a_reset_frees_the_other_models_and_the_rest_when_it_is_back(world, node):
    pool, project = world.pool()
    for model in MODELS.values():
        lease = world.daemon.granted(pool=pool, model=model)
        world.daemon.settled(lease, status=429, error=bodies.FREE_DAY)
    with world.without(node) as (lost, others):
        told = world.keypool("reset", "--project", project, "--dry-run")
        assert told.code == 6
        assert f"out of reach: {lost}" in told.err
        done = world.keypool("reset", "--project", project)
        assert done.code == 6
        assert all(f"reset cooldown of {project} / {each}:" in done.out for each in others)
        assert f"out of reach: {lost}" in done.err
        assert {world.leases(pool, each) for each in others} == {201}
    assert world.leases(pool, lost) == 201


def test_a_reset_of_a_lost_model_frees_it_when_it_is_back_and_no_other(world):
    pool, project = world.pool()
    for model in MODELS.values():
        lease = world.daemon.granted(pool=pool, model=model)
        world.daemon.settled(lease, status=429, error=bodies.FREE_DAY)
    with world.without(LISTING) as (lost, others):
        assert world.keypool("reset", "--project", project, "--model", lost).code == 6
    assert {each: world.leases(pool, each) for each in (lost, *others)} == {
        lost: 201, **dict.fromkeys(others, 429)
    }  # fmt: skip


def test_counters_that_a_reset_could_not_empty_are_named(world):
    _, project = world.pool()
    with world.without(LISTING) as (lost, _):
        done = world.keypool("reset", "--project", project, "--counters", "--yes")
        assert done.code == 6
        assert f"their counters were not emptied: out of reach: {lost}" in done.err
        assert "run it again when that node is back" in done.err


@pytest.mark.parametrize("node", [LISTING, (LISTING + 1) % SIZE])
def test_a_dead_key_is_used_for_no_other_model_either(world, node):
    pool, _ = world.pool()
    with world.without(node) as (lost, (one, another)):
        lease = world.daemon.granted(pool=pool, model=one)
        world.daemon.settled(lease, status=400, error=bodies_faults.KEY_INVALID)
        assert {world.leases(pool, each) for each in (one, another)} == {503}
    assert world.leases(pool, lost) == 503


def test_calls_on_other_models_keep_their_slots_in_flight(world):
    pool, project = world.pool()

    async def left(ports):
        """How many leases are open when those of a call on each model have been renewed for long."""
        found = ports.registry.pools.find(pool).id, ports.registry.projects.find(project).id
        with world.without(LISTING) as (lost, (model, _)):
            held = Holding(ports.engine)
            demand = Demand(new_lease_id(model), 1, 1, ttl_ms=int(1000 * held.ttl_s))
            await ports.engine.acquire(
                model, found[0], [demand], revision=ports.registry.revision()
            )
            held.hold(new_lease_id(lost))
            held.hold(demand.lease_id)
            with suppress(TimeoutError):
                await asyncio.wait_for(held.run(), held.ttl_s * 1.5)
            now_ms = await ports.engine.now_ms()
            return await open_leases(ports.engine, model, {found[1]}, now_ms=now_ms)

    assert len(world.home.run(left)) == 2


def test_days_are_written_down_for_the_models_that_are_there(world):
    pool, project = world.pool()
    lost = [each for each in NAMES if node_of(tag(each)) == LISTING]
    for each in lost[:MANY]:  # each of which would be waited for
        world.daemon.granted(pool=pool, model=each)
    with world.without(LISTING) as (_, others):
        for each in others:
            world.daemon.granted(pool=pool, model=each)
        day = day_of(time.time_ns() // 1_000_000).isoformat()
        with world.home.registry() as registry:
            number = registry.projects.find(project).id
            counts = registry.day_counts.load
            eventually(
                lambda: {counts(each, day).get(number) for each in others} == {2}, within_s=10
            )


def test_a_model_that_is_first_used_while_the_list_is_away_is_on_it_once_that_is_back(world):
    pool, _ = world.pool()
    new = next(each for each in NAMES if node_of(tag(each)) != LISTING)
    assert new not in MODELS.values()
    with world.without(LISTING):
        world.daemon.granted(pool=pool, model=new)

    def models():
        [told] = world.daemon.http.get(f"{API}/status", params={"pool": pool}).json()["pools"]
        return {each["model"] for each in told["projects"][0]["models"]}

    eventually(lambda: models() == {new, *MODELS.values()}, within_s=15)
