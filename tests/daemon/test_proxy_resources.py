"""What one project keeps, through the proxy: found, kept apart, refused, remembered."""

import gzip
import zlib

import httpx2
import pytest

from keypool_cli.core.model import Secret
from tests.support.daemon import BY, FLASH, eventually, secret_of
from tests.support.egress import egress_proxy
from tests.support.proxy import COUNT, GENERATE, a_body

UPLOAD = "/upload/v1beta/files"
FILE = "generativelanguage.googleapis.com/v1beta"


@pytest.fixture
def pool(proxy):
    proxy.sim.clear_faults()
    with proxy.pool() as made:
        yield made


def error_of(answer):
    return answer.json()["error"]


def upload(pool, data=b"hello", **headers):
    """A file, made in one call; its name."""
    named = {"content-type": "text/plain", "x-goog-upload-protocol": "raw", **headers}
    answer = pool.http.post(UPLOAD, content=data, headers=named)
    assert answer.status_code == 200, answer.text
    return answer.json()["file"]["name"]


def upload_in(pool, project):
    return upload(pool, **{"x-keypool-affinity": project})


def made_elsewhere(proxy, project, data=b"hello"):
    """A file of a project that was not made through keypool."""
    answer = httpx2.post(
        f"{proxy.sim.url}{UPLOAD}",
        content=data,
        headers={"x-goog-api-key": secret_of(f"{project}-key0"), "content-type": "text/plain"},
    )
    return answer.json()["file"]["name"]


def using(*names):
    parts = [{"fileData": {"fileUri": f"https://{FILE}/{each}"}} for each in names]
    return a_body(contents=[{"role": "user", "parts": [{"text": "hi"}, *parts]}])


def test_a_call_goes_where_its_file_is(pool):
    projects = [pool.add() for _ in range(4)]
    name = upload_in(pool, projects[2])
    answers = [pool.post(path, using(name)) for path in (GENERATE, COUNT) * 3]
    assert {each.headers["x-keypool-project"] for each in answers} == {projects[2]}
    assert {each.status_code for each in answers} == {200}


def test_files_of_one_client_go_to_one_project(pool):
    [pool.add() for _ in range(4)]
    names = [upload(pool) for _ in range(4)]
    assert pool.post(GENERATE, using(*names)).status_code == 200


def test_files_of_one_session_go_to_one_project_and_sessions_spread(pool):
    [pool.add() for _ in range(3)]
    sessions = {f"chat-{n}": [upload_in(pool, f"chat-{n}") for _ in range(3)] for n in range(3)}
    answers = [pool.post(GENERATE, using(*names)) for names in sessions.values()]
    assert {each.status_code for each in answers} == {200}
    assert len({each.headers["x-keypool-project"] for each in answers}) > 1


def test_files_of_two_projects_in_one_request_are_a_conflict_that_names_them(pool):
    first, second = pool.add(), pool.add()
    here, there = upload_in(pool, first), upload_in(pool, second)
    answer = pool.post(GENERATE, using(here, there))
    assert (answer.status_code, error_of(answer)["status"]) == (409, "ABORTED")
    assert f"{here} is in project {first}" in error_of(answer)["message"]
    assert f"{there} is in project {second}" in error_of(answer)["message"]


def test_a_file_made_elsewhere_is_looked_up_once_and_remembered(proxy, pool):
    first, second = pool.add(), pool.add()
    name = made_elsewhere(proxy, second)
    before = [pool.used(each)["refused"] for each in (first, second)]
    for _ in range(3):
        assert pool.http.get(f"/v1beta/{name}").headers["x-keypool-project"] == second
    assert pool.post(GENERATE, using(name)).headers["x-keypool-project"] == second
    asked = pool.used(first)["refused"].get("foreign", 0) - before[0].get("foreign", 0)
    assert asked == 1


def test_a_dead_key_does_not_hide_what_its_project_has(proxy, pool):
    pool.add()
    project = pool.add(keys=2)
    name = made_elsewhere(proxy, project)
    proxy.sim.revoke(secret_of(f"{project}-key0"))
    unsure = pool.http.get(f"/v1beta/{name}")
    assert (unsure.status_code, unsure.headers["retry-after"]) == (503, "1")
    assert sorted(pool.key_states(project)) == ["dead", "ready"]
    assert pool.http.get(f"/v1beta/{name}").headers["x-keypool-project"] == project


def test_a_file_that_is_nowhere_gets_geminis_403_and_costs_nothing(pool):
    project = pool.add()
    for _ in range(2):
        answer = pool.post(GENERATE, using("files/nowhere"))
        assert (answer.status_code, error_of(answer)["status"]) == (403, "PERMISSION_DENIED")
        told = "You do not have permission to access the File nowhere or it may not exist."
        assert error_of(answer)["message"] == told
    assert pool.used(project)["accepted"] == 0
    assert pool.used(project)["refused"] == {"foreign": 1}
    assert pool.key_states(project) == ["ready"]


