"""What survives: daemons and the live store killed, emptied, stopped and started again."""

import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2
import pytest
import redis

from keypool_cli.core.day import day_end_ms
from keypool_cli.engine.keyspace import tag
from keypool_cli.engine.store_client import ANSWER_S
from keypool_cli.service.instants import iso
from keypool_cli.service.riding_out import RIDE_OUT_S
from keypool_cli.service.waiting import LEFT_S
from tests.support import bodies
from tests.support.daemon import API, FLASH, APool, a_home, eventually, with_constants
from tests.support.proxy import GENERATE, a_body
from tests.support.raw_upstream import raw_upstream
from tests.support.running import START_S
from tests.support.servers import sentinel
from tests.support.timing import quickly
from tests.support.valkey import private_valkey

pytestmark = pytest.mark.e2e

WINDOW_S = 2.0


@pytest.fixture
def home(tmp_path):
    with a_home(tmp_path / "home", window_s=WINDOW_S, guard_ms=100) as made:
        yield made


@pytest.fixture
def store(tmp_path):
    """A folder for a live store that is not the home's own."""
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


def midnight():
    return iso(day_end_ms(time.time_ns() // 1_000_000))


def spend_the_day(daemon, project, pool="main"):
    lease = daemon.granted(affinity=project, pool=pool)
    assert lease["key"]["project"] == project
    daemon.settled(lease, status=429, error=bodies.FREE_DAY)


def assert_cools_until_midnight(daemon, project, pool="main"):
    model = daemon.model(project, pool)
    assert (model["state"], model["until"], model["rule"]) == ("cooling", midnight(), "per-day")


def test_a_cooldown_outlives_daemon_and_store_and_even_the_stores_folder(home):
    home.add_project("spent"), home.add_project("fresh", rpm=50, rpd=500)
    with home.daemon() as daemon:
        # A fresh home grants at once.
        spend_the_day(daemon, "spent")
        daemon.kill()
        home.kill_valkey()
    with home.daemon() as daemon:
        assert_cools_until_midnight(daemon, "spent")
        leased = {daemon.granted(affinity="spent")["key"]["project"] for _ in range(3)}
        assert leased == {"fresh"}
        used = daemon.model("fresh")["rpd"]["used"]
        assert used == 3
        daemon.kill()
        home.kill_valkey(with_folder=True)
    with home.daemon() as daemon:
        refused, fresh = daemon.lease(), daemon.model("fresh")
        assert (refused.status_code, refused.json()["limit"]) == (429, "cooldown")
        assert 0 < refused.json()["retry_after_s"] <= WINDOW_S + 0.2
        assert_cools_until_midnight(daemon, "spent")
        assert (fresh["state"], fresh["rule"]) == ("cooling", "store-rebuilt")
        assert daemon.granted(wait_s=10)["key"]["project"] == "fresh"
        assert daemon.lease(affinity="spent").json()["key"]["project"] == "fresh"
        assert_cools_until_midnight(daemon, "spent")


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    """One home and daemon for tests that end the store below it."""
    with a_home(tmp_path_factory.mktemp("steady"), window_s=30) as made, made.daemon() as daemon:
        yield made, daemon


def test_a_store_that_was_killed_comes_back_as_it_was_below_a_running_daemon(steady):
    home, daemon = steady
    pool = APool(home)
    project = pool.add(rpm=3)
    for _ in range(2):
        daemon.granted(pool=pool.name)
    home.kill_valkey()
    began = time.monotonic()
    daemon.granted(pool=pool.name)
    assert time.monotonic() - began < 5
    assert daemon.lease(pool=pool.name).json()["limit"] == "rpm"
    assert daemon.model(project, pool.name)["rpm"]["used"] == 3


def test_a_lease_outlives_the_store_and_is_settled_after_it(steady):
    home, daemon = steady
    pool = APool(home)
    project = pool.add()
    lease = daemon.granted(pool=pool.name)
    home.kill_valkey()
    daemon.settled(lease, status=200, usage={"promptTokenCount": 4})
    assert daemon.model(project, pool.name)["tpm"]["used"] == 4


def test_whoever_waits_at_a_daemon_that_stood_still_is_served_though_others_wait_elsewhere(steady):
    """Stopped for longer than it takes to be given up, as a machine that sleeps."""
    home, daemon = steady
    pools = [APool(home), APool(home)]
    for each in pools:
        each.add(in_flight=1)
    with home.daemon() as other, ThreadPoolExecutor(2) as threads:
        held, busy = (daemon.granted(pool=each.name) for each in pools)
        late = threads.submit(daemon.lease, pool=pools[0].name, wait_s=25)
        eventually(daemon.waiting)
        daemon.signal(signal.SIGSTOP)
        elsewhere = threads.submit(other.lease, pool=pools[1].name, wait_s=25)
        time.sleep(5.5)
        assert other.lease(pool=pools[0].name).status_code == 429
        daemon.signal(signal.SIGCONT)
        time.sleep(1.5)
        daemon.release(held)
        assert late.result(25).status_code == 201
        daemon.release(busy)
        assert elsewhere.result().status_code == 201


def test_whoever_waits_is_served_though_the_store_was_killed_meanwhile(steady):
    home, daemon = steady
    pool = APool(home)
    pool.add(in_flight=1)
    lease = daemon.granted(pool=pool.name)
    answers = []
    waiting = threading.Thread(
        target=lambda: answers.append(daemon.lease(pool=pool.name, wait_s=20))
    )
    waiting.start()
    eventually(daemon.waiting)
    home.kill_valkey()
    assert daemon.release(lease).status_code == 204
    waiting.join(25)
    assert [each.status_code for each in answers] == [201]


def test_a_store_that_was_emptied_below_a_running_daemon_forgets_no_cooldown(steady):
    home, daemon = steady
    pool = APool(home)
    spent = pool.add()
    spend_the_day(daemon, spent, pool.name)
    home.kill_valkey(with_folder=True)
    eventually(lambda: daemon.lease(pool=pool.name).json().get("limit") == "cooldown")
    assert_cools_until_midnight(daemon, spent, pool.name)
    pool.add()
    assert daemon.model(spent, pool.name)["state"] == "cooling"


def test_whoever_waits_stands_in_line_again_after_the_store_was_emptied(home):
    home.add_project("p", rpm=1)
    with home.daemon() as daemon, redis.Redis(unix_socket_path=str(home.socket)) as live:
        daemon.granted()
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(daemon.lease(wait_s=20)))
        waiting.start()
        eventually(lambda: answers or daemon.waiting())
        live.flushall()
        emptied_at = time.monotonic()
        waiting.join(25)
        assert [each.status_code for each in answers] == [201]
        assert time.monotonic() - emptied_at < 6 * WINDOW_S


def test_a_proxied_call_is_told_what_upstream_says_though_its_lease_was_lost_with_the_store(
    tmp_path,
):
    with raw_upstream() as upstream, a_home(tmp_path / "home", upstream=upstream.url) as home:
        home.add_project("p")
        with home.daemon() as daemon, redis.Redis(unix_socket_path=str(home.socket)) as live:

            def play(line):
                live.flushall()
                line.answer(b'{"error": {"code": 400}}', status="400 Bad Request")

            upstream.play = play
            token = {"x-goog-api-key": home.token}
            answer = daemon.http.post(GENERATE, json=a_body(), headers=token)
            assert (answer.status_code, answer.json()) == (400, {"error": {"code": 400}})


def test_an_older_copy_of_the_store_is_not_taken_for_the_store(home):
    home.add_project("p", rpm=5, rpd=100)
    with home.daemon() as daemon:
        daemon.granted()
    folder, copy = home.path / "valkey", home.path / "copy"
    shutil.copytree(folder, copy)
    shutil.rmtree(folder)
    with home.daemon() as daemon:
        for _ in range(3):
            daemon.granted(wait_s=10)
    shutil.rmtree(folder)
    copy.rename(folder)
    with home.daemon() as daemon:
        refused, model = daemon.lease(), daemon.model("p")
        assert (refused.status_code, refused.json()["limit"]) == (429, "cooldown")
        assert model["rule"] == "store-rebuilt"
        # One lease, three more, and what a minute allows for each store that was lost.
        assert model["rpd"]["used"] == 1 + 5 + 3 + 5


def test_a_registry_set_back_to_an_older_copy_rules_the_store_again(home):
    home.add_project("p", rpm=5)
    with home.daemon() as daemon:
        daemon.granted()
    database, copy = home.path / "keypool.db", home.path / "copy.db"
    shutil.copy(database, copy)
    home.add_project("q", rpm=50, priority=1)
    with home.daemon() as daemon:
        assert daemon.granted()["key"]["project"] == "q"
    for each in home.path.glob("keypool.db*"):
        each.unlink()
    copy.rename(database)
    with home.daemon() as daemon:
        assert daemon.granted(wait_s=10)["key"]["project"] == "p"


def test_a_parked_lease_is_finished_before_a_stopped_daemon_ends(home):
    home.add_project("p", rpm=1)
    with home.daemon() as daemon:
        daemon.granted()
        answers = []
        parked = threading.Thread(target=lambda: answers.append(daemon.lease(wait_s=15)))
        parked.start()
        eventually(lambda: answers or daemon.waiting())
        daemon.signal(signal.SIGTERM)
        eventually(lambda: _refuses(daemon.url))
        parked.join(20)
        assert [each.status_code for each in answers] == [201]
        assert daemon.process.wait(20) == 0
    assert home.valkey_pid() is None


def test_an_idle_daemon_ends_at_once_and_the_last_one_shuts_the_store_down(home):
    home.add_project("p")
    with home.daemon() as first, home.daemon() as last:
        first.granted()
        began = time.monotonic()
        assert first.stop() == 0
        assert time.monotonic() - began < 20
        assert home.valkey_pid() is not None
        last.granted()
        assert last.stop() == 0
        assert home.valkey_pid() is None
    for log in (first.log, last.log):
        assert "Traceback" not in log.read_text()


def test_workers_share_one_port_and_end_with_their_parent(tmp_path):
    with a_home(tmp_path / "home") as home, home.daemon(workers=2) as daemon:
        home.add_project("p", rpm=30)
        workers = _workers(daemon, 2)
        port = int(daemon.url.rpartition(":")[2])
        eventually(lambda: all(_listens(pid, port) for pid in workers), within_s=START_S)
        codes = [_one_lease(daemon) for _ in range(33)]
        assert (codes.count(201), codes.count(429)) == (30, 3)
        daemon.kill()
        eventually(lambda: not any(_lives(pid) for pid in workers), within_s=10)
        # A process counts as ended before its last thread has closed what it had open.
        eventually(lambda: _refuses(daemon.url), within_s=10)


def test_workers_stop_when_their_parent_is_told_to(home):
    home.add_project("p")
    with home.daemon(workers=2) as daemon:
        workers = _workers(daemon, 2)
        port = int(daemon.url.rpartition(":")[2])
        eventually(lambda: all(_listens(pid, port) for pid in workers), within_s=START_S)
        daemon.granted()
        assert daemon.stop() == 0
        assert not any(_lives(pid) for pid in workers)
    assert home.valkey_pid() is None


def test_without_its_store_a_daemon_grants_nothing_and_says_when_to_come_back(tmp_path, store):
    with a_home(tmp_path / "home") as home:
        with private_valkey(store, aof=True) as url:
            home.env["KEYPOOL_REDIS_URL"] = url
            home.add_project("p", rpm=2)
            daemon = home.daemon()
            running = daemon.__enter__()
            running.granted()
        try:
            for _ in range(2):
                answer = running.lease()
                assert (answer.status_code, answer.json()["title"]) == (503, "Store unreachable")
                assert int(answer.headers["retry-after"]) >= 1
            ready = running.http.get("/readyz")
            assert (ready.status_code, ready.headers["retry-after"]) == (503, "1")
            # Whoever asks has no token: not where the store is.
            assert ready.json()["detail"] == "the live store cannot be used; run: keypool doctor"
            assert running.http.get("/healthz").status_code == 200
            assert running.http.get(f"{API}/status").status_code == 503
            with private_valkey(store, aof=True):
                eventually(lambda: running.http.get("/readyz").status_code == 200)
                running.granted()
                assert running.lease().status_code == 429
                assert running.stop() == 0
        finally:
            daemon.__exit__(None, None, None)


def test_a_store_that_takes_no_writes_is_not_ready_and_says_why(tmp_path, store):
    full = {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
    with (
        private_valkey(store, options=full) as url,
        a_home(tmp_path / "home", redis_url=url) as home,
    ):
        home.add_project("p")
        with home.daemon() as daemon, redis.Redis.from_url(url) as live:
            assert "forgets windows and cooldowns" in daemon.log.read_text()
            lease = daemon.granted()
            live.config_set("maxmemory-policy", "noeviction")
            live.config_set("maxmemory", 1)
            for answer in (daemon.lease(), daemon.settle(lease, status=200)):
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
                assert "takes no writes" in answer.json()["detail"]
            assert daemon.http.get("/readyz").status_code == 503
            live.config_set("maxmemory", 0)
            assert daemon.http.get("/readyz").status_code == 200
            daemon.settled(lease, status=200)
            assert daemon.model("p")["rpm"]["used"] == 1


def test_a_store_that_restarts_is_waited_for(tmp_path, store):
    with a_home(tmp_path / "home") as home, ExitStack() as first:
        url = first.enter_context(private_valkey(store, aof=True))
        home.env["KEYPOOL_REDIS_URL"] = url
        home.add_project("p", rpm=3)
        patient = with_constants(tmp_path / "patient", {"service.riding_out.RIDE_OUT_S": 20})
        with home.daemon(PYTHONPATH=patient) as daemon, ThreadPoolExecutor() as threads:
            lease = daemon.granted()
            first.close()
            asked = threads.submit(daemon.lease)
            settled = threads.submit(daemon.settle, lease, status=200)
            time.sleep(1)
            assert not asked.done()
            with private_valkey(store, aof=True):
                assert (asked.result().status_code, settled.result().status_code) == (201, 200)
                assert daemon.model("p")["rpm"]["used"] == 2
                assert daemon.stop() == 0


def test_many_who_ask_a_store_that_hangs_are_told_so_together(tmp_path, store):
    with private_valkey(store) as url, a_home(tmp_path / "home", redis_url=url) as home:
        home.add_project("p")
        with home.daemon() as daemon, redis.Redis.from_url(url) as live:
            daemon.granted()
            pid = live.info("server")["process_id"]
            os.kill(pid, signal.SIGSTOP)
            said = daemon.http.get("/readyz").json()["detail"]
            began = time.monotonic()
            with ThreadPoolExecutor(150) as threads:
                codes = list(threads.map(lambda _: daemon.lease().status_code, range(150)))
            os.kill(pid, signal.SIGCONT)
            assert said == "the live store does not answer; run: keypool doctor"
            assert set(codes) == {503}
            assert time.monotonic() - began < 2 * ANSWER_S + RIDE_OUT_S + 7


def test_a_wait_ends_when_it_was_to_although_the_store_hangs(tmp_path):
    store, wait_s = tmp_path / "store", 3
    store.mkdir()
    with private_valkey(store) as url, a_home(tmp_path / "home") as home:
        home.env["KEYPOOL_REDIS_URL"] = url
        home.add_project("p", rpm=1)
        with home.daemon() as daemon, redis.Redis.from_url(url) as live:
            daemon.granted()
            pid = live.info("server")["process_id"]

            def in_vain():
                began = time.monotonic()
                with ThreadPoolExecutor(1) as threads:
                    asked = threads.submit(daemon.lease, wait_s=wait_s)
                    eventually(lambda: asked.done() or daemon.waiting() == 1)
                    os.kill(pid, signal.SIGSTOP)
                os.kill(pid, signal.SIGCONT)
                assert time.monotonic() - began > wait_s
                # A wait that was over before the store stood still is none of these.
                return asked.result() if asked.result().status_code != 429 else in_vain()

            answer = quickly(in_vain, within_s=wait_s + 2 * LEFT_S + 1)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            eventually(lambda: live.hlen(f"{tag(FLASH)}:waiter") == 0)
            assert daemon.model("p")["rpm"]["used"] == 1


def test_a_daemon_goes_on_with_the_replica_after_a_failover(tmp_path):
    with (
        sentinel(tmp_path / "store") as (url, primary, _),
        a_home(tmp_path / "home", redis_url=url) as home,
    ):
        home.add_project("p", rpm=500)
        with home.daemon() as daemon:
            daemon.granted()
            with redis.Redis(port=primary) as old:
                assert old.wait(1, 20_000) == 1
                os.kill(old.info("server")["process_id"], signal.SIGKILL)
            eventually(lambda: daemon.lease().status_code == 201, within_s=20)
            assert daemon.model("p")["rpm"]["used"] == 2


def test_a_lease_whose_answer_came_too_late_is_not_counted_twice(tmp_path, store):
    with private_valkey(store) as url, a_home(tmp_path / "home", redis_url=url) as home:
        home.add_project("p")
        with home.daemon() as daemon, redis.Redis.from_url(url) as live:
            daemon.granted()
            pid = live.info("server")["process_id"]
            # Longer than a daemon waits for an answer: it asks again, and the store then hears both.
            threading.Timer(ANSWER_S + 0.5, os.kill, (pid, signal.SIGCONT)).start()
            os.kill(pid, signal.SIGSTOP)
            assert daemon.lease().status_code == 201
            model = daemon.model("p")
            assert (model["rpm"]["used"], model["leases"]) == (2, 2)


def _one_lease(daemon):
    """Over a connection of its own, so that the kernel spreads them."""
    headers = {"Authorization": daemon.http.headers["authorization"]}
    body = {"model": "gemini-2.5-flash", "tokens": 1}
    url = f"{daemon.url}{API}/leases"
    return httpx2.post(url, json=body, headers=headers, timeout=START_S).status_code


def _refuses(url):
    try:
        httpx2.get(f"{url}/healthz")
    except httpx2.ConnectError:
        return True
    except httpx2.HTTPError:
        return False
    return False


def _workers(daemon, count):
    """Their pids: the first may serve before the last is forked."""
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
    return eventually(
        lambda: (
            len(found := [int(each) for each in children.read_text().split()]) == count and found
        )
    )


def _lives(pid):
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _listens(pid, port):
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            sockets.add(str(descriptor.readlink()))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        here = words[1].endswith(f":{port:04X}") and words[3] == "0A"
        if here and f"socket:[{words[9]}]" in sockets:
            return True
    return False
