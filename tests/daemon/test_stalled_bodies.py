"""Bodies that do not come, or hardly: given up in the shape of their path, and nothing else is.

All calls are made at once and looked at one by one: each takes as long as is waited.
"""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.support.daemon import API, FLASH, a_home, with_constants
from tests.support.proxy import GENERATE, STREAM, Proxy
from tests.support.simulator import simulator

LEASES = f"{API}/leases"
UPLOAD = "/upload/v1beta/files"
OPENAI = "/v1beta/openai/chat/completions"
START = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
STEP = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}

SHORT = {"content-length": "900"}
LONG = {"content-length": "200000"}
CHUNKED = {"transfer-encoding": "chunked"}
BEGUN = b'{"contents":'
A_CHUNK = b"c\r\n" + BEGUN + b"\r\n"

IDLE_S = 8.0
"""What is waited here; a busy machine may hold up a call that keeps moving for nearly as long."""

SLOW_S = 1.5 * IDLE_S


class Heard(NamedTuple):
    """What came back, and after how many seconds; closed: the connection ended after it."""

    answer: httpx2.Response
    after_s: float
    closed: bool


def stalled(path, headers, pieces=(BEGUN,)):
    """A call that sends so much of its body, two seconds apart, and then nothing more."""
    return path, headers, pieces


STALLED = {
    "a short body": stalled(GENERATE, SHORT),
    "a short body of which nothing comes": stalled(GENERATE, SHORT, ()),
    "a long body": stalled(GENERATE, LONG),
    "a byte now and then": stalled(GENERATE, LONG, repeat(b" ")),
    "a body in chunks": stalled(GENERATE, CHUNKED, (A_CHUNK,)),
    "a compressed body": stalled(GENERATE, {**SHORT, "content-encoding": "gzip"}, (b"\x1f\x8b",)),
    "a stream's": stalled(STREAM, SHORT),
    "OpenAI's": stalled(OPENAI, SHORT),
    "a lease's": stalled(LEASES, SHORT),
    "a lease's long one": stalled(LEASES, LONG),
    "a lease's in chunks": stalled(LEASES, CHUNKED, (A_CHUNK,)),
    "a settlement's": stalled(f"{LEASES}/x.y/settle", SHORT),
    "an upload's": stalled(UPLOAD, LONG),
    "an upload's in chunks": stalled(UPLOAD, CHUNKED, (A_CHUNK,)),
}


class Calls:
    """Makes the calls, on connections of their own."""

    def __init__(self, proxy, pool):
        self.proxy, self.pool = proxy, pool
        url = urlsplit(proxy.daemon.url)
        self.place = (url.hostname, url.port)

    def target(self, path):
        """An upload goes on where it was begun."""
        if path != UPLOAD:
            return path
        answer = self.pool.http.post(path, json={}, headers=START)
        url = urlsplit(answer.headers["x-goog-upload-url"])
        return f"{url.path}?{url.query}"

    def head(self, path, headers):
        token = self.proxy.home.token
        own = {"authorization": f"Bearer {token}"} if path.startswith(API) else {}
        own |= STEP if path == UPLOAD else {"content-type": "application/json"}
        if not own.keys() & {"authorization", "x-goog-upload-command"}:
            own |= {"x-goog-api-key": token, "x-keypool-pool": self.pool.name}
        lines = [f"{name}: {value}" for name, value in {**own, **headers}.items()]
        first = f"POST {self.target(path)} HTTP/1.1"
        return "\r\n".join([first, "host: localhost", *lines, "\r\n"]).encode()

    def make(self, call):
        path, headers, pieces = call
        head = self.head(path, headers)
        with socket.create_connection(self.place) as sock:
            begun = time.monotonic()
            sock.sendall(head)
            sock.settimeout(2)
            answer = b""
            for piece in pieces:
                sock.sendall(piece)
                answer = read(sock)
                if answer:
                    break
            sock.settimeout(2 * IDLE_S)
            answer = answer or read(sock)
            after_s = time.monotonic() - begun
            sock.settimeout(20)
            while part := read(sock):
                answer += part
            return Heard(parsed(answer), after_s, part == b"")


