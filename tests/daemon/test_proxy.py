"""The proxy in front of the simulator: what clients get, what upstream sees, what is booked."""

import time
from urllib.parse import quote

import httpx2
import pytest

from keypool_cli.core.model import Secret
from keypool_cli.registry.values import NewKey
from keypool_cli.service.attempting import MOST_PROJECTS
from tests.support import bodies
from tests.support.daemon import BY, FLASH, eventually, secret_of, unique
from tests.support.proxy import COUNT, GENERATE, STREAM, a_body, a_proxy


@pytest.fixture
def pool(proxy):
    proxy.sim.clear_faults()
    with proxy.pool() as made:
        yield made


def error_of(answer):
    return answer.json()["error"]


def retry_delay_of(answer):
    details = error_of(answer)["details"]
    (info,) = [each for each in details if each["@type"].endswith("google.rpc.RetryInfo")]
    return float(info["retryDelay"].removesuffix("s"))


def test_an_answer_is_passed_on_with_its_project_and_lease(pool):
    project = pool.add()
    answer = pool.generate()
    assert answer.status_code == 200
    assert answer.json()["usageMetadata"]["promptTokenCount"] > 0
    assert answer.headers["x-keypool-project"] == project
    assert answer.headers["x-keypool-lease"].endswith(FLASH)
    assert answer.headers["x-gemini-service-tier"] == "standard"


def test_a_pool_made_a_moment_ago_is_served(proxy):
    new, key = unique("pool"), unique("key")
    with proxy.home.registry() as registry:  # which announces nothing
        registry.keys.add(NewKey(key, Secret(secret_of(key)), unique("project"), new), by=BY)
    with proxy.client(proxy.home.token) as http:
        answer = http.post(GENERATE, json=a_body(), headers={"x-keypool-pool": new})
    assert error_of(answer)["code"] != 404  # upstream, which does not know the key, was asked


def test_a_call_is_settled_with_the_usage_of_its_answer(pool):
    project = pool.add()
    usage = pool.post(GENERATE, a_body("one two three " * 50)).json()["usageMetadata"]
    pool.settled(project, tokens=usage["promptTokenCount"])


@pytest.mark.parametrize("query", ["?alt=sse", ""], ids=["as SSE", "as a JSON array"])
def test_a_stream_is_settled_with_the_usage_of_its_last_chunk(pool, query):
    project = pool.add()
    answer = pool.post(STREAM + query, a_body("one two three " * 50))
    assert answer.status_code == 200
    (used,) = [pool.used(project)["tokens"]]
    assert used > 0
    pool.settled(project, tokens=used)


@pytest.mark.parametrize("version", ["v1beta", "v1", "v1alpha"])
def test_every_version_of_the_path_is_served(pool, version):
    pool.add()
    assert pool.post(GENERATE.replace("v1beta", version)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        pytest.param({"x-goog-api-key": "TOKEN"}, "", id="in x-goog-api-key"),
        pytest.param({}, "?key=TOKEN", id="in the query"),
        pytest.param({"authorization": "Bearer TOKEN"}, "", id="as a bearer token"),
        pytest.param({"x-goog-api-key": "TOKEN"}, "?key=TOKEN", id="the same one twice"),
    ],
)
def test_a_token_is_taken_wherever_clients_put_their_key(proxy, pool, headers, query):
    pool.add()
    token = proxy.home.token
    named = {name: value.replace("TOKEN", token) for name, value in headers.items()}
    with httpx2.Client(base_url=proxy.daemon.url, timeout=30) as http:
        answer = http.post(
            GENERATE + query.replace("TOKEN", token),
            json=a_body(),
            headers={"x-keypool-pool": pool.name, **named},
        )
    assert answer.status_code == 200


def test_two_different_tokens_are_refused(pool):
    answer = pool.generate(authorization="Bearer another")
    assert answer.status_code == 400
    assert error_of(answer)["message"].startswith("Multiple authentication credentials")


