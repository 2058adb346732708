"""Files and batches on the OpenAI-compatible paths, as OpenAI's own client uses them."""

import json
from pathlib import Path

import httpx2
import openai
import pytest

from tests.support.daemon import FLASH, secret_of

OPENAI = "/v1beta/openai"


@pytest.fixture(scope="module")
def other(proxy):
    with proxy.home.daemon() as running:
        yield running


@pytest.fixture
def pool(proxy):
    with proxy.pool() as made:
        yield made


def a_client(daemon, pool, token=None, **headers):
    return openai.OpenAI(
        base_url=f"{daemon.url}{OPENAI}/",
        api_key=token or pool.proxy.home.token,
        default_headers={"x-keypool-pool": pool.name, **headers},
        max_retries=0,
    )


@pytest.fixture
def gpt(proxy, pool):
    with a_client(proxy.daemon, pool) as client:
        yield client


@pytest.fixture
def stranger(proxy, pool):
    token = proxy.home.add_client()
    proxy.daemon.known(token)
    with a_client(proxy.daemon, pool, token) as client:
        yield client


def lines(count=2):
    body = {"model": FLASH, "messages": [{"role": "user", "content": "hello"}]}
    asked = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    texts = [json.dumps({"custom_id": f"n{number}", **asked}) for number in range(count)]
    return "\n".join(texts).encode()


def upload(gpt, project=None, data=None):
    headers = {"x-keypool-affinity": project} if project else {}
    made = gpt.files.create(
        file=("in.jsonl", lines() if data is None else data), purpose="batch", extra_headers=headers
    )
    return made.id


def batch_of(gpt, file):
    return gpt.batches.create(
        input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h"
    )


def project_of(answer):
    return answer.headers["x-keypool-project"]


def test_a_batch_runs_from_file_to_results(gpt, pool):
    projects = [pool.add() for _ in range(4)]
    made = gpt.batches.with_raw_response.create(
        input_file_id=upload(gpt, projects[2]),
        endpoint="/v1/chat/completions",
        completion_window="24h",
    )
    assert project_of(made) == projects[2]
    own = made.parse().id
    states = [gpt.batches.retrieve(own).status for _ in range(3)]
    assert states[-1] == "completed"
    results = gpt.files.content(gpt.batches.retrieve(own).output_file_id).read()
    answers = [json.loads(each) for each in results.splitlines()]
    assert [each["custom_id"] for each in answers] == ["n0", "n1"]
    assert answers[0]["response"]["body"]["choices"][0]["message"]["content"]


def test_a_file_is_shown_read_and_deleted_where_it_is(gpt, pool):
    projects = [pool.add() for _ in range(4)]
    own = upload(gpt, projects[1], b"hello")
    assert project_of(gpt.files.with_raw_response.retrieve(own)) == projects[1]
    assert gpt.files.content(own).read() == b"hello"
    assert gpt.files.delete(own).deleted
    with pytest.raises(openai.PermissionDeniedError):
        gpt.files.retrieve(own)


def test_files_of_one_client_go_to_one_project(gpt, pool):
    [pool.add() for _ in range(4)]
    owns = [upload(gpt) for _ in range(4)]
    at = {project_of(gpt.files.with_raw_response.retrieve(own)) for own in owns}
    assert len(at) == 1


def test_another_daemon_knows_where_they_are_without_asking(gpt, other, pool):
    first, second = pool.add(), pool.add()
    file = upload(gpt, second)
    batch = batch_of(gpt, file).id
    with a_client(other, pool) as there:
        assert project_of(there.files.with_raw_response.retrieve(file)) == second
        assert project_of(there.batches.with_raw_response.retrieve(batch)) == second
        assert there.batches.cancel(batch).status == "cancelled"
    assert pool.used(first)["refused"] == {}


def test_they_are_the_same_ones_as_on_geminis_own_paths(gpt, pool):
    [pool.add() for _ in range(3)]
    headers = {"content-type": "application/jsonl", "x-goog-upload-protocol": "raw"}
    file = pool.http.post("/upload/v1beta/files", content=lines(), headers=headers).json()["file"]
    batch = batch_of(gpt, file["name"]).id
    assert gpt.files.retrieve(file["name"]).bytes == len(lines())
    assert pool.http.get(f"/v1beta/{batch}").status_code == 200
    bare = batch.removeprefix("batches/")
    assert pool.http.get(f"{OPENAI}/batches/{bare}").json()["id"] == batch


def test_a_bare_id_of_an_input_file_finds_its_project(gpt, pool):
    projects = [pool.add() for _ in range(3)]
    own = upload(gpt, projects[1]).removeprefix("files/")
    answer = pool.post(f"{OPENAI}/batches", {"input_file_id": own})
    assert (answer.status_code, project_of(answer)) == (200, projects[1])


