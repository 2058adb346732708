"""``POST /keypool/v1/leases``: what is taken, what is granted, and every no."""

import math
from datetime import datetime

import pytest

from keypool_cli.core.model import Secret
from keypool_cli.registry.values import NewKey, QuotaScope
from keypool_cli.service.keys import disable_keys
from tests.support.daemon import API, BY, FLASH, APool, secret_of, unique

pytestmark = pytest.mark.e2e

PROMPT = {"contents": [{"role": "user", "parts": [{"text": "What is the capital of France?"}]}]}


def instant(text):
    return datetime.fromisoformat(text).timestamp()


def test_a_lease_names_the_key_and_says_until_when_it_may_be_used(daemon, pool):
    project = pool.add()
    answer = daemon.lease(pool=pool.name, tokens=25, ttl_s=30)
    lease = answer.json()
    assert answer.status_code == 201
    assert lease["key"] == {
        "name": f"{project}-key",
        "project": project,
        "secret": secret_of(f"{project}-key"),
    }
    assert lease["model"] == FLASH
    assert lease["tokens_reserved"] == 25
    assert lease["estimate"] == {"tokens": 25, "margin": 0, "method": "caller"}
    lasts_s = instant(lease["expires_at"]) - instant(lease["use_by"])
    assert lasts_s == pytest.approx(30 - 0.5, abs=0.01)


def test_a_request_is_estimated_and_its_margin_reserved(daemon, pool):
    pool.add()
    lease = daemon.granted(pool=pool.name, request=PROMPT)
    estimate = lease["estimate"]
    assert estimate["method"] == "estimator"
    assert 5 <= estimate["tokens"] <= 20
    assert lease["tokens_reserved"] == estimate["tokens"] + estimate["margin"]


def test_the_prefix_of_a_model_is_stripped(daemon, pool):
    pool.add()
    assert daemon.granted(pool=pool.name, model=f"models/{FLASH}")["model"] == FLASH


def test_requests_are_booked_together(daemon, pool):
    project = pool.add(rpm=10)
    daemon.granted(pool=pool.name, requests=7, tokens=70)
    model = daemon.model(project, pool.name)
    assert (model["rpm"]["used"], model["tpm"]["used"]) == (7, 70)
    refused = daemon.lease(pool=pool.name, requests=4)
    assert (refused.status_code, refused.json()["limit"]) == (429, "rpm")
    daemon.granted(pool=pool.name, requests=3)


def test_what_is_null_is_not_there(daemon, pool):
    """As many languages write a record whose other fields are not set."""
    pool.add()
    unset = dict.fromkeys(("requests", "wait_s", "affinity", "ttl_s"))
    daemon.granted(pool=pool.name, tokens=5, request=None, **unset)
    lease = daemon.granted(pool=pool.name, tokens=None, request=PROMPT, **unset)
    assert lease["estimate"]["method"] == "estimator"
    lasts_s = instant(lease["expires_at"]) - instant(lease["use_by"])
    assert lasts_s == pytest.approx(600 - 0.5, abs=0.01)


NESTED = b'{"model": "m", "request": ' + b"[" * 10**6 + b"]" * 10**6 + b"}"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"tokens": None}, id="neither tokens nor a request"),
        pytest.param({"tokens": 5, "request": PROMPT}, id="tokens and a request"),
        pytest.param({"tokens": 0}, id="no tokens"),
        pytest.param({"tokens": 10**12 + 1}, id="too many tokens"),
        pytest.param({"tokens": "5"}, id="tokens as text"),
        pytest.param({"tokens": 1.5}, id="half a token"),
        pytest.param({"request": "text"}, id="a request that is no object"),
        pytest.param({"request": None}, id="a request that is null"),
        pytest.param({"requests": 0}, id="no requests"),
        pytest.param({"requests": 101}, id="too many requests"),
        pytest.param({"wait_s": -1}, id="a negative wait"),
        pytest.param({"wait_s": 301}, id="a wait too long"),
        pytest.param({"ttl_s": 0.5}, id="a life too short"),
        pytest.param({"ttl_s": 3601}, id="a life too long"),
        pytest.param({"model": ""}, id="no model"),
        pytest.param({"model": "models/"}, id="a prefix without a model"),
        pytest.param({"model": 7}, id="a model that is no text"),
        pytest.param({"model": "m\x1b[31m"}, id="a model that would colour a terminal"),
        pytest.param({"model": "m\u202e"}, id="a model that would be shown backwards"),
        pytest.param({"pool": 7}, id="a pool that is no text"),
        pytest.param({"affinity": "x" * 201}, id="a long affinity"),
    ],
)
def test_a_body_that_says_something_else_is_a_bad_request(daemon, pool, body):
    pool.add()
    answer = daemon.lease(**{"pool": pool.name, **body})
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 400


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(each, id=repr(each[:20]))
        for each in (b"", b"{", b"[]", b"\xff\xfe", b'{"model": "m", "tokens": 1', NESTED)
    ],
)
def test_a_body_that_is_no_json_object_is_a_bad_request(daemon, body):
    headers = {"Content-Type": "application/json"}
    assert daemon.http.post(f"{API}/leases", content=body, headers=headers).status_code == 400


