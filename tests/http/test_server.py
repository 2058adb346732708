"""The server as a process of its own: ready, answering, draining, forced."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import msgspec
import pytest

from keypool_cli.errors import ExitCode
from keypool_cli.http.address import Address
from keypool_cli.http.server import serve
from tests.support.daemon import eventually
from tests.support.running import PATIENCE_S

pytestmark = pytest.mark.e2e

SCRIPT = Path(__file__).with_name("serve_app.py")
ROOT = Path(__file__).parents[2]
DRAIN_S = 60.0


@pytest.fixture
def start():
    """Starts a server; every one of them is gone when the test is over."""
    started = []

    def _start(address=Address(), *, drain_s=DRAIN_S):  # noqa: B008 - a frozen value
        process = subprocess.Popen(
            [
                sys.executable,
                SCRIPT,
                msgspec.json.encode(address, enc_hook=str).decode(),
                str(drain_s),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield _start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def server(start):
    return start()


def call(url, path="/", results=None):
    """One call; its text, or the name of the error that broke it."""
    method, content = ("POST", b"later") if path == "/quick" else ("GET", None)
    try:
        with httpx2.Client(timeout=30) as client:
            result = client.request(method, url + path, content=content).text
    except httpx2.HTTPError as err:
        result = type(err).__name__
    if results is not None:
        results.append(result)
    return result


def refuses_soon(url):
    """Whether new connections are refused once a signal has had time to arrive."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if call(url) == "ConnectError":
            return True
    return False


def call_aside(process, url, path):
    """The same in a thread, once the server has begun the answer."""
    results: list[str] = []
    thread = threading.Thread(target=call, args=(url, path, results))
    thread.start()
    assert process.stdout.readline().strip() == "started"
    return thread, results


def test_the_port_the_system_chose_is_told(server):
    _, url = server
    assert url.startswith("http://127.0.0.1:")
    assert httpx2.get(url + "/?a=1&b=%20&b=").json() == {
        "size": 0,
        "query": [["a", "1"], ["b", " "], ["b", ""]],
    }


def test_an_ipv6_client_is_dropped_by_its_name(start):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    _, url = start(Address(host="::1"))
    assert call(url, "/drop") == "RemoteProtocolError"


def test_a_body_within_the_limit_is_read_whole(server):
    _, url = server
    assert httpx2.post(url, content=b"x" * 1000).json()["size"] == 1000
    assert httpx2.post(url, content=iter([b"x" * 400, b"y" * 600])).json()["size"] == 1000


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"x" * 1001, id="a declared length beyond the limit"),
        pytest.param([b"x" * 600, b"y" * 401], id="chunks that add up beyond the limit"),
    ],
)
def test_a_larger_body_is_refused_as_a_problem(server, content):
    answer = httpx2.post(server[1], content=iter(content) if isinstance(content, list) else content)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "title": "too large",
        "status": 413,
        "detail": "the body is larger than 1000 bytes",
    }


@pytest.mark.parametrize("path", ["/quick", "/any/path:quick"])
def test_a_quick_path_gets_its_calls_with_their_bodies(server, path):
    answer = httpx2.post(f"{server[1]}{path}", content=b"short", headers={"x-kind": "a"})
    assert answer.json() == {"quick": "short", "kind": "a"}


@pytest.mark.parametrize(
    ("method", "content"),
    [
        pytest.param("GET", None, id="no body"),
        pytest.param("PUT", b"x", id="another method"),
        pytest.param("POST", iter([b"x", b"y"]), id="a body of unknown length"),
        pytest.param("POST", b"x" * 100_000, id="a long body"),
    ],
)
def test_other_calls_of_a_quick_path_go_the_usual_way(server, method, content):
    answer = httpx2.request(method, f"{server[1]}/quick", content=content)
    assert "quick" not in answer.json()


def test_a_call_that_is_not_admitted_goes_the_usual_way_too(server):
    answer = httpx2.post(f"{server[1]}/quick", content=b"x", headers={"x-stranger": "1"})
    assert "quick" not in answer.json()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems list no descriptors")
@pytest.mark.parametrize("path", ["/quick", "/"])
def test_a_client_that_leaves_before_its_body_has_come_costs_nothing(server, path):
    process, url = server
    held = Path(f"/proc/{process.pid}/fd")
    call(url)
    before = len(list(held.iterdir()))
    host, _, port = url.removeprefix("http://").rpartition(":")
    for _ in range(50):
        with socket.create_connection((host, int(port))) as client:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
            client.sendall(f"{head}half".encode())
    eventually(lambda: len(list(held.iterdir())) <= before)
    assert httpx2.post(f"{url}{path}", content=b"next").status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such policy")
