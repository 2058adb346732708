"""Uploads through the proxy: streamed, bound to their client, and gone on with on any daemon."""

import hashlib
import socket
import time
from base64 import b64encode
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.support.daemon import BY, eventually

UPLOAD = "/upload/v1beta/files"
START = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
END = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}


@pytest.fixture(scope="module")
def other(proxy):
    with proxy.home.daemon() as running:
        yield running


@pytest.fixture
def pool(proxy):
    with proxy.pool() as made:
        made.add()
        made.add()
        yield made


@pytest.fixture
def bare():
    """A client without any credential."""
    with httpx2.Client(timeout=60, trust_env=False) as http:
        yield http


def begin(pool, http=None, **meta):
    answer = (http or pool.http).post(UPLOAD, json={"file": meta}, headers=START)
    assert answer.status_code == 200, answer.text
    return answer


def test_the_upload_url_is_the_daemons_own_and_tells_nothing_of_upstreams(proxy, pool):
    answer = begin(pool)
    url = urlsplit(answer.headers["x-goog-upload-url"])
    assert f"{url.scheme}://{url.netloc}" == proxy.daemon.url
    assert len(parse_qs(url.query)["upload_id"][0]) > 100
    secret = urlsplit(proxy.sim.url).netloc
    assert not [value for value in answer.headers.values() if secret in value]
    assert "x-guploader-uploadid" not in answer.headers
    assert "x-goog-upload-control-url" not in answer.headers


def test_steps_need_no_credential_and_may_go_to_another_daemon(proxy, other, pool, bare):
    url = begin(pool, displayName="notes").headers["x-goog-upload-url"]
    there = url.replace(proxy.daemon.url, other.url)
    first = bare.post(url, content=b"hello ", headers={**END, "x-goog-upload-command": "upload"})
    assert first.headers["x-goog-upload-status"] == "active"
    asked = bare.post(there, headers={"x-goog-upload-command": "query"})
    assert asked.headers["x-goog-upload-size-received"] == "6"
    last = bare.post(there, content=b"world", headers={**END, "x-goog-upload-offset": "6"})
    assert last.headers["x-goog-upload-status"] == "final"
    file = last.json()["file"]
    assert (file["displayName"], file["sizeBytes"]) == ("notes", "11")
    assert file["sha256Hash"] == hashlib.sha256(b"hello world").hexdigest()
    assert pool.http.get(f"/v1beta/{file['name']}").status_code == 200


def test_nobody_else_can_go_on_with_an_upload_and_no_token_can_be_made(proxy, pool, bare):
    url = begin(pool).headers["x-goog-upload-url"]
    stranger = proxy.home.add_client()
    proxy.daemon.known(stranger)
    refused = bare.post(url, content=b"x", headers={**END, "x-goog-api-key": stranger})
    assert refused.status_code == 403
    for wrong in (url[:-40], url.replace("upload_id=", "upload_id=A"), f"{UPLOAD}?upload_id=x"):
        target = wrong if wrong.startswith("http") else proxy.daemon.url + wrong
        assert bare.post(target, content=b"x", headers=END).status_code in {400, 404}
    assert bare.post(url, content=b"x", headers=END).status_code == 200


def test_an_upload_of_a_revoked_client_goes_no_further(proxy, pool, bare):
    token = proxy.home.add_client("to-be-revoked")
    proxy.daemon.known(token)
    with proxy.client(token, headers={"x-keypool-pool": pool.name}) as http:
        url = begin(pool, http).headers["x-goog-upload-url"]
    proxy.home.change(lambda registry: registry.clients.revoke("to-be-revoked", by=BY))
    eventually(lambda: bare.post(url, content=b"x", headers=END).status_code == 403)


def test_a_multipart_upload_is_its_clients_too(proxy, pool):
    body = (
        b'--b\r\ncontent-type: application/json\r\n\r\n{"file":{"displayName":"n"}}\r\n'
        b"--b\r\ncontent-type: text/plain\r\n\r\nhello\r\n--b--\r\n"
    )
    headers = {
        "x-goog-upload-protocol": "multipart",
        "content-type": "multipart/related; boundary=b",
    }
    file = pool.http.post(UPLOAD, content=body, headers=headers).json()["file"]
    assert (file["displayName"], file["sizeBytes"]) == ("n", "5")
    stranger = proxy.home.add_client()
    proxy.daemon.known(stranger)
    with proxy.client(stranger, headers={"x-keypool-pool": pool.name}) as theirs:
        assert theirs.get(f"/v1beta/{file['name']}").status_code == 403


def test_a_step_in_chunks_is_passed_on_to_its_end(pool, bare):
    url = begin(pool).headers["x-goog-upload-url"]
    answer = bare.post(url, content=iter([b"hello ", b"world"]), headers=END)
    assert answer.json()["file"]["sha256Hash"] == hashlib.sha256(b"hello world").hexdigest()


