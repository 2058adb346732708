"""Files, caches and batches with Google's own client, on two daemons and several projects."""

import io
import itertools
import json

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from tests.support.daemon import BY, FLASH, eventually
from tests.support.node import run_node
from tests.support.proxy import a_proxy

pytestmark = pytest.mark.e2e

TEXT = types.UploadFileConfig(mime_type="text/plain", display_name="notes")


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    world = {"projects": {}, "models": [FLASH]}
    with a_proxy(tmp_path_factory.mktemp("resources") / "home", world=world) as running:
        yield running


@pytest.fixture(scope="module")
def other(proxy):
    """A second daemon on the same home."""
    with proxy.home.daemon() as running:
        yield running


@pytest.fixture
def pool(proxy):
    proxy.sim.clear_faults()
    with proxy.pool() as made:
        yield made


@pytest.fixture
def client_of(proxy, pool):
    """Makes Gemini clients: of a token of their own, on a daemon."""
    made = []

    def make(token=None, daemon=None, **headers):
        options = types.HttpOptions(
            base_url=(daemon or proxy.daemon).url,
            headers={"x-keypool-pool": pool.name, **headers},
            timeout=30_000,
        )
        made.append(genai.Client(api_key=token or proxy.home.token, http_options=options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def projects(pool):
    return [pool.add() for _ in range(3)]


@pytest.fixture
def stranger(proxy, other):
    """The token of another client, which both daemons know."""
    token = proxy.home.add_client()
    proxy.daemon.known(token)
    other.known(token)
    return token


def test_a_file_is_uploaded_shown_used_listed_and_deleted_on_either_daemon(
    client_of, other, pool, projects
):
    here, there = client_of(), client_of(daemon=other)
    file = here.files.upload(file=io.BytesIO(b"hello " * 100), config=TEXT)
    assert file.size_bytes == 600
    assert there.files.get(name=file.name).display_name == "notes"
    for client in (here, there, here, there):
        answer = client.models.generate_content(model=FLASH, contents=["what is this?", file])
        assert answer.text
    assert sorted(pool.used(each)["accepted"] for each in projects) == [0, 0, 4]
    assert [each.name for each in there.files.list()] == [file.name]
    there.files.delete(name=file.name)
    assert list(here.files.list()) == []
    with pytest.raises(errors.ClientError) as caught:
        here.files.get(name=file.name)
    assert caught.value.code == 403


@pytest.mark.usefixtures("projects")
async def test_files_and_caches_asynchronously(client_of):
    client = client_of().aio
    file = await client.files.upload(file=io.BytesIO(b"hello"), config=TEXT)
    second = await client.files.upload(file=io.BytesIO(b"world"), config=TEXT)
    names = [each.name async for each in await client.files.list()]
    assert sorted(names) == sorted([file.name, second.name])
    contents = ["compare", file, second]
    assert (await client.models.generate_content(model=FLASH, contents=contents)).text
    cache = await client.caches.create(
        model=FLASH, config=types.CreateCachedContentConfig(contents=[file], ttl="600s")
    )
    config = types.GenerateContentConfig(cached_content=cache.name)
    answer = await client.models.generate_content(model=FLASH, contents="so?", config=config)
    assert answer.text
    await client.caches.delete(name=cache.name)
    await client.files.delete(name=file.name)
    await client.aclose()


def test_a_cache_is_made_used_put_off_listed_and_deleted(client_of, other, pool, projects):
    client, there = client_of(), client_of(daemon=other)
    config = types.CreateCachedContentConfig(contents=["a long text"], ttl="600s")
    cache = client.caches.create(model=FLASH, config=config)
    later = there.caches.update(
        name=cache.name, config=types.UpdateCachedContentConfig(ttl="7200s")
    )
    assert later.expire_time > cache.expire_time
    chat = there.chats.create(
        model=FLASH, config=types.GenerateContentConfig(cached_content=cache.name)
    )
    assert chat.send_message("hello").text
    assert chat.send_message("and then?").text
    assert sorted(pool.used(each)["accepted"] for each in projects) == [0, 0, 2]
    assert [each.name for each in client.caches.list()] == [cache.name]
    client.caches.delete(name=cache.name)
    with pytest.raises(errors.ClientError, match="CachedContent not found"):
        there.caches.get(name=cache.name)


@pytest.mark.usefixtures("projects")
def test_a_batch_of_a_file_ends_in_a_file_of_its_maker(client_of, other, stranger):
    client, there = client_of(), client_of(daemon=other)
    lines = [{"key": str(n), "request": {"contents": [{"parts": [{"text": "hi"}]}]}} for n in "ab"]
    data = "\n".join(map(json.dumps, lines)).encode()
    config = types.UploadFileConfig(mime_type="application/jsonl")
    source = client.files.upload(file=io.BytesIO(data), config=config)
    job = client.batches.create(model=FLASH, src=source.name)
    assert job.name in [each.name for each in there.batches.list()]
    eventually(lambda: there.batches.get(name=job.name).state.name == "JOB_STATE_SUCCEEDED")
    result = there.batches.get(name=job.name).dest.file_name
    answers = [json.loads(line) for line in client.files.download(file=result).splitlines()]
    assert [each["key"] for each in answers] == ["a", "b"]
    with pytest.raises(errors.ClientError) as caught:
        client_of(stranger).files.download(file=result)
    assert caught.value.code == 403


@pytest.mark.usefixtures("projects")
def test_a_batch_of_inline_requests_can_be_cancelled_and_deleted(client_of):
    client = client_of()
    job = client.batches.create(model=FLASH, src=[{"contents": "hello"}])
    client.batches.cancel(name=job.name)
    assert client.batches.get(name=job.name).state.name == "JOB_STATE_CANCELLED"
    client.batches.delete(name=job.name)
    assert list(client.batches.list()) == []


def test_another_client_hears_geminis_own_403_and_sees_nothing(client_of, stranger, projects):
    client, thief = client_of(), client_of(stranger)
    file = client.files.upload(file=io.BytesIO(b"secret"), config=TEXT)
    cache = client.caches.create(
        model=FLASH, config=types.CreateCachedContentConfig(contents=["secret"])
    )
    used = types.GenerateContentConfig(cached_content=cache.name)
    tries = [
        lambda: thief.files.get(name=file.name),
        lambda: thief.files.delete(name=file.name),
        lambda: thief.models.generate_content(model=FLASH, contents=["read", file]),
        lambda: thief.models.count_tokens(model=FLASH, contents=["read", file]),
        lambda: thief.caches.get(name=cache.name),
        lambda: thief.models.generate_content(model=FLASH, contents="read", config=used),
        lambda: thief.caches.create(
            model=FLASH, config=types.CreateCachedContentConfig(contents=[file])
        ),
        lambda: thief.batches.create(model=FLASH, src=file.name),
    ]
    for attempt in tries:
        with pytest.raises(errors.ClientError) as caught:
            attempt()
        assert (caught.value.code, caught.value.status) == (403, "PERMISSION_DENIED")
    assert list(thief.files.list()) == list(thief.caches.list()) == []
    assert client.files.get(name=file.name).name == file.name
    assert len(projects) == 3


def test_a_list_shows_a_clients_own_of_every_project_page_by_page(client_of, stranger, projects):
    mine: list[str] = []
    theirs: list[str] = []
    for number in range(6):
        session = {"x-keypool-affinity": projects[number % 3]}
        for token, names in ((None, mine), (stranger, theirs)):
            uploader = client_of(token, **session)
            names.append(uploader.files.upload(file=io.BytesIO(b"x"), config=TEXT).name)
    for token, names in ((None, mine), (stranger, theirs)):
        config = types.ListFilesConfig(page_size=2)
        pager = client_of(token).files.list(config=config)
        assert len(pager) == 2
        assert sorted(each.name for each in pager) == sorted(names)


@pytest.mark.usefixtures("projects")
def test_interactions_go_on_where_they_began(proxy, pool, other, stranger):
    body = {"model": FLASH, "input": "hello"}
    first = pool.post("/v1beta/interactions", body)
    streamed = pool.post("/v1beta/interactions", {**body, "stream": True})
    events = [json.loads(line[6:]) for line in streamed.text.splitlines() if line[:6] == "data: "]
    for name in (first.json()["id"], events[0]["interaction"]["id"]):
        going_on = {**body, "previous_interaction_id": name}
        for daemon, token, code in itertools.product(
            (proxy.daemon, other), (proxy.home.token, stranger), (200,)
        ):
            wanted = code if token != stranger else 403
            headers = {"x-goog-api-key": token, "x-keypool-pool": pool.name}
            with httpx2.Client(base_url=daemon.url, headers=headers, timeout=30) as http:
                assert http.get(f"/v1beta/interactions/{name}").status_code == wanted
                assert http.post("/v1beta/interactions", json=going_on).status_code == wanted


def test_a_shared_pool_lets_every_client_use_what_another_made(
    client_of, proxy, pool, stranger, projects
):
    file = client_of().files.upload(file=io.BytesIO(b"for all"), config=TEXT)
    proxy.home.change(lambda registry: registry.pools.set(pool.name, by=BY, shared_resources=True))
    friend = client_of(stranger)
    eventually(lambda: _can(lambda: friend.files.get(name=file.name)))
    assert friend.models.generate_content(model=FLASH, contents=["read", file]).text
    assert [each.name for each in friend.files.list()] == [file.name]
    assert len(projects) == 3


def _can(work):
    try:
        return work()
    except errors.ClientError:
        return None


FILES_JS = """
import { GoogleGenAI, createPartFromUri } from '@google/genai';
const ai = new GoogleGenAI({apiKey: process.env.TOKEN, httpOptions: {
  baseUrl: process.env.URL_, headers: {'x-keypool-pool': process.env.POOL}}});
const blob = new Blob(['x'.repeat(100000)], {type: 'text/plain'});
const file = await ai.files.upload({file: blob, config: {mimeType: 'text/plain'}});
const listed = [];
for await (const each of await ai.files.list()) listed.push(each.name);
const cache = await ai.caches.create({model: process.env.MODEL, config: {contents: 'long'}});
const answer = await ai.models.generateContent({model: process.env.MODEL,
  contents: ['what is it?', createPartFromUri(file.uri, file.mimeType)],
  config: {cachedContent: cache.name}});
await ai.files.delete({name: file.name});
console.log(JSON.stringify({size: file.sizeBytes, name: file.name, listed, text: answer.text}));
"""


@pytest.mark.usefixtures("projects")
def test_files_and_caches_with_googles_client_in_javascript(proxy, pool, tmp_path):
    env = {
        "URL_": proxy.daemon.url,
        "TOKEN": proxy.home.token,
        "POOL": pool.name,
        "MODEL": FLASH,
    }
    said = run_node(tmp_path, FILES_JS, package="@google/genai", env=env)
    assert said["size"] == "100000"
    assert said["listed"] == [said["name"]]
    assert said["text"]
