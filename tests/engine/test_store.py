"""Connecting to every kind of live store, and saying plainly when there is none."""

import asyncio
import errno
import gc
import os
import re
import signal
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any

import pytest
import redis.exceptions
import uvloop
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import PubSub

from keypool_cli.config import load
from keypool_cli.core.day import day_starts
from keypool_cli.engine.embedded import EmbeddedServer
from keypool_cli.engine.engine import Engine
from keypool_cli.engine.following import CUT_OFF_S
from keypool_cli.engine.keyspace import CHANGES
from keypool_cli.engine.readiness import serves
from keypool_cli.engine.store import connect
from keypool_cli.engine.store_client import _first_answering
from keypool_cli.engine.store_errors import errors_as_ours, unreachable
from keypool_cli.engine.valkey_process import server_binary
from keypool_cli.errors import ExitCode, KeypoolError, UnreachableError, UsageError
from tests.support.live_engine import a_project
from tests.support.running import PATIENCE_S
from tests.support.servers import free_port
from tests.support.serving import a_certificate
from tests.support.timing import quickly
from tests.support.valkey import private_valkey

SECRET = "hunter2"


@pytest.fixture
def settings(tmp_path):
    """Settings with a scratch home and the given store URL."""

    def with_url(url: str | None = None):
        return load({"home": tmp_path / "home", "redis_url": url}, env={}, cwd=tmp_path)

    return with_url


@pytest.fixture(scope="module")
def shared_url(tmp_path_factory):
    with private_valkey(tmp_path_factory.mktemp("store")) as url:
        yield url


@contextmanager
def tcp_valkey(folder, **options: str):
    """A private server that also listens on a loopback port; yields the port."""
    port = free_port()
    settings = {"port": str(port), "bind": "127.0.0.1", **options}
    with private_valkey(folder, options=settings):
        yield port


@contextmanager
def sentinel(folder, master: int, *, epoch: int = 0, port: int | None = None):
    """A sentinel that knows the server at port ``master`` as ``main``; yields its port.

    epoch: how often, as far as it knows, another primary was chosen.
    """
    port = port or free_port()
    file = folder / f"sentinel{port}.conf"
    file.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
        f"sentinel monitor main 127.0.0.1 {master} 1\nsentinel auth-pass main {SECRET}\n"
        f"sentinel config-epoch main {epoch}\n"
    )
    with (folder / "sentinel.log").open("wb") as log:
        process = subprocess.Popen([server_binary(), file, "--sentinel"], stdout=log)
    try:
        wait_for_port(port)
        yield port
    finally:
        process.kill()
        process.wait()


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline
        time.sleep(0.005)


async def works(store) -> None:
    """Write, read and disconnect."""
    try:
        await store.client.set("word", b"\xff")
        assert await store.client.get("word") == b"\xff"
    finally:
        await store.close()


@contextmanager
def speaking(path, answer: bytes, *, hang_up_on: bytes = b"never"):
    """A server on a unix socket that gives ``answer`` to every command but PING and ``hang_up_on``.

    Yields the list of what it was sent.
    """
    heard: list[bytes] = []

    class Session(socketserver.BaseRequestHandler):
        def handle(self):
            while words := self.request.recv(65536):
                heard.append(words)
                if hang_up_on in words:
                    return
                self.request.sendall(b"+PONG\r\n" if b"PING" in words else answer)

    with socketserver.ThreadingUnixStreamServer(str(path), Session) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield heard
        finally:
            server.shutdown()
            serving.join()


def info(**fields: str) -> bytes:
    body = "".join(f"{name}:{value}\r\n" for name, value in fields.items())
    return f"${len(body)}\r\n{body}\r\n".encode()


# --- stores that work


async def test_with_no_url_the_store_is_the_embedded_server_and_ends_with_it(settings):
    store = await connect(settings())
    assert store.embedded is not None
    await works(store)
    assert not EmbeddedServer(settings().home).running()


async def test_a_unix_socket_is_a_store(settings, shared_url):
    store = await connect(settings(shared_url))
    assert store.embedded is None
    await works(store)


async def test_a_server_with_a_password_is_a_store(settings, tmp_path):
    with tcp_valkey(tmp_path, requirepass=SECRET) as port:
        await works(await connect(settings(f"redis://:{SECRET}@127.0.0.1:{port}/1")))