@pytest.mark.parametrize("kind", ["raw", "multipart"])
def test_a_whole_upload_in_chunks_is_passed_on_and_its_clients(pool, kind):
    parts = {
        "raw": [b"hello ", b"world"],
        "multipart": [
            b'--b\r\ncontent-type: application/json\r\n\r\n{"file":{}}\r\n--b\r\n',
            b"content-type: text/plain\r\n\r\nhello world\r\n--b--\r\n",
        ],
    }
    types = {"raw": "text/plain", "multipart": "multipart/related; boundary=b"}
    headers = {"x-goog-upload-protocol": kind, "content-type": types[kind]}
    file = pool.http.post(UPLOAD, content=iter(parts[kind]), headers=headers).json()["file"]
    assert file["sha256Hash"] == hashlib.sha256(b"hello world").hexdigest()
    assert pool.http.get(f"/v1beta/{file['name']}").status_code == 200


def test_a_large_body_in_chunks_takes_no_memory_to_speak_of(proxy, pool, bare):
    part, count = bytes(1_000_000), 200
    url = begin(pool).headers["x-goog-upload-url"]
    before = rss_mb(proxy.daemon.process.pid)
    file = bare.post(url, content=(part for _ in range(count)), headers=END).json()["file"]
    assert file["sizeBytes"] == str(count * len(part))
    assert peak_mb(proxy.daemon.process.pid) - before < 40


@pytest.mark.parametrize("later_s", [0, 0.2], ids=["at once", "later"])
@pytest.mark.parametrize("ending", [b"", b"5\r\nhel"], ids=["between chunks", "within one"])
def test_a_client_that_hangs_up_in_its_chunks_leaves_no_file_behind(pool, bare, ending, later_s):
    url = urlsplit(begin(pool).headers["x-goog-upload-url"])
    head = (
        f"POST {url.path}?{url.query} HTTP/1.1\r\nhost: {url.netloc}\r\n"
        "x-goog-upload-command: upload, finalize\r\nx-goog-upload-offset: 0\r\n"
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
    )
    with socket.create_connection((url.hostname, url.port)) as sock:
        sock.sendall(head.encode() + ending)
        time.sleep(later_s)
    time.sleep(0.3)  # a daemon that takes it for whole must have passed it on
    asked = bare.post(url.geturl(), headers={"x-goog-upload-command": "query"})
    assert asked.status_code == 200
    assert pool.http.get("/v1beta/files").json() == {}


def test_a_client_that_hangs_up_leaves_no_file_behind(pool, bare):
    url = urlsplit(begin(pool).headers["x-goog-upload-url"])
    with socket.create_connection((url.hostname, url.port)) as sock:
        head = (
            f"POST {url.path}?{url.query} HTTP/1.1\r\nhost: {url.netloc}\r\n"
            "x-goog-upload-command: upload, finalize\r\nx-goog-upload-offset: 0\r\n"
            "content-length: 1000000\r\n\r\n"
        )
        sock.sendall(head.encode() + bytes(1000))
        time.sleep(0.2)  # the daemon must have begun to pass it on
    asked = bare.post(url.geturl(), headers={"x-goog-upload-command": "query"})
    assert asked.status_code == 200
    assert pool.http.get("/v1beta/files").json() == {}


def test_a_large_file_takes_no_memory_to_speak_of(proxy, pool, bare):
    size, part = 200_000_000, bytes(1_000_000)
    url = begin(pool).headers["x-goog-upload-url"]
    before = rss_mb(proxy.daemon.process.pid)
    headers = {**END, "content-length": str(size)}
    parts = (part for _ in range(size // len(part)))
    file = bare.post(url, content=parts, headers=headers).json()["file"]
    assert file["sizeBytes"] == str(size)
    digest = hashlib.sha256()
    for _ in range(size // len(part)):
        digest.update(part)
    assert file["sha256Hash"] == digest.hexdigest()
    assert peak_mb(proxy.daemon.process.pid) - before < 40


def rss_mb(pid):
    return _status(pid, "VmRSS")


def peak_mb(pid):
    return _status(pid, "VmHWM")


def _status(pid, name):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(name))


def test_an_upload_in_the_older_protocol_is_refused(pool):
    answer = pool.http.post(f"{UPLOAD}?uploadType=resumable", json={})
    assert answer.status_code == 400


def test_without_authentication_uploads_keep_together_too(proxy, pool, bare):
    with proxy.home.daemon(auth=False) as open_daemon:
        headers = {"x-keypool-pool": pool.name}
        files = [
            bare.post(f"{open_daemon.url}{UPLOAD}", content=b"x", headers=headers) for _ in range(4)
        ]
        assert len({each.headers["x-keypool-project"] for each in files}) == 1
        listed = bare.get(f"{open_daemon.url}/v1beta/files", headers=headers).json()["files"]
        assert len(listed) == 4


def test_the_urls_host_is_the_one_the_client_knows_us_by(pool):
    headers = {**START, "x-forwarded-proto": "https", "x-forwarded-host": "pool.example"}
    answer = pool.http.post(UPLOAD, json={}, headers=headers)
    assert answer.headers["x-goog-upload-url"].startswith(f"https://pool.example{UPLOAD}?")
    odd = {**START, "x-forwarded-host": f"evil/{b64encode(b'x').decode()}"}
    answer = pool.http.post(UPLOAD, json={}, headers=odd)
    assert answer.headers["x-goog-upload-url"].startswith("http://127.0.0.1:")
