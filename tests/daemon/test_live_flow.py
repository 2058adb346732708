"""Live conversations under pressure: slow sides, forced ends, and an upstream of the test's own."""

import asyncio
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from tests.support.daemon import FLASH, a_home, eventually, secret_of
from tests.support.live import LIVE, a_setup, goodbye, set_up
from tests.support.serving import serving

pytestmark = pytest.mark.e2e

PART = b"x" * 65_536
HELD = 64 * 1024 * 1024
"""More than the kernel's buffers on both ways together, less than a memory leak would be."""


@asynccontextmanager
async def upstream(path, converse, **options):
    """A daemon before a WebSocket server of our own, and a function that connects to it."""
    seen = []

    async def handler(wire):
        seen.append(wire.request)
        await wire.recv()
        await wire.send(b'{"setupComplete": {}}')
        await converse(wire)

    async with serve(handler, "127.0.0.1", 0, max_size=None, max_queue=1, **options) as server:
        port = server.sockets[0].getsockname()[1]
        with a_home(path, upstream=f"http://127.0.0.1:{port}") as home:
            await asyncio.to_thread(home.add_project, "p")
            token = await asyncio.to_thread(lambda: home.token)
            with serving(home) as served:
                url = f"{served.websocket_url}{LIVE}?key={token}"
                yield served, lambda **more: connect(url, proxy=None, max_size=None, **more), seen


async def stuck(send):
    """Bytes sent until nothing more is taken for half a second, and for one more."""
    count = late = 0
    while count < 2 * HELD and late < 2:
        try:
            async with asyncio.timeout(0.5):
                await send(PART)
            late = 0
        except TimeoutError:
            late += 1  # one alone may be a machine that stood still
        count += len(PART)
    return count


async def test_a_client_that_does_not_read_holds_upstream_back(tmp_path):
    told: asyncio.Queue[int] = asyncio.Queue()

    async def converse(wire):
        await told.put(await stuck(wire.send))
        await wire.close()

    async with (
        upstream(tmp_path, converse) as (_, connecting, _seen),
        connecting(max_queue=1) as client,
    ):
        await client.send(a_setup())
        async with asyncio.timeout(30):
            assert 2 * len(PART) < await told.get() < HELD
            assert await goodbye(client) == (1000, "")


async def test_an_upstream_that_does_not_read_holds_the_client_back(tmp_path):
    done = asyncio.Event()

    async def converse(_wire):
        await done.wait()

    # Its goodbye lies behind all that was not read: nobody waits for it here.
    async with (
        upstream(tmp_path, converse, close_timeout=0.1) as (_, connecting, _seen),
        connecting() as client,
    ):
        await client.send(a_setup())
        await client.recv()
        assert 2 * len(PART) < await stuck(client.send) < HELD
        done.set()
        client.transport.abort()


async def test_one_credential_goes_upstream_and_nothing_of_the_clients_own(tmp_path):
    async def converse(wire):
        await wire.close(1000, "well done")

    async with upstream(tmp_path, converse) as (_, connecting, seen):
        headers = {"cookie": "c=1", "x-goog-user-project": "mine", "x-goog-api-client": "sdk/1"}
        async with connecting(additional_headers=headers, origin="http://a.example") as client:
            await client.send(a_setup())
            assert await goodbye(client) == (1000, "well done")
    (request,) = seen
    assert request.path == LIVE
    sent = {name.lower(): text for name, text in request.headers.raw_items()}
    assert sent["x-goog-api-key"] == secret_of("p-key")
    assert sent["x-goog-api-client"] == "sdk/1"
    assert not sent.keys() & {"cookie", "authorization", "origin", "x-goog-user-project"}