async def test_a_cluster_is_a_store(settings, tmp_path):
    bus = {"cluster-enabled": "yes", "cluster-port": str(free_port())}
    with tcp_valkey(tmp_path, **bus) as port:
        give_all_slots(port)
        await works(await connect(settings(f"redis+cluster://127.0.0.1:{port}")))


async def test_a_connection_that_another_call_gives_up_is_no_bug_of_ours(settings, tmp_path):
    """redis-py takes it for open until that is done, and then has nothing to write to."""
    bus = {"cluster-enabled": "yes", "cluster-port": str(free_port())}
    with tcp_valkey(tmp_path, **bus) as port:
        give_all_slots(port)
        store = await connect(settings(f"redis+cluster://127.0.0.1:{port}"))
        assert isinstance(store.client, RedisCluster)
        try:
            await store.client.get("word")
            idle = tuple(store.client.get_default_node()._free)
            leaving = [asyncio.create_task(each.disconnect()) for each in idle]
            await asyncio.sleep(0)
            with pytest.raises(UnreachableError), store.errors():
                await store.client.exists("word")
            await asyncio.gather(*leaving)
            assert await store.client.exists("word") == 0
        finally:
            await store.close()


async def test_a_node_that_fails_when_nobody_waits_for_it_any_more_is_not_told_of(caplog):
    class Node:
        async def execute_command(self, *_):
            with suppress(asyncio.CancelledError):  # as wait_for does now and then on Python 3.11
                await asyncio.sleep(60)
            raise redis.exceptions.ConnectionError("closed")

    nodes: Any = {"a": Node()}
    asking = asyncio.create_task(_first_answering(nodes))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    assert asking.cancelled()
    del asking, nodes
    await asyncio.sleep(0)
    gc.collect()
    assert caplog.text == ""


def give_all_slots(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(b"CLUSTER ADDSLOTSRANGE 0 16383\r\n")
        assert line.recv(100).startswith(b"+OK")
        deadline = time.monotonic() + 30
        while True:
            line.sendall(b"CLUSTER INFO\r\n")
            if b"cluster_state:ok" in line.recv(65536):
                return
            assert time.monotonic() < deadline
            time.sleep(0.02)


async def test_sentinels_name_the_store(settings, tmp_path):
    with (
        tcp_valkey(tmp_path, requirepass=SECRET) as master,
        sentinel(tmp_path, master) as port,
    ):
        nobody = free_port()
        url = f"redis+sentinel://:{SECRET}@127.0.0.1:{nobody},127.0.0.1:{port}/main/2"
        store = await connect(settings(url))
        assert isinstance(store.client, Redis)
        assert store.client.connection_pool.connection_kwargs["db"] == 2
        await works(store)


def test_a_sentinel_that_is_cut_off_costs_no_time(settings, tmp_path):
    with (
        tcp_valkey(tmp_path, requirepass=SECRET) as master,
        sentinel(tmp_path, master) as port,
        socket.create_server(("127.0.0.1", 0)) as silent,
    ):
        cut_off = f"127.0.0.1:{silent.getsockname()[1]}"
        url = f"redis+sentinel://:{SECRET}@{cut_off},127.0.0.1:{port}/main"

        async def use():
            await works(await connect(settings(url)))

        quickly(lambda: asyncio.run(use()), within_s=2)


async def test_the_sentinel_that_knows_of_the_latest_failover_is_believed(settings, tmp_path):
    (tmp_path / "new").mkdir()
    with (
        tcp_valkey(tmp_path, requirepass=SECRET) as old,
        tcp_valkey(tmp_path / "new", requirepass=SECRET) as new,
        sentinel(tmp_path, old) as left_behind,
        sentinel(tmp_path, new, epoch=1) as informed,
    ):
        hosts = f"127.0.0.1:{left_behind},127.0.0.1:{informed}"
        store = await connect(settings(f"redis+sentinel://:{SECRET}@{hosts}/main"))
        try:
            assert (await store.client.info("server"))["tcp_port"] == new
        finally:
            await store.close()


@asynccontextmanager
async def following(url, settings):
    """A store as a daemon has it."""
    store = await connect(settings(url))
    task = asyncio.ensure_future(store.follow())
    try:
        yield store
    finally:
        task.cancel()
        await store.close()


async def test_a_primary_that_was_replaced_is_left_though_it_answers(settings, tmp_path):
    """As the one on the smaller side of a partition does, for seconds after that has healed."""
    (tmp_path / "new").mkdir()
    with (
        tcp_valkey(tmp_path, requirepass=SECRET) as old,
        tcp_valkey(tmp_path / "new", requirepass=SECRET) as new,
        ExitStack() as before,
    ):
        port = before.enter_context(sentinel(tmp_path, old))
        url = f"redis+sentinel://:{SECRET}@127.0.0.1:{port}/main"
        async with following(url, settings) as store:
            first = store.life
            await asyncio.sleep(1)
            assert await _port_of(store) == old
            assert (await store.client.info("server"))["tcp_port"] == old  # on another connection
            listening = store.client.pubsub()
            await listening.subscribe("any")
            before.close()
            with sentinel(tmp_path, new, epoch=1, port=port):
                deadline = time.monotonic() + PATIENCE_S
                while await _port_of(store) != new:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.1)
                assert store.life != first
                assert (await store.client.info("server"))["tcp_port"] == new
                assert not listening.connection.is_connected


