"""``GET /keypool/v1/status`` and ``/explain``: the contract, in every state a project can be in."""

from datetime import datetime
from functools import partial
from itertools import count

import msgspec
import pytest

from keypool_cli.core.natural import natural
from keypool_cli.registry.values import QuotaScope
from keypool_cli.service.keys import disable_keys
from keypool_cli.service.projects import set_project
from keypool_cli.service.quotas import set_quota
from tests.support import bodies, bodies_faults
from tests.support.daemon import API, BY, FLASH, eventually
from tests.support.timing import quickly

pytestmark = pytest.mark.e2e

STATES = ("ready", "full", "cooling", "excluded", "disabled", "dead")


class Use(msgspec.Struct, forbid_unknown_fields=True):
    used: int
    limit: int | None
    provenance: str


class Model(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    state: str
    leases: int
    rpm: Use
    tpm: Use
    rpd: Use
    reason: str | msgspec.UnsetType = msgspec.UNSET
    until: datetime | msgspec.UnsetType = msgspec.UNSET
    remaining_s: float | msgspec.UnsetType = msgspec.UNSET
    rule: str | msgspec.UnsetType = msgspec.UNSET


class Key(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    fingerprint: str
    state: str
    reason: str | msgspec.UnsetType = msgspec.UNSET


class Project(msgspec.Struct, forbid_unknown_fields=True):
    project: str
    tier: str | None
    state: str
    models: list[Model]
    keys: list[Key]


class Pool(msgspec.Struct, forbid_unknown_fields=True):
    pool: str
    ready: int
    full: int
    cooling: int
    excluded: int
    disabled: int
    dead: int
    projects: list[Project]
    next_ready_at: datetime | msgspec.UnsetType = msgspec.UNSET
    next_ready_s: float | msgspec.UnsetType = msgspec.UNSET


class Status(msgspec.Struct, forbid_unknown_fields=True):
    """What the API promises, and nothing beside it."""

    schema: int
    at: datetime
    pools: list[Pool]


def shown(daemon, pool):
    """A pool's status, held against the contract."""
    answer = daemon.http.get(f"{API}/status", params={"pool": pool.name})
    status = msgspec.json.decode(answer.content, type=Status)
    assert status.schema == 1
    [found] = status.pools
    counts = {state: getattr(found, state) for state in STATES}
    states = [each.state for each in found.projects]
    assert counts == {state: states.count(state) for state in STATES}
    assert sum(counts.values()) == len(found.projects)
    return found


def one(daemon, pool):
    [project] = shown(daemon, pool).projects
    return project


def leased(daemon, pool, project):
    lease = daemon.granted(pool=pool.name, affinity=project)
    assert lease["key"]["project"] == project
    return lease


def test_a_project_never_used_is_ready_and_lists_no_model(daemon, pool):
    pool.add()
    project = one(daemon, pool)
    assert (project.state, project.models) == ("ready", [])
    assert [each.state for each in project.keys] == ["ready"]
    assert len(project.keys[0].fingerprint) == 12


def test_use_is_what_is_settled_and_reserved(daemon, pool):
    pool.add(rpm=5, tpm=1000, rpd=50)
    daemon.settled(
        daemon.granted(pool=pool.name, tokens=100), status=200, usage={"promptTokenCount": 30}
    )
    daemon.granted(pool=pool.name, tokens=200)
    [model] = one(daemon, pool).models
    assert (model.state, model.leases) == ("ready", 1)
    assert model.rpm == Use(2, 5, "configured")
    assert model.tpm == Use(230, 1000, "configured")
    assert model.rpd == Use(2, 50, "configured")


@pytest.mark.parametrize(
    ("limits", "reason", "longest_s"),
    [
        ({"rpm": 1}, "rpm", 60.5),
        ({"tpm": 10}, "tpm", 60.5),
        ({"rpd": 1}, "rpd", 25 * 3600),
        ({"in_flight": 1}, "in_flight", 600),
    ],
)
def test_a_project_without_room_is_full_until_it_opens(daemon, pool, limits, reason, longest_s):
    pool.add(**limits)
    daemon.granted(pool=pool.name)
    found = shown(daemon, pool)
    [model] = found.projects[0].models
    assert (found.projects[0].state, model.state) == ("full", "full")
    assert reason in model.reason
    assert 0 < model.remaining_s <= longest_s
    assert found.next_ready_s == pytest.approx(model.remaining_s)


@pytest.mark.parametrize(
    ("error", "rule", "why"),
    [
        pytest.param(bodies.FREE_DAY, "per-day", "day quota", id="with limits to learn"),
        pytest.param(bodies.CHECK_QUOTA, "opaque", "check quota", id="with nothing to learn"),
    ],
)
def test_a_project_that_cools_says_why_and_until_when(daemon, other, pool, error, rule, why):
    project = pool.add()
    daemon.settled(leased(daemon, pool, project), status=429, error=error)
    for each in (daemon, other):
        [model] = one(each, pool).models
        assert (model.state, model.rule) == ("cooling", rule)
        assert why in model.reason
        left_s = (model.until - datetime.now(model.until.tzinfo)).total_seconds()
        assert model.remaining_s == pytest.approx(left_s, abs=5)


def test_a_project_whose_model_is_not_offered_is_excluded(daemon, pool):
    pool.add()
    daemon.settled(daemon.granted(pool=pool.name), status=429, error=bodies.LIMIT_ZERO_FREE)
    project = one(daemon, pool)
    assert (project.state, project.models[0].state) == ("excluded", "excluded")
    assert project.models[0].rule == "limit-zero"


def test_the_best_model_is_the_projects_state(daemon, pool):
    pool.add()
    for model, error in (("gemini-2.5-pro", bodies.FREE_DAY), (FLASH, bodies.LIMIT_ZERO_FREE)):
        lease = daemon.granted(pool=pool.name, model=model)
        daemon.settled(lease, status=429, error=error)
    assert one(daemon, pool).state == "cooling"
    daemon.granted(pool=pool.name, model="gemini-3.8-flash")
    assert one(daemon, pool).state == "ready"


def test_a_project_an_operator_disabled_is_disabled(daemon, pool):
    project = pool.add()
    pool.home.run(lambda ports: set_project(ports, project, {"enabled": False}, by=BY))
    assert one(daemon, pool).state == "disabled"
    assert daemon.lease(pool=pool.name).status_code == 503


def test_a_project_whose_keys_are_all_disabled_is_disabled(daemon, pool):
    project = pool.add()
    pool.home.run(lambda ports: disable_keys(ports, [f"{project}-key"], by=BY))
    found = one(daemon, pool)
    assert (found.state, found.keys[0].state) == ("disabled", "disabled")


def test_a_project_whose_keys_are_dead_is_dead_and_says_why(daemon, pool):
    pool.add()
    daemon.settled(daemon.granted(pool=pool.name), status=400, error=bodies_faults.KEY_INVALID)
    found = one(daemon, pool)
    assert (found.state, found.keys[0].state) == ("dead", "dead")
    assert found.keys[0].reason


def test_a_limit_says_where_it_comes_from(daemon, pool):
    project = pool.add(rpd=100)
    daemon.settled(leased(daemon, pool, project), status=429, error=bodies.FREE_DAY)
    [model] = one(daemon, pool).models
    assert model.rpm == Use(1, None, "default")
    assert model.rpd == Use(1, 20, "learned")


def test_every_pool_is_shown_to_whoever_may_use_all(daemon, pool):
    pool.add()
    answer = daemon.http.get(f"{API}/status")
    status = msgspec.json.decode(answer.content, type=Status)
    names = [each.pool for each in status.pools]
    assert pool.name in names
    assert names == sorted(names, key=natural)


def test_explain_agrees_with_what_acquire_does(daemon, pool):
    free, full, cool = pool.add(rpm=9), pool.add(rpm=1), pool.add()
    small, dead, off = pool.add(tpm=5), pool.add(), pool.add()
    daemon.settled(leased(daemon, pool, cool), status=429, error=bodies.FREE_DAY)
    daemon.settled(leased(daemon, pool, dead), status=400, error=bodies_faults.KEY_INVALID)
    leased(daemon, pool, full)
    pool.home.run(lambda ports: disable_keys(ports, [f"{off}-key"], by=BY))
    found = daemon.explain(pool.name, tokens=10)
    limits = {each["project"]: each.get("limit") for each in found["projects"]}
    assert limits == {
        free: None,
        full: "rpm",
        cool: "cooldown",
        small: "larger",
        dead: "unusable",
        off: "unusable",
    }
    assert found["chosen"] == free
    assert [each["project"] for each in found["projects"] if each["chosen"]] == [free]
    waits = {each["project"]: each.get("in_s") for each in found["projects"]}
    assert 0 < waits[full] <= 60.5
    assert waits[cool] > 0
    assert waits[small] is None
    assert daemon.granted(pool=pool.name, tokens=10)["key"]["project"] == free
    assert found["projects"][0]["project"] == free


def test_explain_names_the_wait_that_acquire_would_answer(daemon, pool):
    pool.add(rpm=1)
    daemon.granted(pool=pool.name)
    found = daemon.explain(pool.name)
    refused = daemon.lease(pool=pool.name).json()
    assert found["chosen"] is None
    assert found["projects"][0]["in_s"] == pytest.approx(refused["retry_after_s"], abs=1)


def test_explain_reserves_nothing(daemon, pool):
    project = pool.add(rpm=1)
    for _ in range(3):
        assert daemon.explain(pool.name)["chosen"] == project
    daemon.granted(pool=pool.name)


def test_explain_takes_requests_that_are_booked_together(daemon, pool):
    project = pool.add(rpm=3)
    daemon.granted(pool=pool.name, requests=2)
    params = {"pool": pool.name, "model": FLASH}
    for requests, chosen in ((1, project), (2, None)):
        answer = daemon.http.get(f"{API}/explain", params={**params, "requests": requests})
        assert answer.json()["chosen"] == chosen


@pytest.mark.parametrize(
    "query",
    ["", "model=", "model=m&tokens=0", "model=m&tokens=x", "model=m&tokens=-1",
     "model=m&tokens=99999999999999999999999", "model=m&tokens=1.5",
     "model=m&requests=0", "model=m&requests=101"],
)  # fmt: skip
def test_a_question_that_is_not_understood_is_a_bad_request(daemon, pool, query):
    pool.add()
    answer = daemon.http.get(f"{API}/explain?pool={pool.name}&{query}")
    assert answer.status_code == 400, answer.text


def grants(daemon, pool):
    return daemon.lease(pool=pool.name).status_code == 201


def test_a_quota_changed_by_another_process_is_in_force_within_a_second(daemon, other, pool):
    project = pool.add(rpm=1)
    daemon.granted(pool=pool.name)
    allowed = count(3, 2)

    def changed():
        assert other.lease(pool=pool.name).status_code == 429
        scope, rpm = QuotaScope(project=project), next(allowed)
        pool.home.run(lambda ports: set_quota(ports, scope, {"rpm": rpm}, by=BY))
        return ()

    def in_force():
        for each in (daemon, other):
            eventually(partial(grants, each, pool))

    quickly(in_force, before=changed, within_s=1.0)
    assert daemon.lease(pool=pool.name).status_code == 429