def test_a_file_in_a_project_of_another_pool_is_out_of_reach(proxy, pool):
    pool.add()
    with proxy.pool() as elsewhere:
        elsewhere.add()
        name = upload(elsewhere)
    assert pool.post(GENERATE, using(name)).status_code == 403


def test_a_spent_project_is_waited_for_as_no_other_has_the_file(pool):
    first, second = pool.add(limits={"rpm": 1}), pool.add()
    name = upload_in(pool, first)
    assert pool.post(GENERATE, using(name)).status_code == 200
    answer = pool.post(GENERATE, using(name))
    assert (answer.status_code, error_of(answer)["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert float(answer.headers["retry-after"]) > 1
    assert pool.used(second)["accepted"] == 0


def test_upstreams_own_429_of_the_one_project_is_no_reason_to_go_elsewhere(proxy, pool):
    first, second = pool.add(), pool.add()
    name = upload_in(pool, first)
    proxy.sim.fault("rpm", project=first)
    answer = pool.post(GENERATE, using(name))
    assert answer.status_code == 429
    assert pool.used(second)["accepted"] == 0
    assert pool.model(first)["state"] == "cooling"


def shut(proxy, pool, project):
    """Disable a project, and wait until the daemon knows."""
    proxy.home.change(
        lambda registry: registry.projects.set(project, by=BY, enabled=False),
        touched=lambda found: [found.id],
    )
    eventually(lambda: proxy.daemon.project(project, pool.name)["state"] == "disabled")


def test_a_disabled_project_that_has_the_file_is_named(proxy, pool):
    first, _ = pool.add(), pool.add()
    name = upload_in(pool, first)
    shut(proxy, pool, first)
    for answer in (pool.post(GENERATE, using(name)), pool.http.get(f"/v1beta/{name}")):
        assert answer.status_code == 503
        assert f"project '{first}', which has" in error_of(answer)["message"]


def test_a_resource_that_is_deleted_and_made_again_elsewhere_is_found_there(pool):
    first, second = pool.add(), pool.add()
    name = upload_in(pool, first)
    assert pool.http.delete(f"/v1beta/{name}").status_code == 200
    body = {"file": {"name": name}}
    begun = pool.http.post(
        UPLOAD,
        json=body,
        headers={"x-goog-upload-command": "start", "x-keypool-affinity": second},
    )
    ended = pool.http.post(
        begun.headers["x-goog-upload-url"],
        content=b"again",
        headers={"x-goog-upload-command": "upload, finalize"},
    )
    assert ended.json()["file"]["name"] == name
    assert pool.http.get(f"/v1beta/{name}").headers["x-keypool-project"] == second


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
def test_a_list_ends_with_a_page_that_has_something_on_it(proxy, pool, limit):
    projects = [pool.add() for _ in range(3)]
    token = proxy.home.add_client()
    proxy.daemon.known(token)
    mine = [upload_in(pool, each) for each in projects * 2]
    with proxy.client(token, headers={"x-keypool-pool": pool.name}) as theirs:
        for each in projects:
            theirs.post(
                UPLOAD, content=b"x", headers={"x-keypool-affinity": each}
            ).raise_for_status()
    found, page = [], {"nextPageToken": ""}
    while "nextPageToken" in page:
        params = {"pageSize": limit, "pageToken": page["nextPageToken"]}
        page = pool.http.get("/v1beta/files", params=params).json()
        assert 0 < len(page["files"]) <= limit
        found += [each["name"] for each in page["files"]]
    assert sorted(found) == sorted(mine)


@pytest.mark.parametrize("path", ["/v1beta/files", "/v1beta/openai/files"])
def test_a_list_names_the_projects_whose_items_are_missing(proxy, pool, path):
    first, second, third = pool.add(), pool.add(), pool.add()
    mine = [upload_in(pool, each) for each in (first, second)]
    bearer = {"authorization": f"Bearer {proxy.home.token}"}
    assert "x-keypool-left-out" not in pool.http.get(path, headers=bearer).headers
    for each in (first, third):
        shut(proxy, pool, each)
    answer = pool.http.get(path, headers=bearer)
    assert answer.status_code == 200
    assert answer.headers["x-keypool-left-out"] == first  # the third has nothing of this client's
    if "openai" not in path:
        assert [each["name"] for each in answer.json()["files"]] == mine[1:]


def test_a_page_token_of_someones_own_making_is_refused(pool):
    pool.add()
    upload(pool)
    answer = pool.http.get("/v1beta/files", params={"pageToken": "made-up"})
    assert (answer.status_code, error_of(answer)["status"]) == (400, "INVALID_ARGUMENT")


def test_an_empty_list_is_an_empty_object(pool):
    pool.add()
    assert pool.http.get("/v1beta/cachedContents").json() == {}


def test_a_store_is_made_found_and_deleted(pool):
    [pool.add() for _ in range(3)]
    name = pool.post("/v1beta/fileSearchStores", {"displayName": "books"}).json()["name"]
    assert pool.http.get(f"/v1beta/{name}").json()["displayName"] == "books"
    assert [e["name"] for e in pool.http.get("/v1beta/fileSearchStores").json()["fileSearchStores"]]
    assert pool.http.delete(f"/v1beta/{name}").status_code == 200
    assert pool.http.get(f"/v1beta/{name}").status_code == 403


def test_a_video_is_asked_for_where_it_is_made_and_downloaded(pool):
    [pool.add() for _ in range(3)]
    path = f"/v1beta/models/{FLASH}:predictLongRunning"
    begun = pool.post(path, {"instances": [{"prompt": "a cat"}]})
    assert begun.headers["x-keypool-lease"]
    done = pool.http.get(f"/v1beta/{begun.json()['name']}").json()
    samples = done["response"]["generateVideoResponse"]["generatedSamples"]
    uri = samples[0]["video"]["uri"].removeprefix("https://generativelanguage.googleapis.com")
    assert pool.http.get(uri).content == b"a video"
    assert pool.http.get(f"/download{uri}").content == b"a video"


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        pytest.param("gzip", gzip.compress, id="gzip"),
        pytest.param("deflate", zlib.compress, id="deflate"),
        pytest.param("deflate", lambda data: zlib.compress(data, wbits=-15), id="bare deflate"),
        pytest.param("identity", lambda data: data, id="plain"),
    ],
)
def test_a_compressed_body_is_understood_and_passed_on_in_clear(pool, coding, pack):
    project = pool.add()
    body = httpx2.Request("POST", "http://x", json=a_body("one two three " * 50)).content
    headers = {"content-encoding": coding, "content-type": "application/json"}
    answer = pool.http.post(GENERATE, content=pack(body), headers=headers)
    assert answer.status_code == 200, answer.text
    pool.settled(project, tokens=answer.json()["usageMetadata"]["promptTokenCount"])