async def _port_of(store):
    with suppress(UnreachableError), store.errors():
        return int((await store.call("CONFIG", "GET", "port"))[1])
    return None


async def test_whoever_most_sentinels_are_cut_off_from_is_asked_nothing(settings, tmp_path):
    with tcp_valkey(tmp_path, requirepass=SECRET) as master, ExitStack() as stack:
        ports = [stack.enter_context(sentinel(tmp_path, master)) for _ in range(3)]
        hosts = ",".join(f"127.0.0.1:{each}" for each in ports)
        async with following(f"redis+sentinel://:{SECRET}@{hosts}/main", settings) as store:
            pids = [_pid_of_sentinel(each) for each in ports[:2]]
            os.kill(pids[0], signal.SIGSTOP)
            await asyncio.sleep(CUT_OFF_S + 1)
            assert await store.call("PING") == b"PONG"
            os.kill(pids[1], signal.SIGSTOP)
            await asyncio.sleep(CUT_OFF_S + 1)
            with pytest.raises(UnreachableError, match="most of its Sentinels"), store.errors():
                await store.call("PING")
            os.kill(pids[0], signal.SIGCONT)
            deadline = time.monotonic() + PATIENCE_S
            while not await _reaches(store):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)


async def _reaches(store):
    with suppress(UnreachableError), store.errors():
        return await store.call("PING") == b"PONG"
    return False


def _pid_of_sentinel(port):
    with redis.Redis(port=port) as client:
        return client.info("server")["process_id"]


async def test_who_listens_is_told_that_the_system_gave_the_connection_up(
    settings, tmp_path, monkeypatch
):
    """Its error looks like the end of the time that was asked for: it was asked again at once,
    and nothing else in the process had its turn any more.
    """
    asked = 0

    async def get_message(heard, **options):
        nonlocal asked
        asked += 1
        assert asked < 10, "asked for ever"
        return await PubSub.get_message(heard, **options)

    monkeypatch.setattr(Redis, "pubsub", _counted_pubsub(monkeypatch, get_message))
    with tcp_valkey(tmp_path) as port:
        store = await connect(settings(f"redis://127.0.0.1:{port}"))
        assert isinstance(store.client, Redis)
        listening = asyncio.ensure_future(anext(Engine(store).listen([CHANGES])))
        while not (await store.client.pubsub_numsub(CHANGES))[0][1]:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
        [connection] = store.client.connection_pool._in_use_connections
        reader, writer = connection._reader, connection._writer
        assert reader is not None
        assert writer is not None
        reader.set_exception(TimeoutError(errno.ETIMEDOUT, "Connection timed out"))
        writer.transport.abort()
        with pytest.raises(UnreachableError, match="given up"):
            await listening
        await store.close()


def _counted_pubsub(monkeypatch, get_message):
    """``Redis.pubsub``, whose answer gets its messages so."""
    usual = Redis.pubsub

    def pubsub(client, **options):
        heard = usual(client, **options)
        monkeypatch.setattr(heard, "get_message", partial(get_message, heard))
        return heard

    return pubsub