def test_a_body_of_unknown_length_is_granted_like_any_other(daemon, pool):
    pool.add(rpm=1)
    body = f'{{"model": "{FLASH}", "pool": "{pool.name}", "tokens": 1}}'.encode()
    headers = {"Content-Type": "application/json"}
    asked = [
        daemon.http.post(f"{API}/leases", content=iter([body[:9], body[9:]]), headers=headers)
        for _ in range(2)
    ]
    assert [each.status_code for each in asked] == [201, 429]


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_must_be_declared_as_json(daemon, pool, kind):
    pool.add()
    body = f'{{"model": "{FLASH}", "pool": "{pool.name}", "tokens": 1}}'.encode()
    headers = {"Content-Type": kind} if kind else {}
    assert daemon.http.post(f"{API}/leases", content=body, headers=headers).status_code == 415
    with_charset = {"Content-Type": "application/json; charset=utf-8"}
    assert daemon.http.post(f"{API}/leases", content=body, headers=with_charset).status_code == 201


def test_a_pool_nobody_made_is_not_found(daemon):
    answer = daemon.lease(pool="nowhere")
    assert (answer.status_code, answer.json()["title"]) == (404, "Not found")


def test_the_clients_only_pool_is_the_one_meant(daemon, house, pool):
    project = pool.add()
    http = daemon.known(house.add_client(pools=(pool.name,)))
    assert daemon.granted(http)["key"]["project"] == project


def test_main_is_the_pool_of_a_client_that_may_use_several(daemon, house):
    house.add_project(unique("project"), pool="main")
    http = daemon.known(house.add_client())
    assert daemon.granted(http)["key"]["project"] in {
        each["project"] for each in daemon.status("main")["projects"]
    }


def test_a_pool_or_model_outside_the_grant_is_forbidden(daemon, house, pool):
    pool.add()
    elsewhere = daemon.known(house.add_client(pools=("elsewhere",)))
    assert daemon.lease(elsewhere, pool=pool.name).status_code == 403
    other_model = daemon.known(house.add_client(models=("gemini-2.5-pro",)))
    assert daemon.lease(other_model, pool=pool.name).status_code == 403
    assert daemon.lease(other_model, pool=pool.name, model="gemini-2.5-pro").status_code == 201


def test_a_client_without_the_scope_leases_nothing(daemon, house, pool):
    pool.add()
    reader = daemon.known(house.add_client(scopes=("read",)))
    answer = daemon.lease(reader, pool=pool.name)
    assert (answer.status_code, "scope" in answer.json()["detail"]) == (403, True)


def test_what_no_project_could_ever_take_is_told_at_once(daemon, pool):
    pool.add(rpm=5, tpm=1000)
    pool.add(rpm=5, tpm=2000)
    assert daemon.lease(pool=pool.name, tokens=2001, wait_s=5).status_code == 422
    assert daemon.lease(pool=pool.name, requests=6).status_code == 422
    assert daemon.lease(pool=pool.name, tokens=2000).status_code == 201


def test_what_a_clients_own_limits_never_allow_is_told_at_once(daemon, house, pool):
    pool.add()
    http = daemon.known(house.add_client(tpm=100))
    assert daemon.lease(http, pool=pool.name, tokens=101).status_code == 422


def test_a_large_pool_that_takes_nothing_says_so_behind_many_exhausted_ones(daemon, house, pool):
    model = unique("model")
    crowd = APool(house)

    def add(registry):
        ids = []
        for each in (crowd.name, pool.name):
            for name in [unique("crowd") for _ in range(70)]:
                key = NewKey(f"{name}-key", Secret(secret_of(name)), name, each)
                ids.append(registry.keys.add(key, by=BY).project_id)
                limits = {"rpm": 1, "tpm": 50 if each == pool.name else 500}
                registry.quotas.set(QuotaScope(project=name), limits, by=BY)
        return ids

    house.change(add, touched=lambda ids: ids)
    for _ in range(70):
        daemon.granted(pool=crowd.name, model=model, tokens=100)
    assert daemon.lease(pool=pool.name, model=model, tokens=100).status_code == 422
    refused = daemon.lease(pool=crowd.name, model=model, tokens=100)
    assert (refused.status_code, refused.json()["limit"]) == (429, "rpm")


