"""How far a refusal reaches: an account, a key, a project, or one model of it; on both daemons."""

import pytest

from tests.support import bodies, bodies_faults
from tests.support.daemon import FLASH, eventually, unique
from tests.support.refusals import BILLING, KEY, ruled

pytestmark = pytest.mark.e2e


def test_one_clients_word_binds_no_billing_account(daemon, other, house, pool):
    account = unique("account")
    projects = [pool.add(billing_account=account) for _ in range(3)]
    stranger = other.known(house.add_client())

    def lease_of(project, which, http):
        lease = which.granted(http, pool=pool.name, affinity=project)
        assert lease["key"]["project"] == project
        return lease

    first, second = lease_of(projects[0], daemon, None), lease_of(projects[1], other, stranger)
    for lease in (first, lease_of(projects[0], daemon, None)):
        told = daemon.settled(lease, status=402, error=bodies.NO_CREDIT)["verdict"]
        assert ruled(told) == BILLING
        states = [daemon.project(each, pool.name)["state"] for each in projects]
        assert states == ["cooling", "ready", "ready"]
    eventually(lambda: other.project(projects[0], pool.name)["state"] == "cooling")
    assert other.settle(second, stranger, status=402, error=bodies.NO_CREDIT).status_code == 200
    for each in (daemon, other):
        states = [each.project(name, pool.name)["state"] for name in projects]
        assert states == ["cooling"] * 3
        assert each.lease(pool=pool.name).json()["limit"] == "cooldown"


def test_a_dead_key_is_leased_by_no_daemon_again(daemon, other, pool):
    project = pool.add(keys=(dead := unique("key"), living := unique("key")))
    models = (FLASH, "gemini-2.5-pro")
    pair = []
    for model in models:
        pair = [daemon.granted(pool=pool.name, model=model) for _ in range(2)]
        assert {each["key"]["name"] for each in pair} == {dead, living}
    lease = next(each for each in pair if each["key"]["name"] == dead)
    told = daemon.settled(lease, status=400, error=bodies_faults.KEY_INVALID)["verdict"]
    assert (ruled(told), told["rule"]) == (KEY, "key-invalid")
    for model in models:
        for each in (other, daemon) * 2:
            assert each.granted(pool=pool.name, model=model)["key"]["name"] == living
    keys = {each["name"]: each["state"] for each in other.project(project, pool.name)["keys"]}
    assert keys == {dead: "dead", living: "ready"}


def test_a_refusal_of_the_whole_project_holds_on_every_model(daemon, pool):
    pool.add()
    daemon.granted(pool=pool.name, model="gemini-2.5-pro")
    lease = daemon.granted(pool=pool.name)
    daemon.settled(lease, status=429, error=bodies.PROJECT_CAP)
    for model in (FLASH, "gemini-2.5-pro", "gemini-3.8-flash"):
        refused = daemon.lease(pool=pool.name, model=model)
        assert (refused.status_code, refused.json()["limit"]) == (429, "cooldown"), model


def test_a_refusal_of_one_model_holds_on_that_model_alone(daemon, pool):
    pool.add()
    lease = daemon.granted(pool=pool.name)
    daemon.settled(lease, status=429, error=bodies.LIMIT_ZERO_FREE)
    assert daemon.lease(pool=pool.name).status_code == 503
    daemon.granted(pool=pool.name, model="gemini-2.5-flash-lite")
