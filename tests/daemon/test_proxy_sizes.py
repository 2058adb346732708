"""Calls that name what upstream keeps reserve what it costs, on every daemon."""

from dataclasses import replace

import httpx2
import pytest

from keypool_cli.core.known_sizes import UNTOLD
from tests.support.daemon import FLASH, eventually, secret_of
from tests.support.proxy import GENERATE, a_body

UPLOAD = "/upload/v1beta/files"
CACHES = "/v1beta/cachedContents"
LONG = "The ferry leaves at nine and comes back before the tide. " * 700
ROOM = {"rpm": 1000, "tpm": 5000}


@pytest.fixture
def pool(proxy):
    proxy.sim.clear_faults()
    with proxy.pool() as made:
        yield made


def a_cache(words):
    return {"model": f"models/{FLASH}", **a_body(words)}


def naming(pool, name):
    return pool.post(GENERATE, a_body(cachedContent=name))


def refused_as_too_large(answer):
    return answer.status_code == 400 and answer.headers.get("x-keypool-error") == "too-large"


def forget_size(proxy, name):
    """As in a registry from before sizes were kept."""
    with proxy.home.registry() as registry:
        (known,) = registry.resources.find([name])
        registry.resources.keep([replace(known, size=UNTOLD)], made=True)


def test_a_cache_reserves_what_it_was_made_of(pool):
    pool.add(limits=ROOM)
    small, large = (pool.http.post(CACHES, json=a_cache(each)).json() for each in ("hi", LONG))
    assert large["usageMetadata"]["totalTokenCount"] > 5000
    assert naming(pool, small["name"]).status_code == 200
    assert refused_as_too_large(naming(pool, large["name"]))


def test_a_cache_made_elsewhere_reserves_what_it_is_found_to_hold(proxy, pool):
    project = pool.add(limits=ROOM)
    made = httpx2.post(
        f"{proxy.sim.url}{CACHES}",
        json=a_cache(LONG),
        headers={"x-goog-api-key": secret_of(f"{project}-key0")},
    ).json()
    assert refused_as_too_large(naming(pool, made["name"]))


def test_what_an_answer_tells_of_a_cache_is_known_to_every_daemon_then(proxy, pool):
    pool.add(limits=ROOM)
    name = pool.http.post(CACHES, json=a_cache(LONG)).json()["name"]
    forget_size(proxy, name)
    assert naming(pool, name).status_code == 200
    with proxy.home.daemon() as other, httpx2.Client(base_url=other.url, trust_env=False) as client:
        headers = {"x-goog-api-key": proxy.home.token, "x-keypool-pool": pool.name}
        named = a_body(cachedContent=name)
        eventually(lambda: refused_as_too_large(client.post(GENERATE, json=named, headers=headers)))


def test_a_text_that_was_uploaded_reserves_by_its_bytes(pool):
    pool.add(limits=ROOM)
    answer = pool.http.post(UPLOAD, content=LONG, headers={"content-type": "text/plain"})
    uri = answer.json()["file"]["uri"]
    parts = [{"fileData": {"fileUri": uri, "mimeType": "image/png"}}]
    body = {"contents": [{"parts": parts}]}
    assert refused_as_too_large(pool.post(GENERATE, body))


def test_a_lease_for_a_request_that_names_a_cache_reserves_the_same(pool):
    pool.add(limits={"rpm": 1000, "tpm": 50_000})
    made = pool.http.post(CACHES, json=a_cache(LONG)).json()
    held = made["usageMetadata"]["totalTokenCount"]
    asked = {"model": FLASH, "pool": pool.name, "request": a_body(cachedContent=made["name"])}
    token = {"authorization": f"Bearer {pool.proxy.home.token}"}
    lease = pool.http.post("/keypool/v1/leases", json=asked, headers=token).json()
    assert held < lease["tokens_reserved"] < held + 50