async def test_the_key_is_not_taken_along_to_where_upstream_points(tmp_path):
    elsewhere = []

    async def other(wire):
        elsewhere.append(wire.request)

    def point_away(connection, _request):
        answer = connection.respond(302, "")
        answer.headers["Location"] = f"ws://127.0.0.1:{port}/"
        return answer

    async with serve(other, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with (
            upstream(tmp_path, other, process_request=point_away) as (_, connecting, _seen),
            connecting() as client,
        ):
            await client.send(a_setup())
            code, reason = await goodbye(client)
    assert (code, reason) == (1008, "upstream answered 302")
    assert elsewhere == []


async def test_without_authentication_a_web_page_reaches_no_conversation(tmp_path):
    with a_home(tmp_path) as home, serving(home, "--no-auth") as served:
        url = served.websocket_url + LIVE
        port = int(served.url.rpartition(":")[2])
        rebound = connect(f"ws://rebound.example{LIVE}", host="127.0.0.1", port=port, proxy=None)
        for page in (connect(url, proxy=None, origin=Origin("http://a.example")), rebound):
            with pytest.raises(InvalidStatus) as refused:
                await page
            assert refused.value.response.status_code == 403
        async with connect(url, proxy=None) as client:
            await set_up(client)
            code, reason = await goodbye(client)
            assert (code, reason.partition(";")[0]) == (
                1008, "no pool is named, and 'main' is not there"
            )  # fmt: skip


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([PART * 272], id="a frame of 17 MiB"),
        pytest.param([PART * 128] * 9, id="a message of 72 MiB in frames of 8"),
    ],
)
@pytest.mark.parametrize("begun", [True, False], ids=["later", "as the setup"])
async def test_what_is_too_big_is_told_at_once(tmp_path, parts, begun):
    async def converse(wire):
        await wire.wait_closed()

    # Without pings of the client's, which would end it after 20 s.
    quiet = {"ping_interval": None, "compression": None}
    async with (
        upstream(tmp_path, converse) as (_, connecting, _seen),
        connecting(**quiet) as client,
    ):
        if begun:
            await client.send(a_setup())
            await client.recv()
        with suppress(ConnectionClosed):
            await client.send(parts)
        told = "a frame may hold 16 MiB, a message 64 MiB; send it in parts"
        assert await goodbye(client) == (1009, told)


async def test_text_and_binary_messages_stay_what_they_are(tmp_path):
    async def converse(wire):
        async for message in wire:
            await wire.send(message)

    async with upstream(tmp_path, converse) as (_, connecting, _seen), connecting() as client:
        await client.send(a_setup())
        await client.recv()
        for message in ("مرحبا", "مرحبا".encode(), b"", "", PART * 50):
            await client.send(message)
            assert await client.recv() == message


async def test_a_daemon_that_ends_says_so_and_settles_its_conversations(tmp_path):
    async def handler(wire):
        await wire.recv()
        await wire.send(b'{"setupComplete": {}}')
        await wire.send(b'{"usageMetadata": {"promptTokenCount": 41}}')
        # No turn can cost so much: it is not counted.
        await wire.send(b'{"usageMetadata": {"promptTokenCount": 100000000000000000000}}')
        await wire.wait_closed()
        closed.append(wire.close_code)

    closed: list[int] = []
    with a_home(tmp_path) as home:
        await asyncio.to_thread(home.add_project, "p")
        token = await asyncio.to_thread(lambda: home.token)
        async with serve(handler, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with (
                home.daemon() as daemon,
                serving(home, KEYPOOL_UPSTREAM_URL=f"http://127.0.0.1:{port}") as served,
            ):
                wire = await connect(f"{served.websocket_url}{LIVE}?key={token}", proxy=None)
                await wire.send(a_setup())
                for _ in range(3):
                    await wire.recv()
                served.process.terminate()
                assert await goodbye(wire) == (1001, "this daemon is ending")
                assert await asyncio.to_thread(served.process.wait, 10) == 0
                model = daemon.model("p", model=FLASH)
                assert (model["leases"], model["tpm"]["used"]) == (0, 41)
                assert "Traceback" not in served.log.read_text()
    assert closed == [1000]


async def test_it_says_so_at_once_though_it_waits_for_another_call(tmp_path):
    async def converse(wire):
        await wire.wait_closed()

    async with upstream(tmp_path, converse) as (served, connecting, _seen):
        wires = [await connecting() for _ in range(5)]
        for each in wires:
            await each.send(a_setup())
            await each.recv()
        key = wires[0].request.path.partition("?")[2]
        head = f"POST /v1beta/models/m:countTokens?{key} HTTP/1.1\r\ncontent-length: 2\r\n\r\n"
        host, port = served.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(head.encode() + b"[")
        await asyncio.sleep(0.2)
        served.process.terminate()
        assert [await goodbye(each) for each in wires] == [(1001, "this daemon is ending")] * 5
        assert served.process.poll() is None, "it waits"
        writer.write(b"]")
        assert await reader.readline() == b"HTTP/1.1 400 Bad Request\r\n"
        writer.close()
        assert await asyncio.to_thread(served.process.wait, 10) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems show no descriptors")
async def test_nothing_is_left_of_clients_that_vanish(tmp_path):
    async def converse(wire):
        await wire.wait_closed()

    def sockets():
        found = 0
        for each in Path(f"/proc/{served.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                found += str(each.readlink()).startswith("socket:")
        return found

    async with upstream(tmp_path, converse) as (served, connecting, _seen):
        before = sockets()
        for _ in range(30):
            wire = await connecting()
            await wire.send(a_setup())
            await wire.recv()
            wire.transport.abort()
        await asyncio.to_thread(eventually, lambda: sockets() < before + 10)
