"""``wait_s``: demands that are parked, woken when room appears, in a fair order, and leave nothing."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import httpx2
import pytest
import redis

from keypool_cli.service.keys import disable_keys, enable_keys
from keypool_cli.service.pools import PoolChange, set_pool
from tests.support.daemon import API, BY, eventually

pytestmark = pytest.mark.e2e


@pytest.fixture
def threads():
    with ThreadPoolExecutor(20) as pool:
        yield pool


@pytest.fixture
def live(house):
    """A client of the embedded store."""
    with redis.Redis(unix_socket_path=str(house.socket), decode_responses=True) as client:
        yield client


SERVED_S = 25
"""Longer than any of them waits."""


class Line:
    """What waits on one model, as the store has it."""

    def __init__(self, live, model):
        self.live, self.tag = live, f"{{kp:{model}}}"

    def length(self):
        return int(self.live.hlen(f"{self.tag}:waiter"))

    def await_length(self, count):
        eventually(lambda: self.length() == count)

    def leftovers(self):
        """Keys of this model that only waiting makes, but for the counters."""
        words = ("queue", "turns", "waiter", "holder", "grants")
        names = self.live.keys(f"{self.tag}:*")
        return [name for name in names if name.split(":")[2] in words]


@pytest.fixture
def model():
    """A model of this file's own: what waits on it is this test's."""
    return "waited-model"


@pytest.fixture
def line(live, model):
    return Line(live, model)


def park(threads, line, daemon, pool, **body):
    """A lease that waits in a thread; returns once it is in the queue."""
    before = line.length()
    body = {"pool": pool.name, "model": line.tag[4:-1], "wait_s": 20, **body}
    parked = threads.submit(daemon.lease, **body)
    line.await_length(before + 1)
    return parked


def test_a_release_wakes_whoever_waits(threads, line, daemon, pool, model):
    pool.add(rpm=1)
    lease = daemon.granted(pool=pool.name, model=model)
    parked = park(threads, line, daemon, pool)
    daemon.release(lease)
    assert parked.result(SERVED_S).status_code == 201
    assert line.length() == 0
    assert line.leftovers() == []


def test_a_settlement_below_the_estimate_wakes_whoever_waits(threads, line, daemon, pool, model):
    pool.add(tpm=100)
    lease = daemon.granted(pool=pool.name, model=model, tokens=100)
    parked = park(threads, line, daemon, pool, tokens=60)
    daemon.settled(lease, status=200, usage={"promptTokenCount": 40})
    assert parked.result(SERVED_S).status_code == 201


def test_the_end_of_a_lease_wakes_whoever_waits_for_its_place(threads, line, daemon, pool, model):
    pool.add(in_flight=1)
    lease = daemon.granted(pool=pool.name, model=model)
    parked = park(threads, line, daemon, pool)
    daemon.settled(lease, status=200, usage={"promptTokenCount": 10})
    assert parked.result(SERVED_S).status_code == 201


def test_room_made_through_one_daemon_wakes_the_other(threads, line, daemon, other, pool, model):
    pool.add(rpm=1)
    lease = daemon.granted(pool=pool.name, model=model)
    parked = park(threads, line, other, pool)
    daemon.release(lease)
    assert parked.result(SERVED_S).status_code == 201


def test_a_key_that_is_enabled_wakes_whoever_waits(threads, line, daemon, pool, model):
    full, idle = pool.add(rpm=1), pool.add(rpm=1)
    pool.home.run(lambda ports: disable_keys(ports, [f"{idle}-key"], by=BY))
    assert daemon.granted(pool=pool.name, model=model)["key"]["project"] == full
    parked = park(threads, line, daemon, pool)
    pool.home.run(lambda ports: enable_keys(ports, [f"{idle}-key"], by=BY))
    assert parked.result(SERVED_S).json()["key"]["project"] == idle


def test_a_key_that_is_added_wakes_whoever_waits(threads, line, daemon, pool, model):
    pool.add(rpm=1)
    daemon.granted(pool=pool.name, model=model)
    parked = park(threads, line, daemon, pool)
    added = pool.add()
    assert parked.result(SERVED_S).json()["key"]["project"] == added


def test_whoever_waits_is_served_when_the_window_has_passed(quick_daemon, quick_pool):
    quick_pool.add(rpm=1)
    first = quick_daemon.granted(pool=quick_pool.name)
    second = quick_daemon.granted(pool=quick_pool.name, wait_s=8)
    at = [datetime.fromisoformat(each["use_by"]).timestamp() for each in (first, second)]
    assert 1.5 <= at[1] - at[0] < 6


def test_a_wait_in_vain_ends_in_a_refusal(line, daemon, pool, model):
    pool.add(rpm=1)
    daemon.granted(pool=pool.name, model=model)
    began = time.monotonic()
    answer = daemon.lease(pool=pool.name, model=model, wait_s=0.4)
    assert 0.4 <= time.monotonic() - began < 4
    assert (answer.status_code, answer.json()["limit"]) == (429, "rpm")
    assert 50 < answer.json()["retry_after_s"] < 60.5
    eventually(lambda: line.length() == 0)
    assert line.leftovers() == []


def test_a_pools_own_wait_holds_where_none_is_asked(threads, line, daemon, pool, model):
    pool.add(rpm=1)
    change = PoolChange(fields={"wait_s": 20.0})
    pool.home.run(lambda ports: set_pool(ports, pool.name, change, by=BY))
    lease = daemon.granted(pool=pool.name, model=model)
    eventually(lambda: daemon.http.get(f"{API}/status").status_code == 200)
    parked = park(threads, line, daemon, pool, wait_s=None)
    daemon.release(lease)
    assert parked.result(SERVED_S).status_code == 201
    assert daemon.lease(pool=pool.name, model=model, wait_s=0).status_code == 429


def test_whoever_came_first_is_served_first(threads, line, daemon, other, pool, model):
    pool.add(rpm=1)
    lease = daemon.granted(pool=pool.name, model=model)
    parked = [park(threads, line, each, pool) for each in (daemon, other, daemon, other)]
    for position, future in enumerate(parked):
        daemon.release(lease)
        answer = future.result(SERVED_S)
        assert answer.status_code == 201
        assert not any(each.done() for each in parked[position + 1 :])
        lease = answer.json()


def test_clients_take_turns_however_many_demands_each_has(
    threads, line, daemon, house, pool, model
):
    pool.add(rpm=1)
    greedy, modest = (daemon.known(house.add_client()) for _ in range(2))
    lease, owner = daemon.granted(greedy, pool=pool.name, model=model), greedy
    clients = [greedy, greedy, greedy, modest]
    parked = [(park(threads, line, daemon, pool, http=each), each) for each in clients]
    for position in (0, 3, 1, 2):
        assert daemon.release(lease, owner).status_code == 204
        future, owner = parked[position]
        answer = future.result(SERVED_S)
        assert answer.status_code == 201
        lease = answer.json()


def test_a_client_that_hangs_up_leaves_nothing_behind(line, daemon, pool, model):
    project = pool.add(rpm=1)
    lease = daemon.granted(pool=pool.name, model=model)
    body = {"pool": pool.name, "model": model, "tokens": 10, "wait_s": 60}
    impatient = {**daemon.http.headers}
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(f"{daemon.url}{API}/leases", json=body, headers=impatient, timeout=0.5)
    eventually(lambda: line.length() == 0)
    assert line.leftovers() == []
    daemon.release(lease)
    assert daemon.granted(pool=pool.name, model=model)["key"]["project"] == project
    assert daemon.model(project, pool.name, model)["leases"] == 1


def test_clients_that_hang_up_just_as_they_are_served_leave_nothing_behind(
    threads, line, daemon, pool, model
):
    project = pool.add(in_flight=1)
    headers = {**daemon.http.headers}
    body = {"pool": pool.name, "model": model, "tokens": 10, "wait_s": 60}

    def impatient(timeout_s):
        try:
            answer = httpx2.post(
                f"{daemon.url}{API}/leases", json=body, headers=headers, timeout=timeout_s
            )
        except httpx2.TimeoutException:
            return None
        return answer.json()

    lease = daemon.granted(pool=pool.name, model=model)
    waits = [threads.submit(impatient, 0.05 + 0.03 * number) for number in range(10)]
    time.sleep(0.2)
    daemon.release(lease)
    for future in waits:
        found = future.result(10)
        if found is not None:
            daemon.release(found["lease_id"])
    eventually(lambda: line.length() == 0)
    eventually(lambda: line.leftovers() == [])
    # A grant whose client left within the last instant cannot be told from one that is used.
    leases = daemon.project(project, pool.name)["models"]
    assert sum(each["leases"] for each in leases) <= 1


def test_many_waiters_of_two_daemons_are_all_served_as_the_window_moves(
    threads, quick_daemon, quick_other, quick_pool
):
    project = quick_pool.add(rpm=5)
    futures = [
        threads.submit(each.lease, pool=quick_pool.name, wait_s=20)
        for each in (quick_daemon, quick_other)
        for _ in range(8)
    ]
    answers = [future.result(25) for future in futures]
    assert [each.status_code for each in answers] == [201] * 16
    at = sorted(datetime.fromisoformat(each.json()["use_by"]).timestamp() for each in answers)
    assert all(later - earlier >= 1.5 for earlier, later in zip(at, at[5:], strict=False))
    assert quick_daemon.model(project, quick_pool.name)["rpm"]["used"] <= 5