@pytest.mark.parametrize("token", ["kp_unknown", ""], ids=["an unknown token", "no token"])
def test_a_caller_nobody_knows_gets_a_401_in_geminis_shape(proxy, token):
    with httpx2.Client(base_url=proxy.daemon.url, timeout=30) as http:
        answer = http.post(GENERATE, json=a_body(), headers={"x-goog-api-key": token})
    assert (answer.status_code, error_of(answer)["status"]) == (401, "UNAUTHENTICATED")
    assert answer.headers["x-keypool-error"] == "unauthenticated"


@pytest.mark.parametrize(
    "grant",
    [
        pytest.param({"scopes": ("lease",)}, id="without the scope"),
        pytest.param({"models": ("another-model",)}, id="for a model outside the grant"),
        pytest.param({"pools": ("main",)}, id="for a pool outside the grant"),
    ],
)
def test_a_client_keeps_to_its_grant(proxy, pool, grant):
    pool.add()
    token = proxy.home.add_client(**grant)
    with proxy.client(token, headers={"x-keypool-pool": pool.name}) as http:
        eventually(lambda: http.get("/v1beta/models").status_code != 401)
        answer = http.post(GENERATE, json=a_body())
    assert (answer.status_code, error_of(answer)["status"]) == (403, "PERMISSION_DENIED")


def test_a_spent_project_hands_the_call_on_and_is_not_asked_again(pool):
    first = pool.add(rpm=1, priority=5)
    second = pool.add()
    served = [pool.generate().headers["x-keypool-project"] for _ in range(4)]
    assert served == [first, second, second, second]
    assert pool.used(first)["refused"] == {"rpm": 1}
    assert pool.model(first)["rule"] == "per-minute-hint"


def test_a_project_spent_under_an_alias_is_not_asked_again_under_any_name(proxy, pool):
    project, alias, bucket = pool.add(), "gemini-flash-latest", "gemini-3.8-flash"
    proxy.sim.fault("rpd", project=project, times=None, for_s=60)
    for model in (alias, alias, bucket):
        assert pool.post(f"/v1beta/models/{model}:generateContent").status_code == 429
    assert proxy.daemon.model(project, pool.name, bucket)["rule"].startswith("per-day")
    assert sum(pool.used(project)["refused"].values()) == 1


@pytest.mark.parametrize("kind", ["key_invalid", "leaked"])
def test_a_dead_key_hands_the_call_on_and_is_disabled(proxy, pool, kind):
    first = pool.add(priority=5)
    second = pool.add()
    proxy.sim.fault(kind, project=first)
    assert pool.generate().headers["x-keypool-project"] == second
    assert pool.key_states(first) == ["dead"]
    assert pool.key_states(second) == ["ready"]


def test_a_project_with_a_dead_key_is_not_tried_twice_in_one_call(proxy, pool):
    first = pool.add(keys=2, priority=5)
    second = pool.add()
    proxy.sim.fault("key_invalid", project=first, times=2)
    assert pool.generate().headers["x-keypool-project"] == second
    assert sorted(pool.key_states(first)) == ["dead", "ready"]


@pytest.mark.parametrize("path", [GENERATE, COUNT])
def test_a_dead_key_hands_the_call_to_another_of_its_project_where_no_other_can_help(
    proxy, pool, path
):
    project = pool.add(keys=3)
    for number in (0, 1):
        proxy.sim.revoke(secret_of(f"{project}-key{number}"))
    for _ in range(3):
        assert pool.post(path).headers["x-keypool-project"] == project
    refused = pool.used(project)["refused"].get("key_invalid", 0)
    assert pool.key_states(project).count("dead") == refused


def test_a_call_tries_only_so_many_dead_keys(proxy, pool):
    project = pool.add(keys=8)
    for number in range(8):
        proxy.sim.revoke(secret_of(f"{project}-key{number}"))
    assert pool.generate().status_code == 503
    assert pool.key_states(project).count("dead") == MOST_PROJECTS


