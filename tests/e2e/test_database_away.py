"""What goes on, and what does not, while PostgreSQL is away below a running daemon."""

import os
import shutil
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from keypool_cli.registry.patience import ANSWER_S
from tests.support import bodies
from tests.support.daemon import API, a_home, eventually
from tests.support.postgres import postgres_binaries, private_server

pytestmark = pytest.mark.e2e


@pytest.fixture
def database():
    """A server's URL, and what ends it."""
    with _a_database() as (url, end, _):
        yield url, end


@contextmanager
def _a_database():
    """A server's URL, what ends it, and the folder that its processes work in."""
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL: install its server")
    folder = Path(tempfile.mkdtemp(prefix="kp-pg-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        running = stack.enter_context(ExitStack())
        yield running.enter_context(private_server(binaries, folder)), running.close, folder


def test_leases_go_on_and_status_tells_what_is_live_while_the_database_is_away(tmp_path, database):
    url, end = database
    with a_home(tmp_path / "home", database_url=url) as home:
        home.add_project("first", rpm=2, priority=1)
        home.add_project("second")
        with home.daemon() as daemon:
            leases = [daemon.granted() for _ in range(2)]
            daemon.settled(leases[0], status=200)
            end()
            eventually(lambda: daemon.http.get("/readyz").status_code == 503)
            # Nobody has leased this key before.
            assert daemon.granted()["key"]["project"] == "second"
            for _ in range(2):
                refused = daemon.settle(leases[1], status=429, error=bodies.FREE_DAY)
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            answer = daemon.http.get(f"{API}/status")
            assert "cannot be used" in answer.headers["x-keypool-away"]
            assert {
                each["project"]: each["state"] for each in answer.json()["pools"][0]["projects"]
            } == {
                "first": "cooling",
                "second": "ready",
            }


def test_a_database_that_stands_still_is_waited_for_once_and_nothing_hangs(tmp_path):
    """Stopped as by a disk that does not answer: its connections live, and say nothing."""
    with _a_database() as (url, _, folder), a_home(tmp_path / "home", database_url=url) as home:
        home.add_project("first", rpm=2, priority=1)
        home.add_project("second")
        with home.daemon() as daemon, ThreadPoolExecutor(20) as threads:
            lease = daemon.granted()
            with _standing_still(folder):
                began = time.monotonic()
                asked = [
                    *(threads.submit(daemon.http.get, f"{API}/status") for _ in range(8)),
                    *(threads.submit(daemon.http.get, "/readyz") for _ in range(8)),
                ]
                refused = threads.submit(daemon.settle, lease, status=429, error=bodies.FREE_DAY)
                daemon.granted()
                assert time.monotonic() - began < ANSWER_S
                codes = [each.result().status_code for each in asked]
                assert (codes, refused.result().status_code) == ([200] * 8 + [503] * 8, 503)
                assert time.monotonic() - began < 2 * ANSWER_S + 15
                # Whoever asks again and again leaves nothing behind that others wait for.
                for _ in range(4):
                    assert daemon.http.get("/readyz").status_code == 503
            eventually(lambda: daemon.http.get("/readyz").status_code == 200)
            daemon.settled(lease, status=429, error=bodies.FREE_DAY)
            assert daemon.model("first")["rule"] == "per-day"


@contextmanager
def _standing_still(folder):
    _signal_all(folder, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal_all(folder, signal.SIGCONT)


def _signal_all(folder, number):
    for each in Path("/proc").iterdir():
        with suppress(OSError):
            if each.name.isdigit() and Path(each / "cwd").readlink() == folder / "data":
                os.kill(int(each.name), number)