def test_a_connection_that_was_reset_while_idle_is_no_bug_of_ours(settings):
    """uvloop, on which daemons run, has a RuntimeError for it."""

    async def reset(reader, writer):
        while words := await reader.read(65536):
            writer.write(info(redis_version="8.0") if b"INFO" in words else b"+PONG\r\n")
            if b"ECHO" in words:
                asyncio.get_running_loop().call_later(0.1, _reset, writer)

    async def use():
        async with await asyncio.start_server(reset, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            store = await connect(settings(f"redis://127.0.0.1:{port}"))
            with store.errors():
                await store.client.echo("word")
                await asyncio.sleep(0.3)
            with pytest.raises(UnreachableError, match="given up"), store.errors():
                await store.client.get("word")
            await store.close()

    uvloop.run(use())


def _reset(writer):
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no such option")
async def test_a_connection_over_a_network_is_given_up_10_s_after_it_was_cut(settings, tmp_path):
    with tcp_valkey(tmp_path) as port:
        store = await connect(settings(f"redis://127.0.0.1:{port}"))
        assert isinstance(store.client, Redis)
        try:
            connection = await store.client.connection_pool.get_connection()
            there = connection._writer.get_extra_info("socket")
            told = [
                there.getsockopt(socket.IPPROTO_TCP, each)
                for each in (socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE)
            ]
            assert told == [10_000, 5]
            await store.client.connection_pool.release(connection)
        finally:
            await store.close()


async def test_more_calls_at_once_than_connections_all_get_through(settings, shared_url):
    store = await connect(settings(shared_url))
    try:
        answers = await asyncio.gather(*(store.client.echo(f"{n}") for n in range(400)))
        assert answers == [f"{n}".encode() for n in range(400)]
    finally:
        await store.close()


async def test_an_idle_connection_that_was_lost_is_replaced_unseen(settings):
    store = await connect(settings())
    try:
        await store.client.set("word", "kept")
        os.kill((await store.client.info("server"))["process_id"], signal.SIGKILL)
        await store.ensure_running()
        assert await store.client.get("word") == b"kept"
    finally:
        await store.close()


async def test_a_command_whose_answer_was_lost_is_not_sent_again(settings, tmp_path):
    with speaking(tmp_path / "s", info(redis_version="8.0"), hang_up_on=b"INCRBY") as heard:
        store = await connect(settings(f"unix://{tmp_path}/s"))
        with pytest.raises(UnreachableError), store.errors():
            await store.client.incr("count")
        await store.close()
    assert sum(b"INCRBY" in words for words in heard) == 1


# --- stores that do not


def unreached(settings, reason):
    """The error of a connection that cannot be made."""
    with pytest.raises(UnreachableError, match=reason) as caught:
        asyncio.run(connect(settings))
    return caught


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        pytest.param("redis://u:{secret}@127.0.0.1:{port}/0", "Connection refused", id="a closed port"),
        pytest.param("rediss://u:{secret}@127.0.0.1:{port}/0", "Connection refused", id="the same with TLS"),
        pytest.param("unix://{folder}/none?password={secret}", "No such file", id="a socket that is not there"),
        pytest.param("redis+cluster://u:{secret}@127.0.0.1:{port}", "Connection refused", id="a cluster without nodes"),
        pytest.param("redis+sentinel://u:{secret}@127.0.0.1:{port}/main", "main", id="sentinels that are not there"),
        pytest.param("redis://u:{secret}@no-such-host.invalid", "cannot be reached: .", id="a name without address"),
    ],
)  # fmt: skip
def test_a_store_that_is_not_there_is_one_line_within_3_s(settings, tmp_path, url, reason):
    filled = url.format(secret=SECRET, port=free_port(), folder=tmp_path)
    caught = quickly(lambda: unreached(settings(filled), reason), within_s=3)
    said = f"{caught.value}{caught.value.hint}"
    assert caught.value.exit_code == ExitCode.UNREACHABLE
    assert SECRET not in said
    assert "\n" not in said
    assert len(str(caught.value)) < 200
    assert "KEYPOOL_REDIS_URL" in str(caught.value.hint)


def test_a_server_that_never_answers_is_given_up_within_3_s(settings, tmp_path):
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "s"))
        mute.listen()
        own = settings(f"unix://{tmp_path}/s")
        quickly(lambda: unreached(own, "no answer in time"), within_s=3)


def test_a_name_server_that_hangs_does_not_hold_up_the_process(settings, monkeypatch):
    back = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: back.wait(20))
    own = settings("redis://store.example")
    try:
        quickly(lambda: unreached(own, "no answer in time"), within_s=3)
    finally:
        back.set()


