"""Operators can tell which clients are still in use."""

import pytest

from tests.support.daemon import a_home, eventually

pytestmark = pytest.mark.e2e


def last_used(home, name):
    with home.registry() as registry:
        return registry.clients.find(name).last_used_at_ms


def test_a_clients_last_use_is_written_while_the_daemon_runs_and_when_it_ends(tmp_path):
    with a_home(tmp_path / "home") as home:
        home.add_project("p", rpm=10)
        tokens = {name: home.add_client(name) for name in ("early", "late", "never")}
        with home.daemon() as daemon:
            daemon.granted(daemon.known(tokens["early"]))
            first = eventually(lambda: last_used(home, "early"), within_s=20)
            daemon.granted(daemon.known(tokens["late"]))
            daemon.granted(daemon.known(tokens["early"]))
            assert daemon.stop() == 0
        assert last_used(home, "early") > first
        assert last_used(home, "late") >= first
        assert last_used(home, "never") is None