@pytest.mark.parametrize(
    ("coding", "data", "code"),
    [
        pytest.param("gzip", b"{}", 400, id="not compressed at all"),
        pytest.param("gzip", gzip.compress(b"{}")[:-4], 400, id="cut short"),
        pytest.param("gzip", gzip.compress(bytes(40_000_000)), 413, id="a bomb"),
    ],
)
def test_a_compressed_body_that_cannot_be_read_is_refused(pool, coding, data, code):
    pool.add()
    headers = {"content-encoding": coding, "content-type": "application/json"}
    answer = pool.http.post(GENERATE, content=data, headers=headers)
    assert answer.status_code == code, answer.text


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br"])
@pytest.mark.parametrize("path", [GENERATE, COUNT, "/v1beta/openai/chat/completions"])
def test_a_coding_that_is_not_read_gets_a_415_that_names_what_is(pool, coding, path):
    project = pool.add()
    headers = {"content-encoding": coding, "content-type": "application/json"}
    answer = pool.http.post(path, content=b"{}", headers=headers)
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "gzip, deflate")
    assert f"{coding!r} is not read; send it plain, or as" in error_of(answer)["message"]
    assert error_of(answer).get("status", "INVALID_ARGUMENT") == "INVALID_ARGUMENT"
    assert pool.used(project)["accepted"] == 0


def test_the_calls_of_a_project_leave_through_its_egress_proxy(proxy, pool):
    first = pool.add(priority=5)
    with egress_proxy("amal:hunter2") as way:
        set_egress(proxy, pool.name, first, way.url)
        assert pool.generate().headers["x-keypool-project"] == first
        name = upload_in(pool, first)
        assert pool.http.get(f"/v1beta/{name}").status_code == 200
        assert way.targets == [f"POST {GENERATE}", f"POST {UPLOAD}", f"GET /v1beta/{name}"]
        assert way.refused == 0
        set_egress(proxy, pool.name, first, way.url.replace("hunter2", "wrong"))
        answer = pool.generate()
        assert answer.status_code >= 400
        assert way.refused > 0
        set_egress(proxy, pool.name, first, None)
        assert pool.generate().status_code == 200
        assert len(way.targets) == 3
    assert "hunter2" not in answer.text + proxy.daemon.log.read_text()


def test_a_file_made_while_the_database_is_away_belongs_to_its_client_afterwards(
    proxy, pool, sql_locked
):
    pool.add()
    stranger = proxy.home.add_client()
    proxy.daemon.known(stranger)
    upload(pool)  # so that the next one has nothing to find out
    with sql_locked(proxy.home):
        name = upload(pool)
    with proxy.client(stranger, headers={"x-keypool-pool": pool.name}) as theirs:
        eventually(lambda: theirs.get(f"/v1beta/{name}").status_code == 403, within_s=10)
    assert pool.http.get(f"/v1beta/{name}").status_code == 200


def set_egress(proxy, pool, project, url):
    secret = Secret(url) if url is not None else None
    proxy.home.change(
        lambda registry: registry.projects.set(project, by=BY, egress_proxy=secret),
        touched=lambda found: [found.id],
    )
    proxy.daemon.status(pool)
