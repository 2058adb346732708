"""The proxy byte by byte: what upstream is sent, and what becomes of answers that go wrong."""

import gzip
import json
import os
import re
import socket
import sqlite3
import sys
import threading
import time
from base64 import b64encode
from contextlib import closing
from pathlib import Path

import pytest
from httpx2 import RemoteProtocolError

from keypool_cli.core.model import Secret
from keypool_cli.service.passage import LARGEST_REFUSAL
from tests.support.daemon import BY, a_home, eventually, secret_of, unique
from tests.support.proxy import COUNT, GENERATE, STREAM, Proxy, a_body
from tests.support.raw_upstream import raw_upstream
from tests.support.running import PATIENCE_S

USAGE = b'"usageMetadata": {"promptTokenCount": 7}'
GOOD = b'data: {"candidates": [], ' + USAGE + b"}\r\n\r\n"
SPENT = {
    "error": {
        "code": 429,
        "message": "Resource has been exhausted.",
        "status": "RESOURCE_EXHAUSTED",
    }
}
SPENT_EVENT = b"data: " + json.dumps(SPENT).encode() + b"\r\n\r\n"


@pytest.fixture(scope="module")
def upstream():
    with raw_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, upstream):
    path = tmp_path_factory.mktemp("wire") / "home"
    with a_home(path, upstream=upstream.url) as home, home.daemon() as daemon:
        yield Proxy(home, daemon)


@pytest.fixture
def pool(proxy, upstream):
    upstream.seen.clear()
    upstream.play = lambda line: line.answer(b"{" + USAGE + b"}")
    with proxy.pool() as made:
        yield made


def add(pool, **options):
    name = unique("project")
    pool.proxy.home.add_project(name, pool=pool.name, rpm=1000, **options)
    pool.proxy.daemon.project(name, pool.name)
    return name


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such policy")
def test_the_threads_that_call_upstream_leave_the_loop_the_processor(proxy):
    pid = proxy.daemon.process.pid
    policies = {
        os.sched_getscheduler(int(each.name))
        for each in Path(f"/proc/{pid}/task").iterdir()
        if (each / "comm").read_text().startswith("tokio")
    }
    assert policies == {os.SCHED_BATCH}


def test_exactly_one_credential_goes_upstream(proxy, pool, upstream):
    project = add(pool)
    token = proxy.home.token
    pool.http.post(
        f"{GENERATE}?key={token}&%6bey={token}&access_token=x&$httpHeaders=authorization:y&fields=a",
        json=a_body(),
        headers={
            "authorization": f"Bearer {token}",
            "cookie": "session=1",
            "openai-organization": "org",
            "x-goog-user-project": "someone",
            "x-http-method-override": "DELETE",
            "x-forwarded-for": "10.1.1.1",
        },
    )
    (line,) = upstream.seen
    sent = dict(line.headers())
    assert line.head.split(b"\r\n")[0] == f"POST {GENERATE}?fields=a HTTP/1.1".encode()
    assert [value for name, value in line.headers() if name == "x-goog-api-key"] == [
        secret_of(f"{project}-key")
    ]
    assert token.encode() not in line.head
    assert not sent.keys() & {
        "authorization",
        "cookie",
        "openai-organization",
        "x-goog-user-project",
        "x-http-method-override",
        "x-forwarded-for",
        "x-keypool-pool",
    }
    assert sent["accept-encoding"] == "identity"
    assert sent["content-type"] == "application/json"
    assert json.loads(line.body) == a_body()


def test_an_answer_that_comes_compressed_all_the_same_passes_untouched_and_is_settled(
    pool, upstream
):
    project = add(pool)
    packed = gzip.compress(b"{" + USAGE + b"}")
    head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: br\r\n"
    head += f"content-length: {len(packed)}\r\n\r\n"
    upstream.play = lambda line: line.send(head.encode() + packed)
    with pool.http.stream("POST", GENERATE, json=a_body()) as answer:
        assert answer.headers["content-encoding"] == "br"
        assert b"".join(answer.iter_raw()) == packed
    eventually(lambda: pool.model(project)["leases"] == 0)
    # What it cost cannot be read, so what was reserved stays.
    assert pool.model(project)["tpm"]["used"] > 0