def test_the_thread_that_sends_answers_leaves_the_loop_the_processor(server):
    process, url = server
    call(url)
    threads = [int(each.name) for each in Path(f"/proc/{process.pid}/task").iterdir()]
    patient = [each for each in threads if os.sched_getscheduler(each) == os.SCHED_BATCH]
    assert patient
    assert process.pid not in patient


def test_parked_requests_do_not_shut_others_out(server):
    _, url = server
    port = int(url.rsplit(":", 1)[1])
    parked = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    for sock in parked:
        sock.sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
    assert call(url).startswith("{")
    for sock in parked:
        sock.close()


def test_an_idle_server_ends_at_once_though_a_connection_is_kept_alive(server):
    process, url = server
    with httpx2.Client() as client:
        client.get(url)
        asked_at = time.monotonic()
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert time.monotonic() - asked_at < DRAIN_S / 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param("/slow", '{"slow":true}', id="an answer not begun"),
        pytest.param("/quick", '{"quick":"later","kind":null}', id="a quick one not begun"),
        pytest.param("/stream", "first last", id="a stream half sent"),
    ],
)
def test_an_answer_under_way_is_finished_and_new_connections_are_refused(
    server, path, text, number
):
    process, url = server
    thread, results = call_aside(process, url, path)
    process.send_signal(number)
    assert refuses_soon(url)
    thread.join()
    assert results == [text]
    assert process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(
    ("drain_s", "signals"),
    [
        pytest.param(0.2, 1, id="after the drain time"),
        pytest.param(60, 2, id="at a second signal"),
    ],
)
@pytest.mark.parametrize("path", ["/hang", "/hang-half-sent"])
def test_a_forced_end_breaks_connections_off_quietly(start, drain_s, signals, path):
    process, url = start(drain_s=drain_s)
    thread, results = call_aside(process, url, path)
    for _ in range(signals):
        process.terminate()
        assert refuses_soon(url)  # two signals at once would be one
    thread.join()
    assert results == ["RemoteProtocolError"]
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (0, "served\n", "")


async def test_cancelling_stops_it_without_waiting():
    async def app(scope, proto):
        proto.response_str(200, [], scope.path)

    ready: asyncio.Queue[Address] = asyncio.Queue()
    task = asyncio.create_task(serve(app, Address(), on_ready=ready.put_nowait))
    url = (await ready.get()).url
    async with httpx2.AsyncClient() as client:
        assert (await client.get(url + "/here")).text == "/here"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(httpx2.HTTPError):
            await client.get(url)


def test_kill_9_of_the_started_process_ends_the_server(server):
    process, url = server
    assert call(url)
    process.kill()
    process.wait(PATIENCE_S)
    assert call(url) == "ConnectError"


def test_an_address_in_use_is_a_conflict(start):
    first, url = start()
    port = int(url.rsplit(":", 1)[1])
    second, line = start(Address(port=port))
    assert line == f"ConflictError: cannot listen on 127.0.0.1:{port}: Address already in use"
    assert second.wait(PATIENCE_S) == ExitCode.CONFLICT
    assert first.poll() is None


def test_a_foreign_host_is_a_usage_error(start):
    process, line = start(Address(host="192.0.2.1"))
    assert line.startswith("UsageError: cannot listen on 192.0.2.1:0")
    assert process.wait(PATIENCE_S) == ExitCode.USAGE


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections over sharers")
def test_several_processes_may_share_a_port_when_all_agree(start):
    first, url = start(Address(reuse_port=True))
    port = int(url.rsplit(":", 1)[1])
    _, again = start(Address(port=port, reuse_port=True))
    assert again == url
    first.terminate()
    first.wait(PATIENCE_S)
    assert call(url).startswith("{")


def test_a_unix_socket_is_private_and_removed_at_the_end(start, tmp_path):
    path = tmp_path / "s"
    process, url = start(Address(uds=path))
    assert url == f"http+unix://{path}"
    assert path.stat().st_mode & 0o777 == 0o600
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://local/").json()["size"] == 0
    process.terminate()
    process.wait(PATIENCE_S)
    assert not path.exists()


def test_a_unix_socket_left_by_a_dead_server_is_taken_over_a_live_one_is_not(start, tmp_path):
    path = tmp_path / "s"
    first, _ = start(Address(uds=path))
    _, line = start(Address(uds=path))
    assert line.startswith("ConflictError")
    first.kill()
    first.wait(PATIENCE_S)
    assert path.exists()
    _, url = start(Address(uds=path))
    assert url == f"http+unix://{path}"
