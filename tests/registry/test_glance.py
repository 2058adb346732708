"""A glance at the registry by the bare driver says what the registry itself says."""

import subprocess
import sys

import pytest

from keypool_cli.core.model import Mark, MarkKind, MarkScope, Secret
from keypool_cli.registry.glance import glance
from keypool_cli.registry.repository import Registry
from keypool_cli.registry.values import NewKey, Refusal
from tests.support.registry import BY, MASTER_KEY


def seen(url):
    found = glance(url)
    assert found is not None
    return found


@pytest.fixture
def url(migrated_url):
    """The same on SQLite and on PostgreSQL."""
    return migrated_url


def add(registry, name):
    return registry.keys.add(NewKey(name=name, secret=Secret(f"s-{name}"), project="p1"), by=BY)


def cool(registry, key):
    mark = Mark(
        scope=MarkScope.PROJECT_MODEL,
        kind=MarkKind.COOL,
        rule="per-day",
        reason="used up",
        at_ms=5,
        granted_at_ms=5,
        project_id=key.project_id,
        model="m",
        until_at_ms=10**12,
        lease_id="l1",
    )
    registry.marks.record([Refusal(subject="p1", marks=(mark,))], by=BY)


def test_it_sees_the_revision_and_every_mark(url, registry):
    cool(registry, add(registry, "k1"))
    found = seen(url)
    assert found.revision == registry.revision()
    assert list(found.marks) == list(registry.marks.all())
    assert len(found.marks) == 1


def test_its_stamp_changes_with_the_revision_and_not_with_a_cooldown(url, registry):
    key = add(registry, "k1")
    before = seen(url).stamp
    cool(registry, key)
    assert seen(url).stamp == before
    add(registry, "k2")
    assert seen(url).stamp != before


def test_two_registries_at_one_revision_have_two_stamps(url, registry, tmp_path):
    add(registry, "k1")
    other_url = f"sqlite:///{tmp_path}/a folder/50%25 other.db"
    other = Registry.open(other_url, master_key=MASTER_KEY)
    add(other, "k1")
    other.close()
    assert seen(other_url).revision == seen(url).revision
    assert seen(other_url).stamp != seen(url).stamp


@pytest.mark.parametrize("name", ["missing.db", "empty.db", "words.db"])
def test_what_is_no_registry_is_answered_with_none_and_left_alone(tmp_path, name):
    file = tmp_path / name
    texts = {"empty.db": "", "words.db": "no database at all, but long enough to be looked at"}
    if name in texts:
        file.write_text(texts[name])
    assert glance(f"sqlite:///{file}") is None
    assert file.exists() == (name in texts)


@pytest.mark.parametrize(
    "url", ["sqlite:///:memory:", "sqlite:////x.db?timeout=1", "mysql://h/d", "postgresql://[/x"]
)
def test_what_is_not_that_simple_is_answered_with_none(url):
    assert glance(url) is None


def test_it_needs_no_sqlalchemy(url, registry):
    add(registry, "k1")
    program = (
        "import sys; from keypool_cli.registry.glance import glance;"
        f"assert glance({url!r}).revision; assert 'sqlalchemy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