def test_nobody_else_sees_uses_or_removes_them(gpt, stranger, pool):
    pool.add()
    file = upload(gpt)
    batch = batch_of(gpt, file).id
    for refused in (
        lambda: stranger.files.retrieve(file),
        lambda: stranger.files.content(file),
        lambda: stranger.files.delete(file),
        lambda: stranger.batches.retrieve(batch),
        lambda: stranger.batches.cancel(batch),
        lambda: batch_of(stranger, file),
    ):
        with pytest.raises(openai.PermissionDeniedError):
            refused()
    assert (stranger.files.list().data, stranger.batches.list().data) == ([], [])
    assert gpt.batches.retrieve(batch).status != "cancelled"


def test_results_belong_to_whoever_made_the_batch(gpt, stranger, pool):
    pool.add()
    batch = batch_of(gpt, upload(gpt)).id
    [gpt.batches.retrieve(batch) for _ in range(2)]
    results = gpt.batches.retrieve(batch).output_file_id
    with pytest.raises(openai.PermissionDeniedError):
        stranger.files.content(results)
    assert gpt.files.content(results).read()


def test_files_of_two_projects_in_one_chat_are_a_conflict(gpt, pool):
    first, second = pool.add(), pool.add()
    parts = [{"type": "file", "file": {"file_id": upload(gpt, each)}} for each in (first, second)]
    with pytest.raises(openai.ConflictError) as caught:
        gpt.chat.completions.create(model=FLASH, messages=[{"role": "user", "content": parts}])
    assert first in caught.value.message
    assert second in caught.value.message


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
def test_a_list_shows_all_projects_own_items_once(gpt, stranger, pool, limit):
    projects = [pool.add() for _ in range(3)]
    mine = [upload(gpt, each) for each in projects * 2]
    for each in projects:
        upload(stranger, each)
    shown = [each.id for each in gpt.files.list(limit=limit)]
    assert sorted(shown) == sorted(mine)


def test_a_list_says_what_comes_after(gpt, pool):
    [pool.add() for _ in range(2)]
    batches = [batch_of(gpt, upload(gpt)).id for _ in range(3)]
    page = gpt.batches.list(limit=2)
    assert ([each.id for each in page.data], page.has_more) == (batches[:2], True)
    page = gpt.batches.list(limit=2, after=batches[1])
    assert ([each.id for each in page.data], page.has_more) == (batches[2:], False)


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=100000", "after=.."])
def test_a_list_asked_for_wrongly_is_refused_in_openais_shape(pool, query):
    pool.add()
    answer = pool.http.get(f"{OPENAI}/files?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_file_made_elsewhere_is_looked_up_once(proxy, gpt, pool):
    first, second = pool.add(), pool.add()
    answer = httpx2.post(
        f"{proxy.sim.url}{OPENAI}/files",
        files={"file": ("in.jsonl", lines())},
        data={"purpose": "batch"},
        headers={"authorization": f"Bearer {secret_of(f'{second}-key0')}"},
    )
    for _ in range(2):
        assert (
            project_of(
                gpt.batches.with_raw_response.create(
                    input_file_id=answer.json()["id"],
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                )
            )
            == second
        )
    assert pool.used(first)["refused"] == {"foreign": 1}


def test_a_client_with_a_grant_of_models_makes_no_batch_as_those_lie_in_its_file(proxy, pool):
    pool.add()
    token = proxy.home.add_client(models=(FLASH,))
    proxy.daemon.known(token)
    with a_client(proxy.daemon, pool, token) as client:
        own = upload(client)
        for more in ({}, {"model": FLASH}):
            with pytest.raises(openai.PermissionDeniedError):
                client.batches.create(
                    input_file_id=own,
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                    extra_body=more,
                )


def test_an_upload_is_streamed(proxy, pool):
    pool.add()
    size = 60_000_000
    head = b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    head += b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
    parts = [head, *[bytes(1_000_000)] * (size // 1_000_000), b"\r\n--b--\r\n"]
    before = peak_mb(proxy.daemon.process.pid)
    for length in ({}, {"content-length": str(sum(map(len, parts)))}):
        headers = {"content-type": "multipart/form-data; boundary=b", **length}
        answer = pool.http.post(f"{OPENAI}/files", content=iter(parts), headers=headers)
        assert answer.json()["bytes"] == size
    assert peak_mb(proxy.daemon.process.pid) - before < 30


def peak_mb(pid):
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) / 1000 for row in rows if row.startswith("VmHWM"))
