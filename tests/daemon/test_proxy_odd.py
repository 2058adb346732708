"""Odd requests and odd answers: what upstream might read otherwise than the daemon does."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from keypool_cli.daemon.proxy import answer_fault
from tests.support.daemon import FLASH, a_home, eventually, unique
from tests.support.proxy import COUNT, GENERATE, STREAM, Proxy, a_body
from tests.support.raw_upstream import raw_upstream

CHAT = "/v1beta/openai/chat/completions"

FILE = {"name": "files/v", "mimeType": "video/mp4", "sizeBytes": "5000000"}


@pytest.fixture(scope="module")
def upstream():
    with raw_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, upstream):
    path = tmp_path_factory.mktemp("odd") / "home"
    with a_home(path, upstream=upstream.url) as home, home.daemon() as daemon:
        yield Proxy(home, daemon)


@pytest.fixture
def pool(proxy, upstream):
    upstream.seen.clear()
    upstream.play = lambda line: line.answer(b"{}")
    with proxy.pool() as made:
        name = unique("project")
        proxy.home.add_project(name, pool=made.name, rpm=1000)
        proxy.daemon.project(name, made.name)
        yield made


def test_a_clip_is_as_long_as_upstream_says_once_it_knows(proxy, pool, upstream):
    upstream.play = lambda line: line.answer(json.dumps(FILE).encode())
    assert pool.http.get("/v1beta/files/v").status_code == 200
    told = {**FILE, "videoMetadata": {"videoDuration": "12s"}}
    upstream.play = lambda line: line.answer(json.dumps(told).encode())
    assert pool.http.get("/v1beta/files/v").json() == told
    with proxy.home.registry() as registry:
        eventually(lambda: registry.resources.find(["files/v"])[0].size.seconds == 12.0)
        assert registry.resources.find(["files/v"])[0].size.size_bytes == 5_000_000


def sent(pool, upstream, body, path=GENERATE, **headers):
    """What upstream gets of a call; None where the daemon refuses it."""
    upstream.seen.clear()
    answer = pool.http.post(
        path, content=body, headers={"content-type": "application/json", **headers}
    )
    assert answer.status_code == 200 or answer.headers["x-keypool-error"] == "bad-request"
    return upstream.seen[0] if upstream.seen else None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param(GENERATE, b'{"cachedContent":"files/a","cachedContent":"x"}', id="a cache"),
        pytest.param(GENERATE, b'{"contents":[],"contents":[]}', id="contents"),
        pytest.param(COUNT, b'{"contents":[{"parts":[],"p\\u0061rts":[]}]}', id="within"),
        pytest.param(CHAT, b'{"model":"a","messages":[],"model":"b"}', id="a model"),
    ],
)
def test_a_member_that_is_there_twice_goes_nowhere(pool, upstream, path, body):
    assert sent(pool, upstream, body, path) is None


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("generateContent", {"model": "models/other", "contents": []}),
        ("generateContent", {"model": "other", "contents": []}),
        ("batchEmbedContents", {"requests": [{"model": f"models/{FLASH}"}, {"model": "models/x"}]}),
        ("batchGenerateContent", {"batch": {"model": "models/x"}}),
        ("countTokens", {"generateContentRequest": {"model": "models/x", "contents": []}}),
        ("countTokens", {"generate_content_request": {"model": "models/x", "contents": []}}),
    ],
)
def test_a_body_names_the_model_of_its_path(pool, upstream, verb, body):
    path = f"/v1beta/models/{FLASH}:{verb}"
    assert sent(pool, upstream, json.dumps(body), path) is None
    same = json.dumps(body).replace("other", FLASH).replace('"models/x"', f'"models/{FLASH}"')
    assert sent(pool, upstream, same, path) is not None


def test_of_two_types_neither_goes_upstream(pool, upstream):
    kinds = [("content-type", "application/json"), ("content-type", "application/x-protobuf")]
    upstream.seen.clear()
    assert pool.http.post(GENERATE, content=b"{}", headers=kinds).status_code == 200
    types = [value for name, value in upstream.seen[0].headers() if name == "content-type"]
    assert types == ["application/json"]


@pytest.mark.parametrize(
    "kind",
    ["application/x-protobuf", "application/json; charset=utf-7", "text/plain", "application/json"],
)
def test_what_was_read_as_json_is_called_json(pool, upstream, kind):
    line = sent(pool, upstream, json.dumps(a_body()), **{"content-type": kind})
    assert [v for n, v in line.headers() if n == "content-type"] == ["application/json"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'\xef\xbb\xbf{"contents":[]}', id="a BOM"),
        pytest.param('{"contents":[]}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"contents":[],}', id="a trailing comma"),
        pytest.param(b'{"contents":[] /* x */}', id="a comment"),
        pytest.param(b"{'contents':[]}", id="other quotes"),
        pytest.param(b"{contents:[]}", id="no quotes"),
        pytest.param(b'{"contents":[],"temperature":NaN}', id="NaN"),
        pytest.param(b'{"cachedC\\x6fntent":"c","contents":[]}', id="an escape of no JSON"),
        pytest.param(b'{"contents":[]}{"contents":[]}', id="two objects"),
    ],
)
def test_what_only_some_parsers_read_goes_nowhere(pool, upstream, body):
    assert sent(pool, upstream, body) is None


class Answered:
    """Notes answers."""

    def __init__(self):
        self.statuses, self.bodies = [], []

    def response_bytes(self, status, _headers, body):
        self.statuses.append(status)
        self.bodies.append(body)


def test_a_faulty_call_is_answered_as_gemini_would():
    exchange: Any = Answered()
    for path in (GENERATE, STREAM, CHAT):
        scope: Any = SimpleNamespace(method="POST", path=path, query_string="")
        answer_fault(scope, exchange)
    plain, (element,), openai = map(json.loads, exchange.bodies)
    assert plain["error"]["status"] == element["error"]["status"] == "INTERNAL"
    assert openai["error"]["type"] == "server_error"
    assert exchange.statuses == [500, 500, 500]


@pytest.mark.parametrize("filler", [300_000, 3_000_000], ids=["long", "in a long line before"])
def test_an_environment_is_known_however_late_a_stream_names_it(proxy, pool, upstream, filler):
    name = unique("env")

    def play(line):
        line.begin()
        line.chunk(b'data: {"interaction": {"id": "v1_x"}}\n\n')
        line.chunk(b"data: " + b"x" * filler + b"\n\n")
        for part in (
            b'data: {"interaction": {"id": "v1_x", "environ',
            b'ment_id": "%s"}}' % name.encode(),
        ):
            line.chunk(part)
        line.chunk(b"\n\n")
        line.chunk(b"")

    upstream.play = play
    body = {"model": FLASH, "input": "hi", "stream": True}
    assert pool.http.post("/v1beta/interactions", json=body).status_code == 200
    with proxy.home.registry() as registry:
        assert registry.resources.find([f"environments/{name}"])


def test_a_header_that_is_not_ascii_is_left_out(pool, upstream):
    upstream.play = lambda line: line.send(
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-name: caf\xc3\xa9\r\nx-other: a\r\n\r\n{}"
    )
    answer = pool.http.get("/v1beta/models")
    assert "x-name" not in answer.headers
    assert answer.headers["x-other"] == "a"
