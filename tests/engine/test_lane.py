"""One connection shared by many calls: each gets its own answer, and none is left waiting."""

import asyncio
import ssl
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as NoAnswerError

from keypool_cli.engine import lane as lanes
from keypool_cli.engine.lane import Lane
from tests.support.serving import a_certificate
from tests.support.valkey import private_valkey


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with private_valkey(tmp_path_factory.mktemp("lane")) as found:
        yield found


@asynccontextmanager
async def a_lane(url, *, answer_s=5.0):
    client = Redis.from_url(url, protocol=2, driver_info=None)
    lane = Lane(client.connection_pool, answer_s=answer_s)
    try:
        yield lane
    finally:
        await lane.close()
        await client.aclose()


async def connections(lane):
    return len((await lane.call("CLIENT", "LIST")).splitlines())


@asynccontextmanager
async def a_server(handle, *, tls=None):
    """A server of our own; yields its URL and the connections so far."""
    seen = []

    async def accept(reader, writer):
        seen.append(writer)
        await handle(reader, writer, len(seen))
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    scheme = "redis" if tls is None else "rediss"
    async with server:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    for writer in seen:
        writer.close()


async def test_calls_made_together_get_their_own_answers_over_one_connection(url):
    async with a_lane(url) as lane:
        words = [f"{n}" * 50 for n in range(200)]
        answers = await asyncio.gather(*(lane.call("ECHO", each) for each in words))
        assert answers == [each.encode() for each in words]
        assert await connections(lane) == 1


async def test_a_new_connection_leaves_no_older_ones_that_may_have_died_with_the_last(url):
    async with a_lane(url) as lane, Redis(connection_pool=lane._pool) as client:
        await client.ping()
        [idle] = lane._pool._available_connections
        await lane.call("PING")
        assert not idle.is_connected
        assert await client.ping()


async def test_calls_reach_the_server_in_the_order_they_were_made(url):
    async with a_lane(url) as lane:
        await asyncio.gather(*(lane.call("RPUSH", "order", n) for n in range(100)))
        assert await lane.call("LRANGE", "order", 0, -1) == [b"%d" % n for n in range(100)]


async def test_an_error_of_the_server_goes_to_its_own_call_alone(url):
    async with a_lane(url) as lane:
        told = await asyncio.gather(
            lane.call("ECHO", "a"), lane.call("NONSENSE"), lane.call("ECHO", "b"),
            return_exceptions=True,
        )  # fmt: skip
        assert [told[0], told[2]] == [b"a", b"b"]
        assert isinstance(told[1], ResponseError)
        assert await connections(lane) == 1


async def test_whoever_stops_waiting_does_not_shift_the_answers_of_others(url):
    async with a_lane(url) as lane:
        await lane.call("PING")
        calls = [asyncio.create_task(lane.call("ECHO", f"{n}")) for n in range(3)]
        await asyncio.sleep(0)
        calls[1].cancel()
        assert [await calls[0], await calls[2]] == [b"0", b"2"]
        assert await lane.call("ECHO", "later") == b"later"


async def test_a_lost_connection_fails_what_is_under_way_and_the_next_call_has_a_new_one(url):
    async with a_lane(url) as lane, a_lane(url) as other:
        number = await lane.call("CLIENT", "ID")
        blocked = asyncio.create_task(lane.call("BLPOP", "nothing", 0))
        behind = asyncio.create_task(lane.call("ECHO", "behind"))
        await asyncio.sleep(0.05)
        await other.call("CLIENT", "KILL", "ID", number)
        for task in (blocked, behind):
            with pytest.raises(LostError):
                await task
        assert await lane.call("ECHO", "again") == b"again"


async def test_a_server_that_does_not_answer_is_given_up_in_time():
    async def silent(reader, writer, number):
        while data := await reader.read(100):
            if number > 1:
                writer.write(b"$2\r\nhi\r\n" * data.count(b"HELLO-THERE"))

    async with a_server(silent) as (url, seen), a_lane(url, answer_s=1.0) as lane:
        calls = [asyncio.create_task(lane.call("HELLO-THERE")) for _ in range(3)]
        for task in calls:
            with pytest.raises(NoAnswerError):
                await task
        assert await lane.call("HELLO-THERE") == b"hi"
        assert len(seen) == 2