def test_a_client_never_hears_that_a_key_is_not_valid(proxy, pool):
    project = pool.add()
    proxy.sim.fault("suspended", project=project)
    answer = pool.generate()
    assert answer.status_code == 503
    assert answer.headers["x-keypool-error"] == "pool-unusable"
    assert secret_of(f"{project}-key0") not in answer.text


def test_a_model_that_is_not_offered_is_tried_on_the_next_project(proxy, pool):
    first = pool.add(priority=5)
    second = pool.add()
    proxy.sim.fault("limit0", project=first)
    assert pool.generate().headers["x-keypool-project"] == second
    assert pool.model(first)["state"] == "excluded"


def test_a_model_offered_nowhere_is_no_reason_to_come_back_soon(proxy, pool):
    project = pool.add()
    # Upstream names a wait all the same.
    proxy.sim.fault("limit0", project=project)
    first, second = pool.generate(), pool.generate()
    assert pool.used(project)["refused"] == {"limit0": 1}
    assert first.json() == second.json()
    assert (first.status_code, first.headers["x-keypool-error"]) == (503, "pool-unusable")
    assert retry_delay_of(first) == float(first.headers["retry-after"]) == 10
    assert "does not offer this model" in error_of(first)["message"]


def test_a_call_goes_to_five_projects_at_most(proxy, pool):
    projects = [pool.add() for _ in range(7)]
    for each in projects:
        proxy.sim.fault("rpm", project=each)
    answer = pool.generate()
    assert answer.status_code == 429
    assert "x-keypool-error" not in answer.headers
    assert sum("rpm" in pool.used(each)["refused"] for each in projects) == 5


def test_an_overloaded_model_is_asked_three_times_and_cools_nothing(proxy, pool):
    project = pool.add()
    proxy.sim.fault("overloaded", project=project, times=2)
    assert pool.generate().status_code == 200
    proxy.sim.fault("overloaded", project=project, times=3)
    answer = pool.generate()
    assert (answer.status_code, error_of(answer)["status"]) == (503, "UNAVAILABLE")
    assert pool.used(project)["refused"] == {"overloaded": 5}
    assert pool.model(project)["state"] == "ready"
    # Each attempt was a reservation of its own.
    assert pool.model(project)["rpm"]["used"] == 6


def test_an_overloaded_answer_is_passed_on_when_there_is_no_room_to_repeat_it(proxy, pool):
    project = pool.add(limits={"rpm": 1})
    proxy.sim.fault("overloaded", project=project)
    assert pool.generate().status_code == 503


def test_no_client_gives_back_or_settles_the_lease_of_a_call_under_way(proxy, pool):
    project = pool.add(limits={"rpm": 1})
    proxy.sim.fault("slow", chunk_s=0.3)
    with pool.http.stream("POST", f"{STREAM}?alt=sse", json=a_body()) as answer:
        lease_id = answer.headers["x-keypool-lease"]
        assert proxy.daemon.release(lease_id).status_code == 404
        assert proxy.daemon.settle(lease_id, status=200).status_code == 404
        answer.read()
    assert pool.generate().status_code == 429
    assert pool.used(project)["accepted"] == 1


def test_a_faulty_request_comes_back_and_touches_no_key(pool):
    project = pool.add()
    answer = pool.post(GENERATE, {"contents": [{"role": "wizard", "parts": []}]})
    assert (answer.status_code, error_of(answer)["status"]) == (400, "INVALID_ARGUMENT")
    assert "x-keypool-error" not in answer.headers
    assert pool.used(project)["refused"] == {"invalid_argument": 1}
    assert pool.key_states(project) == ["ready"]


