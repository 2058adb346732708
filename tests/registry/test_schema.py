"""The schema: made on first use by whoever comes first, the same as the tables say."""

import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, text

from keypool_cli.errors import ConflictError
from keypool_cli.registry import database, schema
from keypool_cli.registry.repository import Registry
from keypool_cli.registry.tables import metadata

OPEN_AND_TELL = """
import sys
from keypool_cli.registry.repository import Registry
print("ready", flush=True)
sys.stdin.readline()
registry = Registry.open(sys.argv[1], master_key=bytes(32))
registry.check_master_key()
print(registry.revision(), "alembic" in sys.modules)
"""


def test_migrations_and_tables_agree(url):
    opened = database.connect(url)
    schema.ensure(opened)
    with opened.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    opened.close()


def test_the_code_knows_the_newest_migration():
    folder = f"{schema.__file__.removesuffix('schema.py')}migrations"
    assert ScriptDirectory(folder).get_heads() == [schema.HEAD]


def test_several_processes_may_open_a_new_database_at_once(url):
    command = [sys.executable, "-c", OPEN_AND_TELL, url]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe) for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate() for process in processes]
    assert [err for _, err in answers] == ["", "", ""]
    assert [out.split()[0] for out, _ in answers] == ["0", "0", "0"]


def test_opening_an_up_to_date_registry_is_one_query_and_no_alembic(migrated_url):
    opened = database.connect(migrated_url)
    statements = []

    @event.listens_for(opened.reader, "before_cursor_execute")
    def note(*arguments) -> None:
        statements.append(arguments[2])

    schema.ensure(opened)
    asked = [statement for statement in statements if not statement.startswith("BEGIN")]
    assert [s for s in asked if "alembic_version" in s] == asked
    assert len(asked) == 1
    opened.close()
    command = [sys.executable, "-c", OPEN_AND_TELL, migrated_url]
    done = subprocess.run(command, input="go\n", capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"


def test_a_newer_schema_is_refused_and_left_alone(migrated_url):
    opened = database.connect(migrated_url)
    with opened.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConflictError, match="schema 9999, newer than") as caught:
        Registry.open(migrated_url, master_key=None)
    assert "upgrade keypool" in str(caught.value.hint)
    assert schema.version(opened) == "9999"
    opened.close()
