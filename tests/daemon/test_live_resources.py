"""What one project keeps, in Live conversations: they go where it is, and no client to another's."""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect

from tests.support.daemon import unique
from tests.support.live import LIVE, a_setup, a_turn, goodbye, heard
from tests.support.proxy import a_proxy

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    with a_proxy(tmp_path_factory.mktemp("live") / "home") as running:
        yield running


@pytest.fixture
async def pool(proxy):
    with proxy.pool() as made:
        for _ in range(3):
            await asyncio.to_thread(made.add)
        yield made


def upload(pool, token, **headers):
    """A file of this client's; its name, and the project that it is in."""
    named = {"x-goog-api-key": token, "x-goog-upload-protocol": "raw", **headers}
    answer = pool.http.post("/upload/v1beta/files", content=b"hello", headers=named)
    return answer.json()["file"]["name"], answer.headers["x-keypool-project"]


async def clients(proxy):
    made = [await asyncio.to_thread(proxy.home.add_client, unique("client")) for _ in range(2)]
    for each in made:
        await asyncio.to_thread(proxy.daemon.known, each)
    return made


def conversing(pool, token, **headers):
    named = {"x-goog-api-key": token, "x-keypool-pool": pool.name, **headers}
    url = "ws" + pool.proxy.daemon.url.removeprefix("http") + LIVE
    return connect(url, additional_headers=named, proxy=None)


def stores(*names):
    return {"tools": [{"fileSearch": {"fileSearchStoreNames": list(names)}}]}


def showing(name):
    part = {"file_data": {"file_uri": f"https://generativelanguage.googleapis.com/v1beta/{name}"}}
    turns = [{"role": "user", "parts": [{"text": "hi"}, part]}]
    return json.dumps({"client_content": {"turns": turns, "turn_complete": True}})


async def test_a_setup_that_names_something_goes_where_that_is(proxy, pool):
    token, _ = await clients(proxy)
    for _ in range(3):
        made = pool.http.post(
            "/v1beta/fileSearchStores", json={}, headers={"x-goog-api-key": token}
        )
        async with conversing(pool, token) as wire:
            await wire.send(a_setup(**stores(made.json()["name"])))
            update = await heard(wire, "sessionResumptionUpdate")
        handle = update["sessionResumptionUpdate"]["newHandle"]
        assert handle == f"resume-{made.headers['x-keypool-project']}"


async def test_what_is_anothers_is_not_to_be_named_in_a_setup(proxy, pool):
    theirs, mine = await clients(proxy)
    made = pool.http.post("/v1beta/fileSearchStores", json={}, headers={"x-goog-api-key": theirs})
    async with conversing(pool, mine) as wire:
        await wire.send(a_setup(**stores(made.json()["name"])))
        assert await goodbye(wire) == (1008, "The caller does not have permission")


@pytest.mark.parametrize("hidden", [False, True], ids=["plain", "escaped"])
async def test_nor_in_a_turn(proxy, pool, hidden):
    theirs, mine = await clients(proxy)
    name, project = upload(pool, theirs)
    async with conversing(pool, mine, **{"x-keypool-affinity": project}) as wire:
        await wire.send(a_setup())
        said = showing(name)
        await wire.send(said.replace("/files/", "/f\\u0069les/") if hidden else said)
        told = f"You do not have permission to access the File {name.partition('/')[2]} or it may"
        assert await goodbye(wire) == (1008, f"{told} not exist.")


async def test_nor_in_one_that_only_upstream_might_understand(proxy, pool):
    theirs, mine = await clients(proxy)
    name, _ = upload(pool, theirs)
    async with conversing(pool, mine) as wire:
        await wire.send(a_setup())
        await wire.send(showing(name).replace('"', "'"))
        assert await goodbye(wire) == (1007, "the message is not understood: send a JSON object")


async def test_ones_own_is_shown_where_it_is(proxy, pool):
    mine, _ = await clients(proxy)
    name, project = upload(pool, mine)
    async with conversing(pool, mine, **{"x-keypool-affinity": project}) as wire:
        await wire.send(a_setup())
        await wire.send(showing(name))
        assert await heard(wire, "serverContent")


async def test_and_elsewhere_the_conversation_is_told_where_that_is(proxy, pool):
    mine, _ = await clients(proxy)
    name, project = upload(pool, mine)
    other = await asyncio.to_thread(pool.add)
    async with conversing(pool, mine, **{"x-keypool-affinity": other}) as wire:
        await wire.send(a_setup())
        await wire.send(a_turn("the word files/ alone names nothing"))
        assert await heard(wire, "serverContent")
        await wire.send(showing(name))
        code, reason = await goodbye(wire)
    assert code == 1008
    assert reason.startswith(f"{name} is in project {project}, this conversation in {other}")