async def test_calls_that_are_answered_are_never_given_up(url):
    async with a_lane(url, answer_s=1.0) as lane:
        for n in range(20):
            assert await lane.call("ECHO", n) == b"%d" % n
            await asyncio.sleep(0.06)


async def test_the_connection_may_be_tls(tmp_path):
    async def echo(reader, writer, _number):
        while data := await reader.read(1000):
            writer.write(b"+PONG\r\n" * data.count(b"PING"))

    own = a_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(own.cert, own.key)
    async with a_server(echo, tls=tls) as (url, seen):
        async with a_lane(f"{url}?ssl_ca_certs={own.cert}&ssl_check_hostname=false") as lane:
            calls = [lane.call("PING") for _ in range(5)]
            assert await asyncio.gather(*calls) == [b"PONG"] * 5
        assert len(seen) == 1


async def test_a_server_that_speaks_another_protocol_is_told_as_a_lost_connection():
    async def odd(reader, writer, _number):
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with a_server(odd) as (url, _), a_lane(url) as lane:
        with pytest.raises(LostError):
            await lane.call("PING")


async def test_an_answer_that_nobody_asked_for_ends_the_connection():
    async def talkative(reader, writer, _number):
        await reader.read(100)
        writer.write(b"+PONG\r\n+PONG\r\n")
        await reader.read(100)

    async with a_server(talkative) as (url, seen), a_lane(url) as lane:
        assert await lane.call("PING") == b"PONG"
        assert await lane.call("PING") == b"PONG"
        assert len(seen) == 2


async def test_after_an_idle_time_a_new_connection_is_made(url, monkeypatch):
    async with a_lane(url) as lane:
        first = await lane.call("CLIENT", "ID")
        assert await lane.call("CLIENT", "ID") == first
        monkeypatch.setattr(lanes, "IDLE_S", -1.0)
        second = await lane.call("CLIENT", "ID")
        assert second != first
        assert await connections(lane) == 1


async def test_calls_that_come_while_a_connection_is_made_share_it(url):
    async with a_lane(url) as lane:
        ids = await asyncio.gather(*(lane.call("CLIENT", "ID") for _ in range(20)))
        assert len(set(ids)) == 1


async def test_closing_tells_who_waits_and_leaves_no_task_behind(url):
    before = asyncio.all_tasks()
    async with a_lane(url) as lane:
        blocked = asyncio.create_task(lane.call("BLPOP", "nothing", 0))
        await asyncio.sleep(0.05)
    with pytest.raises(LostError):
        await blocked
    assert asyncio.all_tasks() == before


async def test_the_connection_is_made_as_the_url_says(url):
    path = url.removeprefix("unix://")
    async with a_lane(url) as admin:
        await admin.call("ACL", "SETUSER", "ann", "on", ">s3cret", "~*", "+@all")
    async with a_lane(f"unix://ann:s3cret@{path}?db=3") as lane:
        assert b"db=3 " in await lane.call("CLIENT", "INFO")
        assert await lane.call("ACL", "WHOAMI") == b"ann"
    async with a_lane(f"unix://ann:wrong@{path}") as lane:
        with pytest.raises(LostError, match="invalid username-password"):
            await lane.call("PING")


async def test_a_primary_that_became_a_replica_is_left(url):
    """Behind a name that has moved on, the next connection reaches the primary there is now."""
    async with a_lane(url) as lane:
        await lane.call("SET", "a", "1")
        before = await lane.call("CLIENT", "ID")
        await lane.call("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(ReadOnlyError):
            await lane.call("SET", "a", "2")
        assert await lane.call("CLIENT", "ID") != before
        await lane.call("REPLICAOF", "NO", "ONE")
        await lane.call("SET", "a", "3")


async def test_each_new_connection_tells_which_life_of_the_server_it_reached(url):
    async with a_lane(url) as lane, a_lane(url) as other:
        assert lane.life == ""
        await lane.call("PING")
        assert lane.life == ""
        lane.life = "another"
        number = await lane.call("CLIENT", "ID")
        await other.call("CLIENT", "KILL", "ID", number)
        await asyncio.sleep(0.05)
        assert await lane.call("CLIENT", "ID") != number
        assert len(lane.life) == 40
