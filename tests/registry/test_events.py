"""The audit log: filtered, limited, followed."""

from keypool_cli.registry.values import Actor, EventFilter
from tests.support.registry import BY


def subjects(registry, **wanted):
    return [event.subject for event in registry.events.read(EventFilter(**wanted))]


def test_events_are_filtered(registry, clock):
    for kind, subject in [("key.added", "a"), ("key.removed", "b"), ("keyring", "c")]:
        registry.events.add(kind, subject, by=BY)
        clock.now_ms += 1000
    assert subjects(registry) == ["a", "b", "c"]
    assert subjects(registry, kind="key.") == ["a", "b"]
    assert subjects(registry, kind="key") == ["a", "b"]
    assert subjects(registry, kind="ke") == []
    assert subjects(registry, kind="key.removed") == ["b"]
    assert subjects(registry, subject="c") == ["c"]
    assert subjects(registry, since_ms=clock.now_ms - 2000) == ["b", "c"]


def test_the_newest_are_listed_and_the_oldest_followed(registry):
    for subject in "abcd":
        registry.events.add("x", subject, by=BY)
    first = registry.events.read()[0].id
    assert subjects(registry, limit=2) == ["c", "d"]
    assert subjects(registry, after_id=first, limit=2) == ["b", "c"]
    assert subjects(registry, after_id=first + 3) == []


def test_an_event_changes_no_revision_and_keeps_its_detail(registry):
    registry.events.add("serve.started", "daemon", by=Actor("سارة", "h"), detail={"port": 8787})
    [event] = registry.events.read()
    assert (event.actor, event.reason, event.detail) == ("سارة", None, {"port": 8787})
    assert registry.revision() == 0
