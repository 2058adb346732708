"""Two daemons on one store: exact together, and both obey every change at once."""

import asyncio
from datetime import datetime
from functools import partial
from threading import Timer

import httpx2
import pytest

from keypool_cli.core.model import Secret
from keypool_cli.registry.values import NewKey
from keypool_cli.service.keys import add_key, disable_keys, enable_keys, rotate_key
from keypool_cli.service.projects import remove_project
from keypool_cli.service.resetting import reset
from keypool_cli.service.resetting_values import ResetRequest
from keypool_cli.service.sync import read_configured
from tests.support import bodies
from tests.support.daemon import API, BY, FLASH, eventually, unique
from tests.support.timing import quickly

pytestmark = pytest.mark.e2e


async def all_at_once(urls, headers, body):
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        return await asyncio.gather(*(http.post(url, json=body) for url in urls))


def test_two_daemons_grant_together_what_one_project_allows(daemon, other, pool):
    pool.add(rpm=50)
    body = {"model": FLASH, "pool": pool.name, "tokens": 1}
    headers = {"Authorization": daemon.http.headers["authorization"]}
    urls = [f"{each.url}{API}/leases" for each in (daemon, other)] * 100
    answers = asyncio.run(all_at_once(urls, headers, body))
    granted = [each.json() for each in answers if each.status_code == 201]
    at = sorted(datetime.fromisoformat(each["use_by"]).timestamp() for each in granted)
    assert at[-1] - at[0] < 60, "the machine was too slow for this test"
    assert len(granted) == 50
    assert {each.status_code for each in answers} == {201, 429}
    assert len({each["lease_id"] for each in granted}) == 50


def test_a_disabled_key_is_leased_by_no_daemon(daemon, other, pool):
    project = pool.add(keys=(first := unique("key"), second := unique("key")))
    for each in (daemon, other) * 2:
        each.granted(pool=pool.name)
    pool.home.run(lambda ports: disable_keys(ports, [first], by=BY))
    leased = {each.granted(pool=pool.name)["key"]["name"] for each in (daemon, other) * 3}
    assert leased == {second}
    pool.home.run(lambda ports: enable_keys(ports, [first], by=BY))
    leased = {each.granted(pool=pool.name)["key"]["name"] for each in (daemon, other) * 3}
    assert leased == {first, second}
    assert daemon.model(project, pool.name)["rpm"]["used"] == 16


def test_a_running_lease_of_a_disabled_key_ends_as_any_other(daemon, pool):
    project = pool.add()
    lease = daemon.granted(pool=pool.name)
    pool.home.run(lambda ports: disable_keys(ports, [f"{project}-key"], by=BY))
    answer = daemon.settled(lease, status=200, usage={"promptTokenCount": 3})
    assert answer["tokens_settled"] == 3


def test_a_new_key_is_leased_by_every_daemon(daemon, other, pool):
    pool.add(rpm=1)
    daemon.granted(pool=pool.name)
    assert other.lease(pool=pool.name).status_code == 429
    added = pool.add()
    for each in (daemon, other):
        assert each.granted(pool=pool.name)["key"]["project"] == added


def test_a_reset_frees_a_project_on_every_daemon(daemon, other, pool):
    project = pool.add()
    daemon.settled(daemon.granted(pool=pool.name), status=429, error=bodies.FREE_DAY)
    assert other.lease(pool=pool.name).status_code == 429

    async def work(ports):
        request = ResetRequest(keys=(f"{project}-key",))
        return await reset(ports, await read_configured(ports), request, by=BY)

    done = pool.home.run(work)
    assert done.freed == (f"{project}-key",)
    for each in (daemon, other):
        each.granted(pool=pool.name)


def hands_out(daemon, pool, secret):
    return daemon.granted(pool=pool.name)["key"]["secret"] == secret


def test_a_rotated_key_is_leased_with_its_new_secret(daemon, other, pool):
    project = pool.add()
    for each in (daemon, other):
        each.granted(pool=pool.name)

    def rotated():
        secret = f"AIzaSyROTATED_{unique('s')}".ljust(39, "y")
        pool.home.run(lambda ports: rotate_key(ports, f"{project}-key", Secret(secret), by=BY))
        return [secret]

    def handed_out(secret):
        for each in (daemon, other):
            eventually(partial(hands_out, each, pool, secret))

    quickly(handed_out, before=rotated, within_s=1.0)


def test_a_project_that_is_removed_is_leased_no_more(daemon, other, pool):
    gone, kept = pool.add(), pool.add()
    leases = [daemon.granted(pool=pool.name) for _ in range(2)]
    pool.home.run(lambda ports: remove_project(ports, gone, by=BY, with_keys=True))
    leased = {each.granted(pool=pool.name)["key"]["project"] for each in (daemon, other) * 2}
    assert leased == {kept}
    for lease in leases:
        assert daemon.settle(lease, status=200, usage={"promptTokenCount": 1}).status_code == 200


def test_a_late_refusal_cools_a_removed_project_for_when_it_comes_back(daemon, other, pool):
    gone = pool.add()
    lease = daemon.granted(pool=pool.name)
    pool.home.run(lambda ports: remove_project(ports, gone, by=BY, with_keys=True))
    daemon.settled(lease, status=429, error=bodies.FREE_DAY)
    marks = pool.home.run(lambda ports: ports.call(ports.registry.marks.all))
    assert lease["lease_id"] in {each.lease_id for each in marks}
    key = NewKey(f"{gone}-again", Secret(unique("AIzaSyAgain")), gone, pool=pool.name)
    pool.home.run(lambda ports: add_key(ports, key, by=BY))
    for each in (daemon, other):
        assert each.lease(pool=pool.name).json()["limit"] == "cooldown"


def test_the_waiter_of_a_daemon_that_was_killed_holds_nobody_up(house, daemon, pool):
    pool.add(in_flight=1)
    lease = daemon.granted(pool=pool.name)
    body = {"model": FLASH, "pool": pool.name, "tokens": 1, "wait_s": 60, "ttl_s": 1}
    with house.daemon() as doomed:
        headers = {**doomed.http.headers}
        with pytest.raises(httpx2.HTTPError):
            _park_and_kill(doomed, body, headers)
        daemon.release(lease)
        # It is served once more while its daemon is not missed yet; that lease runs out.
        eventually(lambda: daemon.lease(pool=pool.name).status_code == 201)


def _park_and_kill(daemon, body, headers):
    Timer(0.5, daemon.kill).start()
    httpx2.post(f"{daemon.url}{API}/leases", json=body, headers=headers, timeout=20)
