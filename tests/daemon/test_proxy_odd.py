"""Odd requests and odd answers: what upstream might read otherwise than the daemon does."""

import json

import pytest

from tests.support.daemon import a_home, eventually, unique
from tests.support.proxy import Proxy
from tests.support.raw_upstream import raw_upstream

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
