"""What the simulated projects keep: each its own, and refused to others in Gemini's words."""

import httpx2
import pytest

from tests.support.running import eventually
from tests.support.simulator import simulator

FLASH = "gemini-2.5-flash"
UPLOAD = "/upload/v1beta/files"


@pytest.fixture(scope="module")
def sim():
    projects = {"p": {"keys": ["key-p"]}, "q": {"keys": ["key-q"]}}
    with simulator({"projects": projects, "models": [FLASH]}) as running:
        yield running


@pytest.fixture
def clients(sim):
    made = [
        httpx2.Client(base_url=sim.url, headers={"x-goog-api-key": key}, timeout=30)
        for key in ("key-p", "key-q")
    ]
    yield made
    for each in made:
        each.close()


@pytest.fixture
def begun(clients):
    """The URL of an upload that has begun."""
    headers = {"x-goog-upload-command": "start"}
    return clients[0].post(UPLOAD, json={}, headers=headers).headers["x-goog-upload-url"]


def file_of(client):
    return client.post(UPLOAD, content=b"hello").json()["file"]["name"]


def test_a_project_does_not_have_what_another_made(clients):
    ours, theirs = clients
    name = file_of(ours)
    part = {"fileData": {"fileUri": f"https://generativelanguage.googleapis.com/v1beta/{name}"}}
    body = {"contents": [{"parts": [part]}]}
    path = f"/v1beta/models/{FLASH}:generateContent"
    assert ours.post(path, json=body).status_code == 200
    for answer in (theirs.post(path, json=body), theirs.get(f"/v1beta/{name}")):
        assert answer.status_code == 403
        told = f"to access the File {name.removeprefix('files/')} or it may not exist."
        assert answer.json()["error"]["message"].endswith(told)
    assert theirs.get("/v1beta/files").json() == {}


def test_a_cache_is_gone_when_its_time_has_come(clients):
    ours, _ = clients
    made = {"model": f"models/{FLASH}", "contents": [{"parts": [{"text": "long"}]}]}
    short = ours.post("/v1beta/cachedContents", json={**made, "ttl": "0.2s"}).json()["name"]
    path = f"/v1beta/models/{FLASH}:countTokens"
    body = {"contents": made["contents"], "cachedContent": short}
    assert ours.post(path, json=body).status_code == 200
    eventually(lambda: ours.get(f"/v1beta/{short}").status_code == 403)
    assert ours.post(path, json=body).status_code == 403
    assert ours.get("/v1beta/cachedContents").json() == {}


def test_a_cache_counts_in_the_prompt_that_names_it(clients):
    ours, _ = clients
    contents = [{"parts": [{"text": "word " * 40}]}]
    cache = ours.post(
        "/v1beta/cachedContents", json={"model": f"models/{FLASH}", "contents": contents}
    ).json()
    cached = cache["usageMetadata"]["totalTokenCount"]
    body = {"contents": [{"parts": [{"text": "abcd"}]}], "cachedContent": cache["name"]}
    path = f"/v1beta/models/{FLASH}"
    usage = ours.post(f"{path}:generateContent", json=body).json()["usageMetadata"]
    assert (usage["promptTokenCount"], usage["cachedContentTokenCount"]) == (cached + 2, cached)
    assert usage["cacheTokensDetails"] == [{"modality": "TEXT", "tokenCount": cached}]
    assert usage["promptTokensDetails"] == [{"modality": "TEXT", "tokenCount": cached + 2}]
    inner = {"generateContentRequest": {"model": f"models/{FLASH}", **body}}
    counted = ours.post(f"{path}:countTokens", json=inner).json()
    assert (counted["totalTokens"], counted["cachedContentTokenCount"]) == (cached + 2, cached)


def test_an_upload_takes_steps_at_their_offset_only_and_no_key(begun):
    step = {"x-goog-upload-command": "upload", "x-goog-upload-offset": "0"}
    assert httpx2.post(begun, content=b"abc", headers=step).status_code == 200
    assert httpx2.post(begun, content=b"abc", headers=step).status_code == 400
    keyed = {**step, "x-goog-upload-offset": "3", "x-goog-api-key": "key-p"}
    assert httpx2.post(begun, content=b"def", headers=keyed).status_code == 400
    last = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "3"}
    file = httpx2.post(begun, content=b"def", headers=last).json()["file"]
    assert file["sizeBytes"] == "6"
    assert httpx2.post(begun, content=b"", headers=last).status_code == 404


def test_a_list_comes_in_pages(clients):
    _, theirs = clients
    names = [theirs.post("/v1beta/fileSearchStores", json={}).json()["name"] for _ in range(3)]
    first = theirs.get("/v1beta/fileSearchStores", params={"pageSize": 2}).json()
    params = {"pageSize": 2, "pageToken": first["nextPageToken"]}
    last = theirs.get("/v1beta/fileSearchStores", params=params).json()
    found = [*first["fileSearchStores"], *last["fileSearchStores"]]
    assert [each["name"] for each in found] == names
    assert "nextPageToken" not in last


def test_only_what_gemini_made_can_be_downloaded(clients):
    name = file_of(clients[0])
    assert clients[0].get(f"/v1beta/{name}:download").status_code == 403


def test_an_interaction_goes_on_only_where_it_is_kept(clients):
    ours, theirs = clients
    body = {"model": FLASH, "input": "hello"}
    kept = ours.post("/v1beta/interactions", json=body).json()["id"]
    passing = ours.post("/v1beta/interactions", json={**body, "store": False}).json()["id"]
    going_on = {**body, "previous_interaction_id": kept}
    assert ours.post("/v1beta/interactions", json=going_on).status_code == 200
    assert theirs.post("/v1beta/interactions", json=going_on).status_code == 403
    assert ours.get(f"/v1beta/interactions/{passing}").status_code == 403