async def test_wrong_credentials_are_told_from_a_server_that_is_down(settings, tmp_path):
    with tcp_valkey(tmp_path, requirepass=SECRET) as port:
        for login in ("", ":wrong@"):
            with pytest.raises(UnreachableError, match="refuses these credentials") as caught:
                await connect(settings(f"redis://{login}127.0.0.1:{port}"))
            assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        pytest.param("redis://{}/99", "has no such database: DB index is out of range", id="db"),
        pytest.param("redis+sentinel://{}/shop", "is no sentinel: unknown command", id="sentinel"),
    ],
)
async def test_a_server_that_is_not_what_the_url_says_is_told(settings, tmp_path, url, told):
    with (
        tcp_valkey(tmp_path) as port,
        pytest.raises(UnreachableError, match=told) as caught,
    ):
        await connect(settings(url.format(f"127.0.0.1:{port}")))
    assert "KEYPOOL_REDIS_URL" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"redis_version": "6.2.14"}, "Redis 6.2.14"),
        ({"redis_version": "7.2.4", "valkey_version": "7.1.9"}, "Valkey 7.1.9"),
    ],
)
async def test_a_server_that_is_too_old_is_refused(settings, tmp_path, fields, said):
    with (
        speaking(tmp_path / "s", info(**fields)),
        pytest.raises(KeypoolError, match=said) as caught,
    ):
        await connect(settings(f"unix://{tmp_path}/s"))
    assert "Valkey 7.2" in str(caught.value.hint)


@pytest.mark.parametrize(
    "fields",
    [{"redis_version": "7.0.0"}, {"redis_version": "8.2"}, {"valkey_version": "7.2.0"}],
)
async def test_the_oldest_servers_that_serve_are_taken(settings, tmp_path, fields):
    with speaking(tmp_path / "s", info(**fields)):
        store = await connect(settings(f"unix://{tmp_path}/s"))
        await store.close()