def test_headers_of_one_connection_stay_there(pool, upstream):
    add(pool)
    upstream.play = lambda line: line.send(
        b"HTTP/1.1 200 OK\r\nconnection: close, x-hop\r\nx-hop: 1\r\nalt-svc: h3\r\nset-cookie: a=b\r\n"
        b"x-keypool-project: forged\r\nx-kept: 1\r\ncontent-length: 2\r\n\r\n{}"
    )
    answer = pool.post(COUNT, connection="x-mine", x_mine="1", x_yours="2")
    sent = dict(upstream.seen[0].headers())
    assert "x-mine" not in sent
    assert sent["x-yours"] == "2"
    assert not answer.headers.keys() & {"x-hop", "alt-svc", "set-cookie"}
    assert answer.headers["x-kept"] == "1"
    assert answer.headers["x-keypool-project"] != "forged"


def test_a_redirect_to_upstream_itself_leads_back_through_the_daemon(pool, upstream):
    add(pool)
    told = "/download/v1beta/files/clip:download?alt=media"

    def play(line):
        if line.head.startswith(b"GET /download/"):
            line.answer(b"film")
        elif b":download" in line.head:
            head = (
                f"HTTP/1.1 302 Found\r\nlocation: {upstream.url}{told}\r\ncontent-length: 0\r\n\r\n"
            )
            line.send(head.encode())
        else:  # where the file is, is asked first
            line.answer(b"{}")

    upstream.play = play
    path = "/v1beta/files/clip:download?alt=media"
    assert pool.http.get(path).headers["location"] == told
    answer = pool.http.get(path, follow_redirects=True)
    assert (answer.content, answer.request.url.host) == (b"film", pool.http.base_url.host)
    assert answer.headers["x-keypool-project"]


def test_a_redirect_that_leads_elsewhere_is_passed_on(pool, upstream):
    add(pool)
    there = f"{upstream.url}.elsewhere.example/x"
    upstream.play = lambda line: line.send(
        f"HTTP/1.1 302 Found\r\nlocation: {there}\r\ncontent-length: 0\r\n\r\n".encode()
    )
    assert pool.http.get("/v1beta/models").headers["location"] == there


def hang_up_once_it_has_arrived(pool, upstream, *, later_s):
    """A call whose client leaves so long after upstream has heard of it, which hears that too."""
    arrived, hung_up = threading.Event(), []

    def play(line):
        arrived.set()
        hung_up.append(line.hung_up())

    upstream.play = play
    body = json.dumps(a_body()).encode()
    request = pool.http.build_request("POST", GENERATE, content=body)
    lines = [f"POST {GENERATE} HTTP/1.1", *(f"{n}: {v}" for n, v in request.headers.items())]
    with socket.create_connection((request.url.host, request.url.port)) as sock:
        sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        assert arrived.wait(PATIENCE_S)
        time.sleep(later_s)
    eventually(lambda: hung_up == [True])


def test_a_client_that_hangs_up_while_waiting_cancels_the_call_and_keeps_its_reservation(
    pool, upstream
):
    project = add(pool)
    hang_up_once_it_has_arrived(pool, upstream, later_s=0.3)
    eventually(lambda: pool.model(project)["leases"] == 0)
    assert pool.model(project)["rpm"]["used"] == 1
    assert pool.model(project)["tpm"]["used"] > 0
    assert pool.model(project)["state"] == "ready"


def test_a_client_that_hangs_up_at_once_is_noticed_too(pool, upstream):
    add(pool)
    hang_up_once_it_has_arrived(pool, upstream, later_s=0)
    assert "hung up" not in pool.proxy.daemon.log.read_text(), "it is no failure of the daemon's"


def test_a_client_that_hangs_up_before_its_body_has_come_is_no_failure(pool):
    add(pool)
    pool.generate()
    log = pool.proxy.daemon.log
    before = log.read_text()
    url, token = pool.http.base_url, pool.http.headers["x-goog-api-key"]
    head = f"POST {GENERATE} HTTP/1.1\r\nx-goog-api-key: {token}\r\ncontent-length: 10\r\n\r\n"
    for _ in range(5):
        with socket.create_connection((url.host, url.port)) as sock:
            sock.sendall(head.encode())
            time.sleep(0.05)
    time.sleep(0.2)
    assert log.read_text() == before


def taken(parts, size):
    """The next so many bytes, in however many pieces they come."""
    got = b""
    while len(got) < size:
        got += next(parts)
    return got


