"""Registries for tests: on SQLite files, and on PostgreSQL where there is a server to start."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keypool_cli.registry.repository import Registry
from tests.support.postgres import new_database, postgres_binaries, private_server
from tests.support.registry import MASTER_KEY, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path) -> Iterator[str]:
    """An empty database; every test that asks for it runs on both kinds."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/keypool.db"
    else:
        with new_database(request.getfixturevalue("postgres_url")) as url:
            yield url


@pytest.fixture(params=["sqlite", "postgres"])
def migrated_url(request, tmp_path) -> Iterator[str]:
    """Like ``url`` but with the schema in place, copied from one that was migrated once."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "keypool.db")
        yield f"sqlite:///{tmp_path}/keypool.db"
        return
    server_url, template = map(request.getfixturevalue, ("postgres_url", "postgres_template"))
    with new_database(server_url, template) as url:
        yield url


@pytest.fixture
def registry(migrated_url, clock) -> Iterator[Registry]:
    with closing(Registry.open(migrated_url, master_key=MASTER_KEY, clock=clock)) as opened:
        yield opened


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "keypool.db"
    Registry.open(f"sqlite:///{file}", master_key=None).close()
    return file


@pytest.fixture(scope="session")
def postgres_template(postgres_url) -> Iterator[str]:
    with new_database(postgres_url) as url:
        Registry.open(url, master_key=None).close()
        yield url.partition("?")[0].rpartition("/")[2]


@pytest.fixture
def sqlite_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/keypool.db"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server's URL: KEYPOOL_TEST_POSTGRES_URL, or a private server of the installed binaries."""
    given = os.environ.get("KEYPOOL_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL: set KEYPOOL_TEST_POSTGRES_URL or install its server")
    folder = Path(tempfile.mkdtemp(prefix="kp-pg-"))
    try:
        with private_server(binaries, folder) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)