async def test_a_server_that_is_no_store_is_unreachable(settings, tmp_path):
    with (
        speaking(tmp_path / "s", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        pytest.raises(UnreachableError),
    ):
        await connect(settings(f"unix://{tmp_path}/s"))


@pytest.mark.parametrize(
    "url",
    [f"redis://u:{SECRET}@h:port", f"redis://u:{SECRET}@h/shop", f"redis+sentinel://u:{SECRET}@h", f"redis+cluster://u:{SECRET}@h:x"],
)  # fmt: skip
async def test_a_url_that_makes_no_sense_is_a_usage_error(settings, url):
    with pytest.raises(UsageError, match="is not understood") as caught:
        await connect(settings(url))
    assert SECRET not in str(caught.value)


async def test_an_embedded_server_is_left_again_when_connecting_fails(settings, monkeypatch):
    monkeypatch.setitem(sys.modules["keypool_cli.engine.store"]._OLDEST, "Valkey", (99, 0))
    with pytest.raises(KeypoolError, match="Valkey 9"):
        await connect(settings())
    assert not EmbeddedServer(settings().home).running()


# --- errors on the way


@pytest.mark.parametrize(
    "err",
    [
        redis.exceptions.ConnectionError("gone"),
        redis.exceptions.TimeoutError("late"),
        redis.exceptions.BusyLoadingError("loading"),
        redis.exceptions.ReadOnlyError("a replica"),
        redis.exceptions.OutOfMemoryError("full"),
        redis.exceptions.ClusterDownError("CLUSTERDOWN"),
        redis.exceptions.ResponseError("MISCONF disk full"),
        redis.exceptions.ResponseError("NOAUTH Authentication required."),
        ConnectionResetError(),
        TimeoutError(),
    ],
    ids=lambda err: f"{type(err).__name__} {err}",
)
def test_an_error_of_the_connection_is_ours(err):
    with pytest.raises(UnreachableError) as caught, errors_as_ours("redis://h"):
        raise err
    assert caught.value.__cause__ is err


@pytest.mark.parametrize(
    "err", [redis.exceptions.ResponseError("ERR wrong type"), ValueError("ours")], ids=str
)
def test_other_errors_pass(err):
    with pytest.raises(type(err)) as caught, errors_as_ours("redis://h"):
        raise err
    assert caught.value is err


def test_what_is_said_of_an_error_is_one_line_without_the_password():
    err = redis.exceptions.ConnectionError("first line.\nsecond line")
    said = str(unreachable(err, f"redis://u:{SECRET}@h"))
    assert said == "the live store at redis://u:***@h cannot be reached: first line"


@pytest.mark.parametrize(
    ("err", "said", "advice"),
    [
        pytest.param(
            redis.exceptions.NoPermissionError("User u has no permissions to run 'fcall'"),
            "permits this user too little: User u has no permissions to run 'fcall'",
            "~kp:\\*",
            id="a right that is missing is named",
        ),
        pytest.param(
            redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
            "takes no writes: You can't write against a read only replica",
            "name the primary",
            id="a replica is not away",
        ),
        pytest.param(
            redis.exceptions.OutOfMemoryError(
                "command not allowed when used memory > 'maxmemory'."
            ),
            "takes no writes: command not allowed when used memory > 'maxmemory'",
            "maxmemory",
            id="nor is a full server",
        ),
        pytest.param(
            redis.exceptions.ResponseError("MISCONF Errors writing to the AOF file"),
            "takes no writes: MISCONF Errors writing to the AOF file",
            "server's log",
            id="nor one that cannot write to its disk",
        ),
        pytest.param(
            redis.exceptions.ResponseError("MISCONF AOF file: No space left on device"),
            "takes no writes: MISCONF AOF file: No space left on device",
            "make room",
            id="nor one whose disk is full",
        ),
        pytest.param(
            redis.exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."),
            "takes no writes: NOREPLICAS Not enough good replicas to write",
            "bring replicas back",
            id="nor one whose replicas are away",
        ),
        pytest.param(
            redis.exceptions.ConnectionError("max number of clients reached"),
            "takes no more connections: max number of clients reached",
            "maxclients",
            id="nor one with all the clients it wants",
        ),
        pytest.param(
            redis.exceptions.AuthenticationError("WRONGPASS invalid"),
            "refuses these credentials",
            "user and password",
            id="a wrong password is nothing else",
        ),
    ],
)
def test_what_a_living_server_refuses_is_not_called_unreachable(err, said, advice):
    told = unreachable(err, "redis://h")
    assert str(told) == f"the live store at redis://h {said}"
    assert re.search(advice, str(told.hint))


async def test_a_certificate_that_nobody_vouches_for_is_named_with_what_helps(settings, tmp_path):
    certificate = a_certificate(tmp_path)
    with tcp_valkey(tmp_path) as port, tls_before(port, certificate) as url:
        with pytest.raises(UnreachableError, match=r"cannot be trusted: self-signed") as caught:
            await connect(settings(url))
        assert "ssl_ca_certs" in str(caught.value.hint)
        await works(await connect(settings(f"{url}?ssl_ca_certs={certificate.cert}")))


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        pytest.param(9, "clock", id="one that is not valid yet"),
        pytest.param(10, "renew", id="one that has expired"),
        pytest.param(62, "name the host", id="another host's"),
        pytest.param(64, "name the host", id="another address's"),
        pytest.param(19, "ssl_ca_certs", id="one that signs itself"),
    ],
)
def test_a_certificate_that_is_refused_comes_with_what_helps_against_that(code, advice):
    cause = ssl.SSLCertVerificationError(1, "refused")
    cause.verify_code, cause.verify_message = code, "refused"
    err = redis.exceptions.ConnectionError()
    err.__cause__ = cause
    told = unreachable(err, "rediss://h")
    assert str(told) == "the live store at rediss://h cannot be trusted: refused"
    assert advice in str(told.hint)


@contextmanager
def tls_before(port, certificate):
    """What speaks TLS before a plain server; yields the ``rediss://`` URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)

    class Terminator(socketserver.StreamRequestHandler):
        def handle(self):
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as inner,
                socket.create_connection(("127.0.0.1", port)) as outer,
            ):
                back = threading.Thread(target=_pour, args=(outer, inner))
                back.start()
                _pour(inner, outer)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Terminator) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"rediss://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _pour(source, target):
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_a_store_whose_clock_is_days_off_is_told(live, monkeypatch):
    live.load(a_project())
    monkeypatch.setattr(live.engine, "_days", lambda: day_starts(live.now + 5 * 86_400_000))
    for work in (live.grant, lambda: live.run(serves(live.engine))):
        with pytest.raises(UnreachableError, match="differ by more than a day"):
            work()
