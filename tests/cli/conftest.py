"""Homes for the command line: a fresh one for each test, and one with a running store to share."""

import shutil

import pytest

from keypool_cli.engine.embedded import EmbeddedServer
from keypool_cli.registry.repository import Registry
from tests.support.command_line import Keypool


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory):
    """A migrated, empty registry to be copied: migrating takes longer than a test."""
    home = tmp_path_factory.mktemp("empty") / "home"
    home.mkdir(mode=0o700)
    Registry.open(f"sqlite:///{home}/keypool.db", master_key=None).close()
    return home


@pytest.fixture
def home(empty_home, tmp_path, monkeypatch):
    """A home of the test's own, in which nothing is configured."""
    own = shutil.copytree(empty_home, tmp_path / "home")
    own.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    return own


@pytest.fixture
def live_home(home):
    """A home of the test's own whose live store runs."""
    server = EmbeddedServer(home)
    server.join()
    yield home
    server.leave()


@pytest.fixture
def keypool(home, monkeypatch, capsys):
    """The command line on the test's own home."""
    monkeypatch.setenv("KEYPOOL_HOME", str(home))
    return Keypool(monkeypatch, capsys)


@pytest.fixture
def registry(home):
    """The registry behind the command line."""
    opened = Registry.open(f"sqlite:///{home}/keypool.db", master_key=None)
    yield opened
    opened.close()
