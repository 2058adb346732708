"""What goes on, and what does not, while PostgreSQL is away below a running daemon."""

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import bodies
from tests.support.daemon import API, a_home, eventually
from tests.support.postgres import postgres_binaries, private_server

pytestmark = pytest.mark.e2e


@pytest.fixture
def database():
    """A server's URL, and what ends it."""
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL: install its server")
    folder = Path(tempfile.mkdtemp(prefix="kp-pg-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        running = stack.enter_context(ExitStack())
        yield running.enter_context(private_server(binaries, folder)), running.close


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
