"""A key's secret and a client's token are found nowhere but in the answer that hands them out."""

import secrets
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from google import genai

from tests.support import bodies
from tests.support.daemon import API, FLASH, a_home
from tests.support.simulator import simulator

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def secret():
    return f"AIzaSy{secrets.token_hex(16)}"


@pytest.fixture(scope="module")
def opaque():
    """A secret of no known shape: nothing but its own text betrays it."""
    return f"q{secrets.token_hex(20)}"


@pytest.fixture(scope="module")
def told(secret, opaque, tmp_path_factory):
    """What a whole life of two keys leaves behind: (where, bytes) pairs, and the token."""
    keys = {"plain": secret, "odd": opaque}
    world = {"projects": {name: {"keys": [key]} for name, key in keys.items()}}
    with simulator(world) as sim, a_home(tmp_path_factory.mktemp("s"), upstream=sim.url) as home:
        for name in keys:
            home.add_project(name, keys=[name], secrets=keys)
        with home.daemon() as daemon, home.daemon() as other:
            answers = [*live(daemon, other, sim, keys), *wrong(daemon)]
            found = [("an answer", each) for each in answers]
            found += store(home) + processes(home, daemon, other)
        found += files(home)
        return found, home.token


def live(daemon, other, sim, keys):
    """Lease, call, settle, refuse with bodies that echo the key; yields every other answer."""
    for name, key in keys.items():
        lease = daemon.granted(affinity=name)
        assert lease["key"]["secret"] == key
        with genai.Client(api_key=key, http_options={"base_url": sim.url}) as client:
            usage = client.models.generate_content(model=FLASH, contents="Hello").usage_metadata
        assert usage is not None
        told = {"promptTokenCount": usage.prompt_token_count}
        yield daemon.settle(lease, status=200, usage=told).content
        lease = daemon.granted(affinity=name)
        message = f"Quota exceeded for {key}. Please retry in 15h26m48s. " + key
        error = bodies.error(429, message, "RESOURCE_EXHAUSTED", [{"key": key}])
        yield other.settle(lease, status=429, error=error).content
        lease = daemon.granted(affinity=name, model="gemini-2.5-pro")
        yield other.settle(lease, status=403, error=_echo(key)).content
    for which in (daemon, other):
        yield which.http.get(f"{API}/status").content
        yield which.http.get(f"{API}/explain", params={"model": FLASH, "tokens": 1}).content
        yield which.lease().content


def wrong(daemon):
    """Calls that go wrong."""
    yield daemon.lease(tokens=-1).content
    yield daemon.lease(pool="nowhere").content
    yield daemon.settle("x.y", status=200).content
    yield daemon.http.get("/readyz").content


def _echo(key):
    # So long that the key lies across the end of what is quoted of it.
    start = f"Your API key was reported as leaked. {'Please use another API key. ' * 4}"
    return bodies.error(403, start.ljust(178, "-") + key, "PERMISSION_DENIED")


def files(home):
    return [(str(path), path.read_bytes()) for path in home.path.rglob("*") if path.is_file()]


def store(home):
    """Names and values of everything in the live store."""
    with redis.Redis(unix_socket_path=str(home.socket)) as client:
        reads = {
            b"string": client.get,
            b"hash": client.hgetall,
            b"list": lambda name: client.lrange(name, 0, -1),
            b"set": client.smembers,
            b"zset": lambda name: client.zrange(name, 0, -1),
            b"none": lambda _: "",  # gone meanwhile
        }
        found = [
            (str(name), repr(reads[client.type(name)](name)).encode())
            for name in client.scan_iter()
        ]
        return [(name, name.encode() + value) for name, value in found] + [
            (f"{name} as dumped", client.dump(name) or b"") for name in client.scan_iter()
        ]


def processes(home, *daemons):
    """Words and environment of every process we started."""
    found = []
    for pid in [home.valkey_pid(), *(each.process.pid for each in daemons)]:
        for name in ("cmdline", "environ"):
            with suppress(OSError):
                path = Path(f"/proc/{pid}/{name}")
                found.append((str(path), path.read_bytes()))
    assert len(found) == 6
    return found


def test_the_secrets_are_found_nowhere(told, secret, opaque):
    found, _ = told
    assert len(found) > 40
    holders = [where for where, said in found for each in (secret, opaque) if each.encode() in said]
    assert holders == []


def test_not_even_the_beginning_of_a_secret_is_kept(told, secret, opaque):
    found, _ = told
    starts = [each[:16].encode() for each in (secret, opaque)]
    holders = [where for where, said in found for each in starts if each in said]
    assert holders == []


def test_a_clients_token_is_found_nowhere(told):
    found, token = told
    assert token.startswith("kp_")
    assert [where for where, said in found if token.encode() in said] == []


def test_the_search_would_find_what_is_there(told):
    found, _ = told
    for word in (b"plain", b"odd", FLASH.encode()):
        assert [where for where, said in found if word in said]