def test_chunks_are_passed_on_as_they_come(pool, upstream):
    add(pool)
    read = threading.Event()

    def play(line):
        line.begin()
        for _ in range(2):
            line.chunk(GOOD)
            if not read.wait(PATIENCE_S):
                return
        line.chunk(b"")

    upstream.play = play
    with pool.http.stream("POST", f"{STREAM}?alt=sse", json=a_body()) as answer:
        parts = answer.iter_raw()
        assert taken(parts, len(GOOD)) == GOOD
        read.set()
        assert b"".join(parts) == GOOD


def test_a_client_that_hangs_up_in_a_stream_cancels_it_and_settles_what_is_known(pool, upstream):
    project = add(pool)
    hung_up = []

    def play(line):
        line.begin()
        line.chunk(GOOD)
        hung_up.append(line.hung_up())

    upstream.play = play
    with pool.http.stream("POST", f"{STREAM}?alt=sse", json=a_body("long " * 500)) as answer:
        assert taken(answer.iter_raw(), len(GOOD)) == GOOD
    eventually(lambda: hung_up == [True])
    pool.settled(project, tokens=7)


def test_a_client_that_does_not_read_holds_upstream_back(pool, upstream):
    add(pool)
    sent, stuck = [], []

    def play(line):
        line.sock.settimeout(1)
        line.begin()
        try:
            for _ in range(100):
                line.chunk(bytes(1_000_000))
                sent.append(True)
        except TimeoutError:
            stuck.append(True)

    upstream.play = play
    with pool.http.stream("POST", f"{STREAM}?alt=sse", json=a_body()):
        eventually(lambda: stuck or len(sent) == 100, within_s=20)
    assert len(sent) < 50


def test_a_client_that_reads_slowly_gets_all_of_it(pool, upstream):
    add(pool)
    part = bytes(1_000_000)

    def play(line):
        line.begin()
        for _ in range(30):
            line.chunk(part)
        line.chunk(b"")

    upstream.play = play
    with pool.http.stream("POST", f"{STREAM}?alt=sse", json=a_body()) as answer:
        got = 0
        for each in answer.iter_raw(1_000_000):
            time.sleep(0.03)
            got += len(each)
    assert got == 30 * len(part)


def test_an_error_that_begins_a_stream_moves_the_call_on(pool, upstream):
    first, second = add(pool, priority=5), add(pool)

    def play(line):
        line.begin()
        line.chunk(SPENT_EVENT if len(upstream.seen) == 1 else GOOD)
        line.chunk(b"")

    upstream.play = play
    answer = pool.post(f"{STREAM}?alt=sse")
    assert answer.headers["x-keypool-project"] == second
    assert answer.content == GOOD
    assert pool.model(first)["state"] == "cooling"


@pytest.mark.parametrize("before", [b"", b": hold on\n\nid: 1\n"], ids=["alone", "after a comment"])
@pytest.mark.parametrize("cut", [1, 7, 12])
def test_so_does_one_that_comes_in_pieces(pool, upstream, cut, before):
    first, second = add(pool, priority=5), add(pool)

    def play(line):
        line.begin()
        if len(upstream.seen) == 1:
            line.chunk(before + SPENT_EVENT[:cut])
            time.sleep(0.05)
            line.chunk(SPENT_EVENT[cut:])
        else:
            line.chunk(GOOD)
        line.chunk(b"")

    upstream.play = play
    answer = pool.post(f"{STREAM}?alt=sse")
    assert answer.headers["x-keypool-project"] == second
    assert answer.content == GOOD
    assert pool.model(first)["state"] == "cooling"


def test_an_error_inside_a_stream_is_passed_on_and_cools_its_project(pool, upstream):
    first, _ = add(pool, priority=5), add(pool)

    def play(line):
        line.begin()
        line.chunk(GOOD)
        line.chunk(SPENT_EVENT)
        line.chunk(b"")

    upstream.play = play
    assert pool.post(f"{STREAM}?alt=sse").content == GOOD + SPENT_EVENT
    assert len(upstream.seen) == 1
    eventually(lambda: pool.model(first)["state"] == "cooling")
    pool.settled(first, tokens=7)


