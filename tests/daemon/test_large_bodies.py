"""Large bodies: they cost the daemon little more memory than their bytes, whoever sends several."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.support.daemon import API, FLASH, a_home
from tests.support.proxy import GENERATE
from tests.support.raw_upstream import raw_upstream

MB = 1024 * 1024
AT_ONCE = 4

pytestmark = pytest.mark.skipif(
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
