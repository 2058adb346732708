"""How ``serve`` is reached: TLS, beyond loopback, and what the access log tells."""

import json
import socket
import ssl
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from keypool_cli.http.tls import Tls
from tests.support.daemon import API, FLASH, ROOT, a_home, eventually
from tests.support.live import LIVE
from tests.support.serving import a_certificate, serving

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with a_home(tmp_path_factory.mktemp("serving")) as made:
        made.add_project("p")
        assert made.token
        yield made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return a_certificate(tmp_path_factory.mktemp("tls"))


def lease(http):
    return http.post(f"{API}/leases", json={"model": FLASH, "tokens": 3})


def client(served, home, certificate=None):
    context = ssl.create_default_context(cafile=certificate.cert) if certificate else True
    headers = {"Authorization": f"Bearer {home.token}"}
    return httpx2.Client(
        base_url=served.url, headers=headers, verify=context, timeout=30, trust_env=False
    )


def test_leases_over_tls(home, certificate):
    with serving(home, *certificate.words) as served, client(served, home, certificate) as http:
        assert served.url.startswith("https://127.0.0.1:")
        assert lease(http).status_code == 201
        with pytest.raises(httpx2.HTTPError):
            httpx2.get("http" + served.url.removeprefix("https") + "/healthz")


def test_tls_lets_it_listen_beyond_loopback(home, certificate):
    words = ["--host", "0.0.0.0", *certificate.words]
    with serving(home, *words) as served:
        port = int(served.url.rpartition(":")[2])
        context = ssl.create_default_context(cafile=certificate.cert)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection(("127.0.0.1", port)) as sock,
            context.wrap_socket(sock, server_hostname="localhost") as sealed,
        ):
            assert sealed.version() == "TLSv1.3"
            # Over HTTP/2 a client that does not read would fill the daemon's memory.
            assert sealed.selected_alpn_protocol() == "http/1.1"


def test_http_2_is_not_spoken_in_clear_either(home):
    with serving(home) as served:
        port = int(served.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.settimeout(20)
            sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
            assert sock.recv(100) == b""  # no frame


def test_workers_share_a_tls_port(home, certificate):
    with serving(home, "--workers", "2", *certificate.words) as served:
        for _ in range(4):
            with client(served, home, certificate) as http:
                assert lease(http).status_code == 201


def refused(home, *words):
    done = subprocess.run(
        [sys.executable, "-m", "keypool_cli", "serve", "--port", "0", *words],
        env=home.env,
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
        text=True,
    )
    return done.returncode, done.stderr


def test_a_key_that_others_may_read_is_not_served(home, tmp_path):
    loose = a_certificate(tmp_path)
    loose.key.chmod(0o640)
    code, told = refused(home, *loose.words)
    assert code == 4
    assert f"others may read or change the TLS key: {loose.key} has mode 0640" in told


def test_a_port_in_use_is_told_in_two_lines_and_nothing_else(home):
    with serving(home) as served:
        port = served.url.rpartition(":")[2]
        code, err = refused(home, "--port", port)
    assert code == 5
    assert err.splitlines() == [
        f"keypool: cannot listen on 127.0.0.1:{port}: Address already in use",
        "hint: another server listens there; choose another port",
    ]


def test_a_certificate_that_clients_will_refuse_is_told(home, tmp_path):
    expired = a_certificate(tmp_path, days=-30)
    with serving(home, *expired.words) as served:
        told = served.log.read_text()
    assert f"the certificate {expired.cert} expired on 2" in told
    assert "renew it" in told
    early = datetime.now(UTC) - timedelta(days=99)
    tls = Tls(expired.cert, expired.key)
    assert "begins on" in str(tls.doubt(early))
    assert tls.doubt(datetime.now(UTC) - timedelta(days=30, hours=1)) is None


def test_files_that_do_not_belong_together_are_not_served(home, tmp_path, certificate):
    other = a_certificate(tmp_path)
    code, told = refused(home, "--tls-cert", str(certificate.cert), "--tls-key", str(other.key))
    assert (code, "cannot serve TLS with" in told) == (2, True)
    code, told = refused(home, "--tls-cert", str(certificate.cert), "--tls-key", "/nowhere")
    assert (code, "No such file" in told) == (2, True)


@pytest.mark.parametrize("words", [["--tls-cert", "x"], ["--tls-key", "x"]])
def test_certificate_and_key_go_together(home, words):
    code, told = refused(home, *words)
    assert (code, "--tls-cert and --tls-key go together" in told) == (2, True)


def test_no_authentication_beyond_loopback_is_refused_over_tls_too(home, certificate):
    code, told = refused(home, "--host", "0.0.0.0", "--no-auth", *certificate.words)
    assert (code, "--no-auth is accepted on loopback only" in told) == (2, True)


def test_an_access_log_tells_each_call_and_nothing_secret(home):
    with serving(home, "--access-log", "text") as served, client(served, home) as http:
        held = lease(http).json()
        http.get(f"{API}/status", params={"pool": "main"})
        http.get(f"/v1beta/models/x%0Ay?key={home.token}")
        settled = f"{API}/leases/{held['lease_id']}/settle"
        assert http.post(settled, json={"status": 200}).status_code == 200
        told = eventually(lambda: "settle" in served.log.read_text() and served.log.read_text())
    lines = [each.split() for each in told.splitlines() if " /" in each]
    assert [each[1:4] for each in lines] == [
        ["POST", f"{API}/leases", "201"],
        ["GET", f"{API}/status", "200"],
        ["GET", "/v1beta/models/x?y", "404"],
        ["POST", f"{API}/leases/…/settle", "200"],
    ]
    for word in (home.token, held["lease_id"][:12], held["key"]["secret"], "pool=", "key="):
        assert word not in told


def test_an_access_log_may_be_json_lines(home):
    with serving(home, "--access-log", "json") as served:
        httpx2.get(served.url + "/healthz?x=1")
        eventually(lambda: "/healthz" in served.log.read_text())
        text = served.log.read_text()
    (line,) = [json.loads(each) for each in text.splitlines() if each.startswith("{")]
    assert line.keys() == {"at_ms", "client", "method", "path", "status", "ms"}
    assert (line["method"], line["path"], line["status"]) == ("GET", "/healthz", 200)


def test_an_access_log_tells_a_websocket_that_was_refused_from_one_that_was_not(home):
    with serving(home, "--access-log", "text") as served:
        for token in ("kp_wrong", home.token):
            with (
                suppress(InvalidStatus),
                connect(f"{served.websocket_url}{LIVE}?key={token}", proxy=None) as wire,
            ):
                wire.close()
        told = eventually(
            lambda: served.log.read_text().count(LIVE) == 2 and served.log.read_text()
        )
    lines = [each.split() for each in told.splitlines() if " /" in each]
    assert [each[1:4] for each in lines] == [["GET", LIVE, "401"], ["GET", LIVE, "101"]]


def test_without_being_asked_nothing_is_logged(home):
    with serving(home) as served:
        httpx2.get(served.url + "/healthz")
        assert "/healthz" not in served.log.read_text()


def test_an_unknown_form_of_log_is_refused(home):
    assert refused(home, "--access-log", "xml")[0] == 2
