"""One private server for the tests of the scripts; every test has a model of its own on it."""

import pytest

from tests.support.live_engine import live_engine
from tests.support.valkey import private_valkey


@pytest.fixture(scope="session")
def engine_url(tmp_path_factory):
    with private_valkey(tmp_path_factory.mktemp("engine")) as url:
        yield url


@pytest.fixture(scope="session")
def live_server(engine_url):
    with live_engine(engine_url) as live:
        yield live


@pytest.fixture
def own_live(engine_url):
    """An engine to be changed: no other test has it."""
    with live_engine(engine_url) as live:
        live.fresh()
        yield live


@pytest.fixture
def live(live_server):
    """The engine, empty, at noon."""
    live_server.fresh()
    return live_server
