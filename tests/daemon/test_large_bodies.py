"""Large bodies: they cost the daemon little more memory than their bytes, whoever sends several."""

import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from keypool_cli.cli.guide import text_of
from keypool_cli.daemon.bodies import LARGE_ROOM, LARGEST_BODY, WAIT_S
from keypool_cli.http.stalling import IDLE_S
from tests.support.daemon import API, FLASH, a_home, with_constants
from tests.support.proxy import GENERATE
from tests.support.raw_upstream import raw_upstream

MB = 1024 * 1024
AT_ONCE = 4

in_proc = pytest.mark.skipif(
    sys.platform != "linux", reason="reads the peak of a process's memory from /proc"
)


@pytest.fixture(scope="module")
def upstream():
    with raw_upstream() as running:
        yield running


@pytest.fixture
def home(tmp_path, upstream):
    """One for each test: a peak of memory is remembered."""
    with a_home(tmp_path / "home", upstream=upstream.url) as made:
        made.add_project("p", rpm=1000, tpm=10**9)
        yield made


def answer(line):
    line.answer(b'{"candidates": [], "usageMetadata": {"promptTokenCount": 7}}')


def peak_of(daemon):
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def a_text(number, size):
    """One sign outside the page makes Python hold four bytes for each character."""
    sentence = f"the report number {number} is being read by everyone, line after line. \U0001f600"
    return sentence * (size // len(sentence.encode()))


def a_body_for(path, text):
    request = {"contents": [{"parts": [{"text": text}]}]}
    asked = request if path == GENERATE else {"model": FLASH, "request": request}
    return json.dumps(asked, ensure_ascii=False).encode()


def post(url, path, body, token):
    headers = {"content-type": "application/json", "x-goog-api-key": token}
    if path.startswith(API):
        headers["authorization"] = f"Bearer {token}"
    return httpx2.post(url + path, content=body, headers=headers, timeout=60, trust_env=False)


@in_proc
@pytest.mark.parametrize("path", [GENERATE, f"{API}/leases"])
def test_several_large_bodies_at_once_are_decoded_one_by_one(home, upstream, path):
    upstream.play = answer
    bodies = [a_body_for(path, a_text(number, 8 * MB)) for number in range(AT_ONCE)]
    with home.daemon() as daemon, ThreadPoolExecutor(AT_ONCE) as threads:
        assert post(daemon.url, path, b'{"contents":[]}', home.token).status_code < 500
        before = peak_of(daemon)
        answers = list(threads.map(lambda b: post(daemon.url, path, b, home.token), bodies))
        grown = peak_of(daemon) - before
    assert [each.status_code // 100 for each in answers] == [2] * AT_ONCE
    # All four are held, and one of them decoded: 4 bytes a character, and what decoding needs.
    assert grown < (AT_ONCE + 14) * 8 * MB


@in_proc
@pytest.mark.parametrize("path", [GENERATE, f"{API}/leases"])
def test_a_body_of_empty_lists_is_refused_and_takes_no_memory(home, path):
    request = b'{"contents":[' + b"[]," * 7 * MB + b"[]]}"
    body = request if path == GENERATE else b'{"model":"m","request":%b}' % request
    with home.daemon() as daemon:
        assert post(daemon.url, path, b'{"contents":[]}', home.token).status_code < 500
        before = peak_of(daemon)
        found = post(daemon.url, path, body, home.token)
        grown = peak_of(daemon) - before
    assert found.status_code == 400
    assert "more than 1000000 JSON values" in found.text
    assert grown < 3 * len(body)


def hold(daemon, token, head):
    """A call of which only the beginning comes; after that it has a while for the rest."""
    url = urlsplit(daemon.url)
    sock = socket.create_connection((url.hostname, url.port))
    named = f"POST {GENERATE} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {token}\r\n{head}\r\n\r\n"
    sock.sendall(named.encode() + b" " * 65536)
    return sock


def timed(url, path, body, token):
    begun = time.monotonic()
    return post(url, path, body, token), time.monotonic() - begun


def a_file(size):
    """A body that is quickly read."""
    part = {"inlineData": {"mimeType": "image/png", "data": "A" * size}}
    return json.dumps({"contents": [{"parts": [part]}]}).encode()


@contextmanager
def crowded(home, **env):
    """A daemon whose room for large bodies is full, and those who hold it."""
    with home.daemon(**env) as daemon, ExitStack() as held:
        head = f"content-length: {LARGEST_BODY}"
        count = LARGE_ROOM // LARGEST_BODY
        yield daemon, [held.enter_context(hold(daemon, home.token, head)) for _ in range(count)]


def in_chunks(body):
    yield from (body[begin : begin + MB] for begin in range(0, len(body), MB))


def test_a_large_body_waits_for_room_and_smaller_ones_do_not(home, upstream):
    upstream.play = answer
    large, asked = a_file(2 * MB), {"model": FLASH, "request": {"contents": ["x" * 2 * MB]}}
    with crowded(home) as (daemon, held), ThreadPoolExecutor(4) as threads:
        bodies = [
            (GENERATE, large),
            (GENERATE, in_chunks(large)),
            (f"{API}/leases", json.dumps(asked).encode()),
        ]
        late = [threads.submit(timed, daemon.url, *each, home.token) for each in bodies]
        for size in (0, 50_000, 500_000):
            found, after_s = timed(daemon.url, GENERATE, a_file(size), home.token)
            assert found.status_code == 200
            assert after_s < WAIT_S / 2
        assert not any(each.done() for each in late)
        held[0].close()
        for found, after_s in (each.result() for each in late):
            assert found.status_code // 100 == 2
            assert after_s < WAIT_S


def test_a_large_body_that_finds_no_room_in_time_is_told_when_to_come_again(home, tmp_path):
    wait_s, asked = 5.0, {"model": FLASH, "request": {"contents": ["x" * 2 * MB]}}
    bodies = [
        (GENERATE, a_file(2 * MB)),
        ("/v1beta/openai/chat/completions", a_file(2 * MB)),
        (f"{API}/leases", json.dumps(asked).encode()),
    ]
    shorter = with_constants(tmp_path / "shorter", {"daemon.bodies.WAIT_S": wait_s})
    full = crowded(home, PYTHONPATH=shorter)
    with full as (daemon, held), ThreadPoolExecutor(4) as threads:
        late = [threads.submit(timed, daemon.url, *each, home.token) for each in bodies]
        while not all(each.done() for each in late):
            time.sleep(0.5)
            for sock in held:  # what keeps moving keeps its room
                sock.sendall(b" " * 4096)
        found = [each.result() for each in late]
    for told, after_s in found:
        assert told.status_code == 503
        assert int(told.headers["retry-after"]) >= 1
        assert "too many large bodies" in told.text
        assert wait_s - 1 < after_s < wait_s + 15
    gemini, openai, lease = (told for told, _ in found)
    assert gemini.json()["error"]["status"] == "UNAVAILABLE"
    assert gemini.headers["x-keypool-error"] == "too-many-bodies"
    assert openai.json()["error"]["code"] == "too-many-bodies"
    assert lease.json()["title"] == "Too many large bodies"


def test_the_room_of_every_body_is_free_again_however_it_ended(home, upstream):
    upstream.play = answer
    large, text = a_file(20 * MB), b"[" + b" " * 20 * MB
    head = f"content-length: {LARGEST_BODY}"
    with home.daemon() as daemon, ExitStack() as held:
        assert post(daemon.url, GENERATE, large, home.token).status_code == 200
        for path in (GENERATE, f"{API}/leases"):
            assert post(daemon.url, path, text, home.token).status_code == 400
            assert post(daemon.url, path, in_chunks(text), home.token).status_code == 400
            assert post(daemon.url, path, in_chunks(text * 2), home.token).status_code == 413
        hold(daemon, home.token, head).close()
        # Less is left than any of them took.
        for _ in range(LARGE_ROOM // LARGEST_BODY - 1):
            held.enter_context(hold(daemon, home.token, head))
        found, after_s = timed(daemon.url, GENERATE, large, home.token)
        assert (found.status_code, after_s < WAIT_S / 2) == (200, True)


def test_the_guide_says_how_long_a_body_and_its_room_are_waited_for():
    told = " ".join(text_of("http").split())
    for each in (f"none within {WAIT_S:g} s", f"nothing comes for {IDLE_S:g} s"):
        assert each in told
