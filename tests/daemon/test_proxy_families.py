"""Embeddings, predictions, the OpenAI-compatible paths and interactions."""

import pytest

from tests.support.daemon import FLASH
from tests.support.proxy import a_proxy

EMBEDDER = "gemini-embedding-001"
CHAT, EMBEDDINGS = "/v1beta/openai/chat/completions", "/v1beta/openai/embeddings"
INTERACTIONS = "/v1beta/interactions"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    world = {"projects": {}, "models": [FLASH, EMBEDDER]}
    with a_proxy(tmp_path_factory.mktemp("families") / "home", world=world) as running:
        yield running


@pytest.fixture
def pool(proxy):
    proxy.sim.clear_faults()
    with proxy.pool() as made:
        yield made


def a_content(text="some words to embed"):
    return {"parts": [{"text": text}]}


def requests_of(pool, project, model=EMBEDDER):
    return pool.proxy.daemon.model(project, pool.name, model)["rpm"]["used"]


def test_an_embedding_is_one_request(pool):
    project = pool.add()
    answer = pool.post(f"/v1beta/models/{EMBEDDER}:embedContent", {"content": a_content()})
    assert answer.json()["embedding"]["values"]
    assert requests_of(pool, project) == 1


def test_each_item_of_a_batch_is_a_request(pool):
    project = pool.add(limits={"rpm": 10})
    path = f"/v1beta/models/{EMBEDDER}:batchEmbedContents"
    item = {"model": f"models/{EMBEDDER}", "content": a_content()}
    assert len(pool.post(path, {"requests": [item] * 6}).json()["embeddings"]) == 6
    assert requests_of(pool, project) == 6
    refused = pool.post(path, {"requests": [item] * 6})
    assert (refused.status_code, refused.headers["x-keypool-error"]) == (429, "pool-exhausted")
    assert pool.used(project)["accepted"] == 6


def test_a_batch_beyond_what_upstream_takes_is_refused(pool):
    pool.add()
    path = f"/v1beta/models/{EMBEDDER}:batchEmbedContents"
    assert pool.post(path, {"requests": [{"content": a_content()}] * 101}).status_code == 400


def test_a_prediction_is_one_request(pool):
    project = pool.add()
    body = {"instances": [{"prompt": "a cat"}]}
    answer = pool.post(f"/v1beta/models/{FLASH}:predict", body)
    assert answer.json()["predictions"]
    assert requests_of(pool, project, FLASH) == 1


def test_a_chat_is_settled_with_its_own_usage(pool):
    project = pool.add()
    body = {"model": FLASH, "messages": [{"role": "user", "content": "hello " * 100}]}
    answer = pool.post(CHAT, body)
    assert answer.headers["x-keypool-project"] == project
    pool.settled(project, tokens=answer.json()["usage"]["prompt_tokens"])


def test_a_chat_as_a_stream_ends_as_openais_do(pool):
    project = pool.add()
    body = {
        "model": f"models/{FLASH}",
        "messages": [{"role": "user", "content": "hello " * 100}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert pool.post(CHAT, body).text.endswith("data: [DONE]\n\n")
    pool.settled(project, tokens=pool.used(project)["tokens"])


def test_a_spent_project_hands_a_chat_on(pool):
    first, second = pool.add(rpm=1, priority=5), pool.add()
    body = {"model": FLASH, "messages": [{"role": "user", "content": "hello"}]}
    served = [pool.post(CHAT, body).headers["x-keypool-project"] for _ in range(3)]
    assert served == [first, second, second]


def test_embeddings_of_a_list_count_one_by_one(pool):
    project = pool.add()
    answer = pool.post(EMBEDDINGS, {"model": EMBEDDER, "input": ["one", "two", "three"]})
    assert len(answer.json()["data"]) == 3
    assert requests_of(pool, project) == 3


def test_our_errors_on_openais_paths_have_openais_shape(pool):
    pool.add(limits={"rpm": 1})
    body = {"model": FLASH, "messages": [{"role": "user", "content": "hello"}]}
    pool.post(CHAT, body)
    error = pool.post(CHAT, body).json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert (
        pool.http.get("/v1beta/openai/unknown").json()["error"]["type"] == "invalid_request_error"
    )
    assert pool.post(CHAT, {"messages": []}).json()["error"]["type"] == "invalid_request_error"


def test_our_errors_of_interactions_have_their_shape(pool):
    pool.add(limits={"rpm": 1})
    body = {"model": FLASH, "input": "hello"}
    assert pool.post(INTERACTIONS, body).status_code == 200
    exhausted = pool.post(INTERACTIONS, body)
    foreign = pool.http.get(f"{INTERACTIONS}/v1_nothing")
    wrong = pool.post(INTERACTIONS, {"input": "hello"})
    for answer, status, code in (
        (exhausted, 429, "too_many_requests"),
        (foreign, 403, "permission_denied"),
        (wrong, 400, "invalid_request"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert answer.json()["error"].keys() == {"message", "code"}
        assert "x-keypool-error" in answer.headers
    assert "retry-after" in exhausted.headers
    stranger = {"x-goog-api-key": "kp_wrong"}
    refused = pool.http.post(INTERACTIONS, json=body, headers=stranger).json()["error"]
    assert refused["status"] == "UNAUTHENTICATED"


def test_openais_models_are_listed_without_quota(pool):
    pool.add(limits={"rpm": 0})
    assert pool.http.get("/v1beta/openai/models").json()["data"]


def test_a_model_outside_the_grant_is_refused_also_where_the_body_names_it(proxy, pool):
    pool.add()
    token = proxy.home.add_client(models=("another",))
    proxy.daemon.status(pool.name)
    with proxy.client(token, headers={"x-keypool-pool": pool.name}) as http:
        assert http.post(CHAT, json={"model": FLASH, "messages": []}).status_code == 403
        body = {"model": FLASH, "input": "hello"}
        assert http.post(INTERACTIONS, json=body).status_code == 403


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "as a stream"])
def test_an_interaction_is_settled_with_its_own_usage(pool, stream):
    project = pool.add()
    body = {"model": FLASH, "input": "hello " * 100, "store": False, "stream": stream}
    assert pool.post(INTERACTIONS, body).status_code == 200
    pool.settled(project, tokens=pool.used(project)["tokens"])


def test_an_interactions_refusal_in_prose_cools_the_day(proxy, pool):
    first, second = pool.add(priority=5), pool.add()
    said = (
        f"Rate limit exceeded for model {FLASH} (limit: 20 requests per day on Free Tier). "
        "Please retry in 15h26m48s or upgrade your tier at https://ai.dev/rate-limit."
    )
    body = {"error": {"message": said, "code": "too_many_requests"}}
    proxy.sim.fault("raw", project=first, status=429, body=body)
    answer = pool.post(INTERACTIONS, {"model": FLASH, "input": "hello", "store": False})
    assert answer.headers["x-keypool-project"] == second
    assert pool.model(first)["rule"] == "per-day-hint"