def read(sock):
    """What comes next; None where nothing comes in time."""
    try:
        return sock.recv(65536)
    except TimeoutError:
        return None


def parsed(data):
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    pairs = [tuple(each.split(": ", 1)) for each in lines]
    return httpx2.Response(int(first.split()[1]), headers=pairs, content=body)


def slow_call(calls, path):
    """A call whose body takes longer than is waited, but keeps moving."""
    body = json.dumps({"contents": [{"parts": [{"text": "x" * 150_000}]}]}).encode()

    def pieces():
        step = len(body) // 40
        for begin in range(0, len(body), step):
            yield body[begin : begin + step]
            time.sleep(SLOW_S / 40)

    headers = {"x-goog-api-key": calls.proxy.home.token, "x-keypool-pool": calls.pool.name}
    url = calls.proxy.daemon.url + calls.target(path)
    extra = STEP if path == UPLOAD else {"content-length": str(len(body))}
    return httpx2.post(
        url, content=pieces(), headers={**headers, **extra}, timeout=60, trust_env=False
    )


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stalled")
    shorter = with_constants(folder / "shorter", {"http.stalling.IDLE_S": IDLE_S})
    with (
        simulator({"projects": {}, "models": [FLASH]}) as sim,
        a_home(folder / "home", upstream=sim.url) as home,
        home.daemon(PYTHONPATH=shorter) as daemon,
    ):
        yield Proxy(home, daemon, sim)


@pytest.fixture(scope="module")
def heard(proxy):
    """What became of every call."""
    with proxy.pool() as pool, ThreadPoolExecutor(len(STALLED) + 2) as threads:
        pool.add()
        calls = Calls(proxy, pool)
        slow = {each: threads.submit(slow_call, calls, each) for each in (GENERATE, UPLOAD)}
        made = {name: threads.submit(calls.make, call) for name, call in STALLED.items()}
        return {name: each.result() for name, each in {**slow, **made}.items()}


@pytest.mark.parametrize("name", STALLED)
def test_a_body_that_does_not_come_is_given_up_and_its_connection_closed(heard, name):
    answer, after_s, closed = heard[name]
    assert answer.status_code == 408, answer.text
    assert answer.headers["connection"] == "close"
    assert IDLE_S - 1 < after_s < IDLE_S + 15
    assert closed
    assert f"{IDLE_S:g} s" in answer.text


def test_the_answer_has_the_shape_of_its_path(heard):
    error = heard["a short body"].answer.json()["error"]
    assert (error["code"], error["status"]) == (408, "DEADLINE_EXCEEDED")
    assert heard["a short body"].answer.headers["x-keypool-error"] == "body-missing"
    assert heard["an upload's"].answer.json()["error"]["code"] == 408
    assert heard["a stream's"].answer.json()[0]["error"]["code"] == 408
    assert heard["OpenAI's"].answer.json()["error"]["code"] == "body-missing"
    for name in ("a lease's", "a lease's long one", "a settlement's"):
        problem = heard[name].answer
        assert problem.headers["content-type"] == "application/problem+json"
        assert problem.json()["status"] == 408


@pytest.mark.parametrize("path", [GENERATE, UPLOAD])
def test_a_body_that_keeps_moving_is_read_to_its_end_however_long_that_takes(heard, path):
    assert heard[path].status_code == 200, heard[path].text
    assert heard[path].elapsed.total_seconds() > IDLE_S


def test_nothing_is_left_of_them(proxy, heard):
    assert heard
    with proxy.pool() as pool:
        pool.add()
        assert pool.generate().status_code == 200
    lease = proxy.daemon.lease(model=FLASH)
    assert lease.status_code < 500
    assert "Traceback" not in proxy.daemon.log.read_text()
