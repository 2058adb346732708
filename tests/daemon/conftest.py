"""Two daemons on one home, shared by the tests; each test has a pool of its own."""

import sqlite3
from contextlib import contextmanager

import pytest

from tests.support.daemon import APool, a_home
from tests.support.proxy import a_proxy


@pytest.fixture(scope="session")
def house(tmp_path_factory):
    """A home with windows of a minute: nothing becomes free while a test looks on."""
    with a_home(tmp_path_factory.mktemp("house")) as home, home.staying_open():
        yield home


@pytest.fixture(scope="session")
def daemon(house):
    with house.daemon() as running:
        yield running


@pytest.fixture(scope="session")
def other(house, daemon):  # noqa: ARG001 - the first one starts first
    """A second daemon on the same store."""
    with house.daemon() as running:
        yield running


@pytest.fixture
def pool(house):
    return APool(house)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    """A daemon before a simulator of its own, one for each file."""
    with a_proxy(tmp_path_factory.mktemp("proxy") / "home") as running:
        yield running


@pytest.fixture(scope="session")
def quick_house(tmp_path_factory):
    """A home with windows of one and a half seconds, for tests in which time passes."""
    path = tmp_path_factory.mktemp("quick")
    with a_home(path, window_s=1.4, guard_ms=100, starve_s=1) as home, home.staying_open():
        yield home


@pytest.fixture(scope="session")
def quick_daemon(quick_house):
    with quick_house.daemon() as running:
        yield running


@pytest.fixture(scope="session")
def quick_other(quick_house, quick_daemon):  # noqa: ARG001 - as above
    with quick_house.daemon() as running:
        yield running


@pytest.fixture
def quick_pool(quick_house):
    return APool(quick_house)


@pytest.fixture
def sql_locked():
    """Keeps every other writer out of a home's SQLite."""

    @contextmanager
    def locked(home):
        connection = sqlite3.connect(home.path / "keypool.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")
            connection.close()

    return locked