def test_an_answer_cut_short_never_looks_complete(pool, upstream):
    project = add(pool)

    def play(line):
        line.begin()
        line.chunk(GOOD)
        line.sock.close()

    upstream.play = play
    with pytest.raises(RemoteProtocolError):
        pool.post(f"{STREAM}?alt=sse")
    pool.settled(project, tokens=7)


def test_breaking_a_connection_leaves_the_daemon_its_view_of_the_registry(pool, upstream):
    test_an_answer_cut_short_never_looks_complete(pool, upstream)
    # The second change is the one that a daemon without its locks on the database would miss.
    add(pool)
    add(pool)


def test_a_small_answer_cut_short_is_refused_instead(pool, upstream):
    add(pool)
    upstream.play = lambda line: (
        line.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"),
        line.sock.close(),
    )
    answer = pool.generate()
    assert (answer.status_code, answer.headers["x-keypool-error"]) == (503, "no-answer")


def test_an_object_that_comes_in_chunks_is_passed_on_whole_and_without_the_key(pool, upstream):
    project = add(pool)
    secret = secret_of(f"{project}-key").encode()

    def play(line):
        line.begin(kind="application/json")
        line.chunk(b'{"key": "' + secret[:20])
        time.sleep(0.05)
        line.chunk(secret[20:] + b'", ' + USAGE + b"}")
        line.chunk(b"")

    upstream.play = play
    answer = pool.generate()
    assert answer.content == b'{"key": "[redacted]", ' + USAGE + b"}"
    assert answer.headers["content-length"] == str(len(answer.content))
    pool.settled(project, tokens=7)


@pytest.mark.parametrize("status", ["101 Switching Protocols", "999 Beyond"])
def test_a_status_that_is_no_answer_is_not_passed_on(pool, upstream, status):
    add(pool)
    upstream.play = lambda line: (
        line.send(f"HTTP/1.1 {status}\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".encode()),
        line.sock.close(),
    )
    answer = pool.generate()
    assert (answer.status_code, answer.headers["x-keypool-error"]) == (503, "no-answer")


def test_a_large_answer_is_settled_with_the_usage_at_its_end(pool, upstream):
    project = add(pool)
    text = json.dumps({"text": 'said "usageMetadata": {"promptTokenCount": 1}' + "x" * 2_000_000})
    body = b'{"candidates": [' + text.encode() + b"], " + USAGE + b"}"
    upstream.play = lambda line: line.answer(body)
    assert pool.generate().content == body
    pool.settled(project, tokens=7)


def test_a_call_ends_at_its_clients_deadline(pool, upstream):
    add(pool)
    upstream.play = lambda line: line.hung_up()
    begun = time.monotonic()
    answer = pool.generate(x_server_timeout="1")
    assert (answer.status_code, answer.json()["error"]["status"]) == (504, "DEADLINE_EXCEEDED")
    assert 0.9 < time.monotonic() - begun < 15
    assert len(upstream.seen) == 1


@pytest.mark.parametrize(
    ("path", "times"),
    [
        pytest.param(GENERATE, 3, id="an answer that is only read"),
        pytest.param("/v1beta/cachedContents", 1, id="a cache"),
        pytest.param("/v1beta/fileSearchStores/mine:importFile", 1, id="a file in a store"),
        pytest.param(GENERATE.replace("generateContent", "batchGenerateContent"), 1, id="a batch"),
    ],
)
def test_what_may_have_been_made_is_not_made_again(pool, upstream, path, times):
    add(pool)

    def play(line):  # what the path names is looked for first
        line.answer(b"{}") if line.head.startswith(b"GET") else line.sock.close()

    upstream.play = play
    assert pool.post(path).headers["x-keypool-error"] == "no-answer"
    assert sum(line.head.startswith(b"POST") for line in upstream.seen) == times


def test_a_call_that_cannot_leave_lets_go_of_its_lease(proxy, pool):
    project, other = add(pool, priority=5), add(pool)

    def leave_through(url):
        proxy.home.change(lambda registry: registry.projects.set(other, by=BY, egress_proxy=url))

    leave_through(Secret("http://127.0.0.1:9"))
    # Sealed for the other one, so that it can be read for nobody else.
    with closing(sqlite3.connect(proxy.home.path / "keypool.db")) as db, db:
        sealed = "(SELECT egress_sealed FROM projects WHERE name = ?)"
        db.execute(f"UPDATE projects SET egress_sealed = {sealed} WHERE name = ?", (other, project))
    leave_through(None)
    proxy.daemon.project(project, pool.name)
    assert pool.generate().headers["x-keypool-error"] == "not-permitted"
    eventually(lambda: pool.model(project)["leases"] == 0)


