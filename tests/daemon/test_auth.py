"""Who is served: tokens, and callers of a daemon without them."""

import socket
import subprocess
import sys
import time
from functools import partial

import httpx2
import pytest

from keypool_cli.core.model import Catalog, Pool
from keypool_cli.daemon.auth import Caller, is_loopback_host
from keypool_cli.errors import NotFoundError
from keypool_cli.service.clients import revoke_client
from keypool_cli.service.configured import Configured
from tests.support import bodies
from tests.support.daemon import API, BY, ROOT, a_home, eventually, unique
from tests.support.running import PATIENCE_S
from tests.support.timing import quickly

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no token"),
        pytest.param({"Authorization": "Bearer"}, id="an empty token"),
        pytest.param({"Authorization": "Bearer kp_wrong"}, id="a wrong token"),
        pytest.param({"Authorization": "Basic a3A6a3A="}, id="another scheme"),
        pytest.param({"x-goog-api-key": "kp_x"}, id="the token elsewhere"),
    ],
)
def test_a_caller_without_a_valid_token_is_not_authenticated(daemon, headers):
    answer = httpx2.post(f"{daemon.url}{API}/leases", json={}, headers=headers)
    assert (answer.status_code, answer.json()["title"]) == (401, "Not authenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_caller_nobody_knows_is_told_so_before_its_body_has_come(daemon):
    """Else anyone could keep connections for as long as they like."""
    rest = "HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n"
    for path, token in (
        (f"{API}/leases", ""),
        (f"{API}/leases", "Authorization: Bearer kp_wrong\r\n"),
        ("/v1beta/models/m:generateContent", ""),
        ("/v1beta/models/m:generateContent", "x-goog-api-key: kp_wrong\r\n"),
    ):
        with socket.create_connection(
            (httpx2.URL(daemon.url).host, httpx2.URL(daemon.url).port)
        ) as client:
            client.settimeout(PATIENCE_S)
            client.sendall(f"POST {path} {rest}{token}\r\n".encode())
            assert client.makefile("rb").readline().startswith(b"HTTP/1.1 401 ")


def answers(http, status):
    return http.get(f"{API}/status").status_code == status


def test_a_revoked_token_is_refused_by_every_daemon_within_a_second(daemon, other, house):
    def revoked():
        name = unique("client")
        token = house.add_client(name)
        clients = [each.known(token) for each in (daemon, other)]
        house.run(lambda ports: revoke_client(ports, name, by=BY))
        return clients

    def refused(*clients):
        for each in clients:
            eventually(partial(answers, each, 401))

    quickly(refused, before=revoked, within_s=1.0)


def test_an_expired_token_is_refused(daemon, house):
    now_ms = time.time_ns() // 1_000_000
    fresh = daemon.client(house.add_client(expires_at_ms=now_ms + 60_000))
    eventually(partial(answers, fresh, 200))
    expired = daemon.client(house.add_client(expires_at_ms=now_ms))
    assert expired.get(f"{API}/status").status_code == 401


def test_health_needs_no_token_and_tells_only_its_state(daemon):
    for path in ("/healthz", "/readyz"):
        answer = httpx2.get(daemon.url + path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.fixture(scope="module")
def open_daemon(tmp_path_factory):
    """A daemon without authentication."""
    with a_home(tmp_path_factory.mktemp("open")) as home:
        home.add_project("p")
        for name in ("first", "second"):
            home.add_project(name, pool=name, billing_account="shared")
        with home.daemon(auth=False) as running:
            yield running


def test_without_authentication_loopback_callers_are_served(open_daemon):
    for host in ("127.0.0.1", "localhost:1234", "[::1]:80"):
        answer = open_daemon.http.get(f"{API}/status", headers={"Host": host})
        assert answer.status_code == 200, host
    assert open_daemon.granted()["key"]["name"] == "p-key"


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Host": "rebound.example"}, id="a name that is not loopback"),
        pytest.param({"Host": "rebound.example:8787"}, id="the same with a port"),
        pytest.param({"Host": "127.0.0.1.rebound.example"}, id="a name that looks like loopback"),
        pytest.param({"Origin": "http://rebound.example"}, id="a web page"),
        pytest.param({"Origin": "http://localhost"}, id="a web page of this machine"),
    ],
)
def test_without_authentication_a_web_page_reaches_nothing(open_daemon, headers):
    answer = open_daemon.http.get(f"{API}/status", headers=headers)
    assert answer.status_code == 403
    body = {"model": "m", "tokens": 1}
    answer = open_daemon.http.post(f"{API}/leases", json=body, headers=headers)
    assert answer.status_code == 403
    assert "secret" not in answer.text