@pytest.mark.parametrize(
    ("what", "told"),
    [
        pytest.param({"rpm": 0}, "its quota is 0", id="excluded"),
        pytest.param({"keys": ()}, "it has none", id="an empty pool"),
    ],
)
def test_a_pool_that_nothing_of_can_be_used_says_why(daemon, pool, what, told):
    keys = what.pop("keys", None)
    if keys is None:
        pool.add(**what)
    else:
        pool.home.change(lambda registry: registry.pools.create(pool.name, by=BY))
    answer = daemon.lease(pool=pool.name, wait_s=5)
    assert answer.status_code == 503, answer.text
    assert told in answer.json()["detail"]
    # Someone has to act first: nothing is gained by asking each second.
    assert answer.headers["retry-after"] == "10"


def test_a_pool_whose_keys_are_disabled_says_so(daemon, pool):
    project = pool.add()
    pool.home.run(lambda ports: disable_keys(ports, [f"{project}-key"], by=BY))
    answer = daemon.lease(pool=pool.name)
    assert answer.status_code == 503
    assert project in answer.json()["detail"]


@pytest.mark.parametrize(
    ("limits", "tokens", "limit"),
    [
        pytest.param({"rpm": 1}, 10, "rpm", id="requests a minute"),
        pytest.param({"tpm": 15}, 10, "tpm", id="tokens a minute"),
        pytest.param({"rpd": 1}, 10, "rpd", id="requests a day"),
        pytest.param({"in_flight": 1}, 10, "in_flight", id="leases at once"),
    ],
)
def test_a_full_pool_names_the_limit_and_when_to_come_back(daemon, pool, limits, tokens, limit):
    pool.add(**limits)
    daemon.granted(pool=pool.name, tokens=tokens)
    answer = daemon.lease(pool=pool.name, tokens=tokens)
    problem = answer.json()
    assert answer.status_code == 429
    assert (problem["limit"], problem["scope"]) == (limit, "project")
    assert answer.headers["retry-after"] == str(math.ceil(problem["retry_after_s"]))
    longest_s = {"rpd": 25 * 3600, "in_flight": 600}.get(limit, 60.5)
    assert 0 < problem["retry_after_s"] <= longest_s


def test_a_clients_own_limit_is_told_as_such(daemon, house, pool):
    pool.add()
    http = daemon.known(house.add_client(rpm=1))
    daemon.granted(http, pool=pool.name)
    problem = daemon.lease(http, pool=pool.name).json()
    assert (problem["status"], problem["limit"], problem["scope"]) == (429, "client", "client")
    # Another project would be no help.
    assert problem["detail"].startswith("this client's own limits")
    assert "keypool add" not in problem["detail"]
    daemon.granted(pool=pool.name)


def test_what_is_larger_than_a_clients_own_limits_says_so(daemon, house, pool):
    pool.add()
    http = daemon.known(house.add_client(tpm=50))
    refused = daemon.lease(http, pool=pool.name, tokens=51)
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("51 tokens in 1 request are more than this client's")


def test_a_session_keeps_to_its_project_while_that_has_room(daemon, other, pool):
    projects = {pool.add(rpm=4), pool.add(rpm=4), pool.add(rpm=4)}
    first = daemon.granted(pool=pool.name, affinity="session")["key"]["project"]
    again = [
        which.granted(pool=pool.name, affinity="session")["key"]["project"]
        for which in (daemon, other, daemon)
    ]
    assert again == [first] * 3
    assert daemon.granted(pool=pool.name, affinity="session")["key"]["project"] in projects - {
        first
    }


def test_an_affinity_that_names_a_project_means_that_project(daemon, pool):
    pool.add()
    wanted = pool.add()
    found = {daemon.granted(pool=pool.name, affinity=wanted)["key"]["project"] for _ in range(4)}
    assert found == {wanted}


def test_only_post_makes_a_lease(daemon):
    answer = daemon.http.get(f"{API}/leases")
    assert answer.status_code >= 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/keypool", f"{API}/nothing", f"{API}/leases/", f"{API}/leases/x/y"],
)
def test_a_path_that_is_nothing_is_not_found(daemon, path):
    assert daemon.http.get(path).status_code == 404
