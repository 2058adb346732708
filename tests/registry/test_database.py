"""The database itself: private files, safe settings, and errors one can act on."""

import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import psycopg
import pytest

from keypool_cli.core.model import Secret
from keypool_cli.errors import UnreachableError, UsageError
from keypool_cli.registry import database
from keypool_cli.registry.repository import Registry
from keypool_cli.registry.values import NewKey
from tests.support.postgres import new_database
from tests.support.registry import BY, MASTER_KEY
from tests.support.timing import quickly


def test_a_standby_can_be_read_and_says_where_writes_are_taken(postgres_url, postgres_template):
    with new_database(postgres_url, postgres_template) as url:
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as admin:
            name = admin.info.dbname
            admin.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        with closing(Registry.open(url, master_key=MASTER_KEY)) as registry:
            assert registry.revision() == 0
            with pytest.raises(UnreachableError, match="read-only transaction") as told:
                registry.keys.add(NewKey("k1", Secret("s"), "p1"), by=BY)
            assert "name the primary" in str(told.value.hint)


def test_sqlite_files_are_for_their_owner_only(tmp_path):
    registry = Registry.open(f"sqlite:///{tmp_path}/home/keypool.db", master_key=MASTER_KEY)
    registry.keys.add(NewKey("k1", Secret("s"), "p1"), by=BY)
    modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "home").iterdir()}
    assert modes.keys() > {"keypool.db", "keypool.db-wal"}
    assert set(modes.values()) == {0o600}
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    registry.close()


def test_a_restored_file_is_made_private_and_safe_again(sqlite_url, tmp_path):
    Registry.open(sqlite_url, master_key=None).close()
    with closing(sqlite3.connect(tmp_path / "keypool.db")) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    (tmp_path / "keypool.db").chmod(0o644)
    opened = database.connect(sqlite_url)
    with opened.read() as connection:
        asked = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        answers = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked]
    assert answers == ["wal", 2, 1, database.BUSY_MS]
    assert (tmp_path / "keypool.db").stat().st_mode & 0o777 == 0o600
    opened.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "keypool.db",
        "mysql://user:hidden@host/db",
        "sqlite+aiosqlite:///keypool.db",
        "nodb+driver://user:hidden@host/db",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql://user:hidden@host:port/db",
        "postgresql://user:half@hidden@127.0.0.1:1/db",
        "postgresql://user:a@hidden/b@127.0.0.1:1/db",
    ],
)
def test_a_url_of_no_known_form_is_a_usage_error_without_its_password(url):
    with pytest.raises(UsageError) as caught:
        Registry.open(url, master_key=None)
    assert "hidden" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    "address",
    [
        "user:hidden@127.0.0.1:1/db",
        "user@127.0.0.1:1/db?password=hidden",
        "user:hidden@127.0.0.1:1/db?sslmode=disable",
    ],
)
def test_an_unreachable_server_is_named_within_3_s_without_its_password(address):
    def told():
        with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1/db") as caught:
            Registry.open(f"postgresql://{address}", master_key=None)
        return caught

    caught = quickly(told, within_s=3)
    assert "hidden" not in f"{caught.value} {caught.value.hint}"
    assert "KEYPOOL_DATABASE_URL" in str(caught.value.hint)
    assert "\n" not in str(caught.value)


def test_a_server_that_never_answers_is_unreachable_within_3_s(silent_port):
    def told():
        with pytest.raises(UnreachableError):
            Registry.open(f"postgresql://u@127.0.0.1:{silent_port}/db", master_key=None)

    quickly(told, within_s=3)


@pytest.fixture
def silent_port():
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_file_that_is_no_database_is_unreachable(tmp_path):
    (tmp_path / "x.db").write_bytes(b"not a database, but long enough to have a header" * 99)
    with pytest.raises(UnreachableError, match="not a database"):
        Registry.open(f"sqlite:///{tmp_path}/x.db", master_key=None)


def test_a_folder_that_cannot_be_made_is_unreachable(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UnreachableError, match="cannot be opened") as caught:
        Registry.open(f"sqlite:///{tmp_path}/file/keypool.db", master_key=None)
    assert "a file has the name of one of its folders" in str(caught.value.hint)


def test_a_folder_in_the_files_place_is_told_as_one(tmp_path):
    (tmp_path / "keypool.db").mkdir()
    with pytest.raises(UnreachableError, match="Is a directory") as caught:
        Registry.open(f"sqlite:///{tmp_path}/keypool.db", master_key=None)
    assert str(caught.value.hint).startswith("a folder has the file's name: move it away")


def test_a_writer_that_does_not_end_makes_others_unreachable_within_3_s(registry):
    registry.check_master_key()
    with registry._database.write() as connection:
        connection.exec_driver_sql("UPDATE registry SET revision = revision")

        def told():
            with pytest.raises(UnreachableError):
                registry.keys.add(NewKey("k1", Secret("s"), "p1"), by=BY)

        quickly(told, within_s=3)
        assert registry.catalog().keys == {}
    assert registry.keys.add(NewKey("k1", Secret("s"), "p1"), by=BY).name == "k1"


def test_an_error_undoes_the_whole_transaction(registry):
    registry.projects.create("p1", by=BY)

    def fail() -> None:
        with registry._database.write() as connection:
            connection.exec_driver_sql("DELETE FROM projects")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert len(registry.catalog().projects) == 1


def test_threads_that_add_the_same_keys_add_each_once(registry):
    registry.check_master_key()
    outcomes, gate = [], threading.Barrier(4)

    def work() -> None:
        gate.wait()
        for i in range(8):
            new = NewKey(f"k{i}", Secret(f"s{i}"), f"p{i % 2}", pool="main")
            outcomes.extend(registry.keys.add_many([new], by=BY))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 32
    assert sum(outcome.error is None for outcome in outcomes) == 8
    catalog = registry.catalog()
    assert (len(catalog.keys), len(catalog.projects), len(catalog.pools)) == (8, 2, 1)
    assert catalog.revision == 8
    assert [event.id for event in registry.events.read()] == sorted(
        event.id for event in registry.events.read()
    )


def test_importing_the_values_does_not_import_sqlalchemy():
    code = "import sys, keypool_cli.registry.values; print('sqlalchemy' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"False\n"