def test_a_body_that_is_no_json_costs_no_quota(pool):
    project = pool.add()
    answer = pool.http.post(GENERATE, content=b"{not json")
    assert answer.status_code == 400
    assert pool.used(project)["accepted"] == 0
    assert pool.used(project)["refused"] == {}


def test_an_exhausted_pool_answers_geminis_429_with_a_truthful_delay(pool):
    project = pool.add(limits={"rpm": 1})
    begun = time.monotonic()
    assert pool.generate().status_code == 200
    answer = pool.generate()
    assert (answer.status_code, error_of(answer)["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert answer.headers["x-keypool-error"] == "pool-exhausted"
    left = 60.5 - (time.monotonic() - begun)
    assert left - 2 < retry_delay_of(answer) <= 61
    assert int(answer.headers["retry-after"]) >= retry_delay_of(answer)
    assert pool.used(project)["refused"] == {}


@pytest.mark.parametrize("projects", [1, 2])
def test_so_does_one_that_upstreams_own_429_has_exhausted(proxy, pool, projects):
    for _ in range(projects):
        # A day's quota, and upstream says to come back in 21 s.
        proxy.sim.fault("raw", project=pool.add(), status=429, body=bodies.FREE_DAY)
    answer = pool.generate()
    assert (answer.status_code, answer.headers["x-keypool-error"]) == (429, "pool-exhausted")
    assert retry_delay_of(answer) == pytest.approx(retry_delay_of(pool.generate()), abs=5)
    assert retry_delay_of(answer) == pytest.approx(float(answer.headers["retry-after"]), abs=1)


def test_a_stream_gets_our_errors_in_its_own_form(pool):
    pool.add(limits={"rpm": 0, "tpm": 0})
    as_array = pool.post(STREAM)
    as_sse = pool.post(f"{STREAM}?alt=sse")
    assert as_array.json()[0]["error"]["code"] == 503
    assert error_of(as_sse)["code"] == 503


def test_a_wait_must_be_a_number_of_seconds(pool):
    pool.add()
    assert pool.generate(x_keypool_wait_s="soon").status_code == 400
    assert pool.generate(x_keypool_wait_s="301").status_code == 400


def test_counting_and_models_work_while_the_project_cools(pool):
    project = pool.add(rpm=1)
    pool.generate()
    assert pool.generate().status_code == 429
    counted = pool.post(COUNT)
    assert counted.json()["totalTokens"] > 0
    assert "x-keypool-lease" not in counted.headers
    assert pool.http.get("/v1beta/models").json()["models"]
    assert pool.http.get(f"/v1beta/models/{FLASH}").json()["name"] == f"models/{FLASH}"
    assert pool.model(project)["rpm"]["used"] == 2


def test_counting_disables_a_dead_key_and_goes_on(proxy, pool):
    first, second = pool.add(), pool.add()
    proxy.sim.revoke(secret_of(f"{first}-key0"))
    served = {pool.post(COUNT).headers.get("x-keypool-project") for _ in range(3)}
    assert served == {second}
    assert pool.key_states(first) == ["dead"]


def test_a_429_on_counting_cools_nothing(proxy, pool):
    project = pool.add()
    proxy.sim.fault("rpm", on="count", project=project)
    assert pool.post(COUNT).status_code == 429
    assert pool.generate().status_code == 200


def test_an_unknown_path_is_not_forwarded(pool):
    pool.add()
    for path in ("/v1beta/nothing", "/v1beta/models/../../simulator/v1/record", "/v1/models/a/b"):
        answer = pool.http.get(path)
        assert answer.status_code == 404
        assert "projects" not in answer.json()


def test_a_foreign_refusal_inside_the_body_hides_the_key(proxy, pool):
    project = pool.add()
    secret = secret_of(f"{project}-key0")
    body = {"error": {"code": 400, "message": f"about api_key:{secret}", "status": "X"}}
    proxy.sim.fault("raw", project=project, status=400, body=body)
    answer = pool.generate()
    assert answer.status_code == 400
    assert secret not in answer.text


def test_upstreams_own_failure_of_a_stream_breaks_the_clients_connection(proxy, pool):
    project = pool.add()
    proxy.sim.fault("drop", project=project, after_chunks=1)
    with pytest.raises(httpx2.RemoteProtocolError):
        pool.post(f"{STREAM}?alt=sse")


def test_a_stream_that_never_began_is_tried_again(proxy, pool):
    project = pool.add()
    proxy.sim.fault("drop", project=project, after_chunks=0)
    assert pool.post(f"{STREAM}?alt=sse").status_code == 200


def test_a_call_waits_for_room_when_told_to(tmp_path):
    with a_proxy(tmp_path / "home", window_s=1.0, guard_ms=100) as proxy, proxy.pool() as pool:
        pool.add(limits={"rpm": 1})
        begun = time.monotonic()
        assert pool.generate().status_code == 200
        assert pool.generate(x_keypool_wait_s="10").status_code == 200
        assert 1 < time.monotonic() - begun < 8


def test_without_authentication_any_key_will_do(tmp_path):
    with (
        a_proxy(tmp_path / "home") as proxy,
        proxy.home.daemon(auth=False) as open_daemon,
        proxy.pool() as pool,
    ):
        pool.add()
        with httpx2.Client(base_url=open_daemon.url, timeout=30) as http:
            headers = {"x-goog-api-key": "anything", "x-keypool-pool": pool.name}
            assert http.post(GENERATE, json=a_body(), headers=headers).status_code == 200
            headers["origin"] = "https://example.com"
            assert http.post(GENERATE, json=a_body(), headers=headers).status_code == 403


def test_a_pool_of_any_script_is_named_percent_encoded_and_never_taken_for_another(proxy):
    name = unique("فريق")
    projects = {pool: unique("p") for pool in (name, "main")}
    for pool, project in projects.items():
        proxy.sim.add_project(project, [secret_of(f"{project}-key")], models={"*": {}})
        proxy.home.add_project(project, pool=pool)
        proxy.daemon.project(project, pool)
    with proxy.client() as http:
        read = http.post(GENERATE, json=a_body(), headers={"x-keypool-pool": quote(name)})
        assert read.headers["x-keypool-project"] == projects[name]
        torn = http.post(GENERATE, json=a_body(), headers={"x-keypool-pool": name.encode()})
        assert (torn.status_code, error_of(torn)["status"]) == (400, "INVALID_ARGUMENT")
        assert "percent-encode" in torn.text


def test_a_session_keeps_to_one_project_and_others_spread(pool):
    for _ in range(3):
        pool.add()
    together = {
        pool.generate(x_keypool_affinity="chat-1").headers["x-keypool-project"] for _ in range(6)
    }
    apart = {pool.generate().headers["x-keypool-project"] for _ in range(6)}
    assert len(together) == 1
    assert len(apart) > 1


def test_a_session_never_waits_for_its_project(pool):
    first, second = pool.add(limits={"rpm": 2}, priority=5), pool.add()
    served = [
        pool.generate(x_keypool_affinity="chat-2").headers["x-keypool-project"] for _ in range(4)
    ]
    assert served == [first, first, second, second]


def test_long_prompts_that_begin_alike_go_to_one_project(pool):
    for _ in range(3):
        pool.add()
    system = {"parts": [{"text": "You are a patient clerk. " * 600}]}

    def served(text, **more):
        return pool.post(GENERATE, a_body(text, **more)).headers["x-keypool-project"]

    with_prefix = {served("the same first turn", systemInstruction=system) for _ in range(6)}
    assert len(with_prefix) == 1
    assert len({served(f"turn {number}") for number in range(6)}) > 1


def test_a_session_has_a_name_of_some_length(pool):
    pool.add()
    assert pool.generate(x_keypool_affinity="x" * 201).status_code == 400