def test_what_upstream_streams_may_not_hold_the_key(pool, upstream):
    project = add(pool)
    secret = secret_of(f"{project}-key")

    def play(line):
        line.begin()
        line.chunk(GOOD)
        line.chunk(f"data: api_key:{secret}\r\n\r\n".encode())
        line.chunk(b"")

    upstream.play = play
    answer = pool.post(f"{STREAM}?alt=sse")
    assert secret not in answer.text
    assert answer.text.endswith("api_key:[redacted]\r\n\r\n")


@pytest.mark.parametrize("cut", [1, 20, 38])
def test_nor_may_it_where_the_key_is_cut_in_two(pool, upstream, cut):
    secret = secret_of(f"{add(pool)}-key").encode()

    def play(line):
        line.begin()
        line.chunk(GOOD + b"data: " + secret[:cut])
        time.sleep(0.05)
        line.chunk(secret[cut:] + b"\r\n\r\n")
        line.chunk(b"")

    upstream.play = play
    assert pool.post(f"{STREAM}?alt=sse").content == GOOD + b"data: [redacted]\r\n\r\n"


@pytest.mark.parametrize("path", [GENERATE, f"{STREAM}?alt=sse"], ids=["whole", "streamed"])
def test_nor_may_an_error_hold_it_as_json_or_base64_write_it(pool, upstream, path):
    secret = secret_of(f"{add(pool)}-key")
    escaped = f"\\u{ord(secret[0]):04X}{secret[1:]}"
    inside = b64encode(f"api_key:{secret}".encode()).decode()
    body = f'{{"error": {{"code": 400, "message": "{escaped} {inside}"}}}}'.encode()

    def play(line):
        line.send(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n")
        line.send(b"content-length: %d\r\n\r\n%s" % (len(body), body))

    upstream.play = play
    answer = pool.post(path)
    told = answer.json()["error"]["message"]
    assert re.fullmatch(r"\[redacted\] .{0,12}\[redacted\].{0,4}", told)


def test_nor_may_headers_or_the_end_of_what_is_read_of_an_error(pool, upstream):
    secret = secret_of(f"{add(pool)}-key")
    head = f"HTTP/1.1 200 OK\r\nlocation: /x?key={secret}\r\ncontent-length: 2\r\n\r\n"
    upstream.play = lambda line: line.send(head.encode() + b"{}")
    assert pool.generate().headers["location"] == "/x?key=[redacted]"
    long = "x" * (LARGEST_REFUSAL - 20)
    upstream.play = lambda line: line.answer(f"{long}{secret}".encode(), status="400 Bad Request")
    assert secret[:12] not in pool.generate().text


def test_an_answer_that_is_no_json_is_passed_on_as_it_is(pool, upstream):
    project = add(pool)
    upstream.play = lambda line: line.answer(b"<html>", status="502 Bad Gateway", kind="text/html")
    answer = pool.generate()
    assert (answer.status_code, answer.text) == (502, "<html>")
    assert len(upstream.seen) == 3
    assert pool.model(project)["state"] == "ready"


@pytest.mark.parametrize(
    ("path", "page", "code"),
    [
        ("/v1beta/files", b'{"files": null, "nextPageToken": null}', 200),
        ("/v1beta/files", b'{"files": 5}', 503),
        ("/v1beta/files", b'{"files": [], "nextPageToken": 5}', 503),
        ("/v1beta/files", b"[" * 60_000, 503),
        ("/v1beta/openai/files", b'{"data": [{"id": 5}]}', 503),
    ],
)
def test_a_list_that_cannot_be_read_is_upstreams_failure(pool, upstream, path, page, code):
    add(pool)
    upstream.play = lambda line: line.answer(b'{"file": {"name": "files/mine"}}')
    headers = {"x-goog-upload-protocol": "raw"}
    pool.http.post("/upload/v1beta/files", content=b"x", headers=headers).raise_for_status()
    upstream.play = lambda line: line.answer(page)
    answer = pool.http.get(path)
    assert answer.status_code == code
    assert answer.headers.get("x-keypool-error") == ("no-answer" if code == 503 else None)
