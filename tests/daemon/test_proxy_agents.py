"""Agents through the proxy, and what it does not forward on purpose."""

import re

import pytest

from tests.support.daemon import FLASH

INTERACTIONS = "/v1beta/interactions"


@pytest.fixture
def pool(proxy):
    with proxy.pool() as made:
        yield made


def error_of(answer):
    return answer.json()["error"]


def test_an_agent_works_where_it_was_made(pool):
    projects = [pool.add() for _ in range(4)]
    pool.post("/v1beta/agents", {"id": "sentinel"}).raise_for_status()
    home = pool.http.get("/v1beta/agents/sentinel").headers["x-keypool-project"]
    body = {"agent": "sentinel", "input": "hello"}
    at = {pool.post(INTERACTIONS, body).headers["x-keypool-project"] for _ in range(4)}
    assert (at, home in projects) == ({home}, True)
    listed = pool.http.get("/v1beta/agents").json()["agents"]
    assert [each["id"] for each in listed] == ["sentinel"]
    assert pool.http.delete("/v1beta/agents/sentinel").status_code == 200
    assert pool.http.get("/v1beta/agents/sentinel").status_code == 403


def test_an_agent_is_its_clients_alone(proxy, pool):
    pool.add()
    pool.post("/v1beta/agents", {"id": "private"}).raise_for_status()
    token = proxy.home.add_client()
    proxy.daemon.known(token)
    with proxy.client(token, headers={"x-keypool-pool": pool.name}) as theirs:
        assert theirs.get("/v1beta/agents/private").status_code == 403
        assert theirs.get("/v1beta/agents").json() == {}
        body = {"agent": "private", "input": "hello"}
        assert theirs.post(INTERACTIONS, json=body).status_code == 403


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "as a stream"])
def test_an_environment_is_used_where_it_was_made_and_by_its_client_only(proxy, pool, stream):
    [pool.add() for _ in range(4)]
    new = {"agent": FLASH, "input": "hello", "environment": "remote", "stream": stream}
    made = pool.post(INTERACTIONS, new)
    home = made.headers["x-keypool-project"]
    (own,) = set(re.findall(r'"environment_id":"([^"]+)"', made.text))
    again = [{**new, "environment": own}, {**new, "environment": {"environment_id": own}}]
    agents = [{"id": f"{pool.name}-{n}", "base_environment": own} for n in range(2)]
    answers = [pool.post(INTERACTIONS, each) for each in again * 2]
    answers += [pool.post("/v1beta/agents", each) for each in agents]
    assert {each.status_code for each in answers} == {200}
    assert {each.headers["x-keypool-project"] for each in answers} == {home}
    token = proxy.home.add_client()
    proxy.daemon.known(token)
    with proxy.client(token, headers={"x-keypool-pool": pool.name}) as theirs:
        forked = {"id": "forked", "base_agent": f"{pool.name}-0"}
        for path, body in [(INTERACTIONS, again[0]), ("/v1beta/agents", agents[0])]:
            assert theirs.post(path, json=body).status_code == 403
        assert theirs.post("/v1beta/agents", json=forked).status_code == 403
        assert theirs.post(INTERACTIONS, json=new).status_code == 200


def test_googles_own_agents_work_everywhere_and_are_not_looked_for(pool):
    projects = [pool.add(rpm=1) for _ in range(2)]
    body = {"agent": FLASH, "input": "hello"}
    at = {pool.post(INTERACTIONS, body).headers["x-keypool-project"] for _ in range(2)}
    assert at == set(projects)
    assert [pool.used(each)["refused"].get("foreign", 0) for each in projects] == [0, 0]


@pytest.mark.parametrize(
    ("path", "code", "told"),
    [
        ("/v1alpha/auth_tokens", 403, "would pass its limits by; open the Live API"),
        ("/v1beta/webhooks", 403, "tells of all that everyone makes in one project"),
        ("/v1beta/webhooks/w:ping", 403, "tells of all that everyone makes in one project"),
        ("/v1beta/voices", 404, "voices are not forwarded"),
        ("/v1beta/triggers", 403, "what they start would pass the pool's limits by"),
        ("/v1beta/credentials/c", 403, "everyone in one project could use them"),
        ("/v1beta/decisions", 404, "decisions are not forwarded"),
        ("/v1beta/environments", 404, "the proxy does not forward POST /v1beta/environments"),
        ("/v1/chat/completions", 404, "the base URL of OpenAI's clients ends in /v1beta/openai/"),
        (
            f"/v1beta/v1beta/models/{FLASH}:generateContent",
            404,
            "Google's clients names no version",
        ),
    ],
)
def test_what_is_not_forwarded_is_told_with_its_reason(pool, path, code, told):
    project = pool.add()
    answer = pool.post(path, {})
    assert answer.status_code == code
    assert told in error_of(answer)["message"]
    assert pool.used(project)["refused"] == {}