def test_without_authentication_whoever_reports_an_account_is_one_source(open_daemon):
    lease = open_daemon.granted(pool="first")
    assert open_daemon.settled(lease, status=402, error=bodies.NO_CREDIT)["verdict"]["applied"]
    assert open_daemon.project("first", "first")["state"] == "cooling"
    assert open_daemon.project("second", "second")["state"] == "ready"


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("localhost", True),
        ("LOCALHOST:80", True),
        ("127.8.9.1:80", True),
        ("::1", True),
        ("[::1]", True),
        ("[::1]:80", True),
        ("", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("[::1].example", False),
        ("127.0.0.1@example", False),
        ("127.0.0.1:80@example", False),
    ],
)
def test_only_names_of_this_machine_are_loopback(host, is_loopback):
    assert is_loopback_host(host) is is_loopback


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--host", "0.0.0.0", "--no-auth"], id="no authentication beyond loopback"),
        pytest.param(["--host", "0.0.0.0"], id="no TLS beyond loopback"),
    ],
)
def test_a_daemon_that_would_be_open_does_not_start(house, words):
    done = subprocess.run(
        [sys.executable, "-m", "keypool_cli", "serve", "--port", "0", *words],
        env=house.env,
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2


def test_a_client_sees_its_own_pools_only(daemon, house, pool):
    mine = pool.name
    pool.add()
    http = daemon.known(house.add_client(pools=(mine, "removed")))
    shown = http.get(f"{API}/status").json()["pools"]
    assert [each["pool"] for each in shown] == [mine]
    house.add_project(unique("project"), pool="main")
    assert http.get(f"{API}/status", params={"pool": "main"}).status_code == 403
    assert http.get(f"{API}/explain?model=m&tokens=1&pool=main").status_code == 403
    assert http.get(f"{API}/explain?model=m&tokens=1&pool={mine}").status_code == 200


def test_a_call_that_names_no_pool_hears_which_it_could_name(daemon, house, pool):
    pool.add()
    http = daemon.known(house.add_client(pools=(pool.name, "another")))
    refused = http.post(f"{API}/leases", json={"model": "m", "tokens": 1})
    assert refused.status_code == 403
    assert refused.json()["detail"] == (
        "no pool is named, and 'main' is outside this client's grant; "
        f"name one of: 'another', {pool.name!r}"
    )


@pytest.mark.parametrize(
    ("pools", "hint"),
    [
        pytest.param((), "keypool add NAME --project PROJECT", id="an empty registry"),
        pytest.param([f"p{n}" for n in range(12)], "'p0', 'p1', 'p2', 'p3', 'p4', …", id="others"),
    ],
)
def test_where_no_pool_is_the_usual_one_the_hint_says_what_to_do(pools, hint):
    found = {number: Pool(number, name) for number, name in enumerate(pools, start=1)}
    configured = Configured(Catalog(1, {}, {}, found, (), (), {}, {}), {})
    with pytest.raises(NotFoundError, match="no pool is named, and 'main' is not there") as told:
        Caller(None).pool(configured, None)
    assert str(told.value.hint).endswith(hint)


def test_a_client_whose_pools_are_gone_sees_none(daemon, house):
    http = daemon.known(house.add_client(pools=("removed",)))
    assert http.get(f"{API}/status").status_code == 404
