"""Keys: added whole or not at all, never twice, and what changes their state."""

import pytest

from keypool_cli.core.model import Key, KeyState, Secret
from keypool_cli.errors import ConflictError, NotFoundError, UsageError
from keypool_cli.registry.values import DeadKey, EventFilter, NewKey, Refusal
from tests.support.registry import BY

SECRET = Secret("AQ.first-secret")


def a_key(name="k1", secret="AQ.first-secret", project="p1", **fields):
    return NewKey(name, Secret(secret), project, **fields)


def kill(registry, key, **fields):
    dead = DeadKey(key.id, "key_invalid", "API key not valid", **fields)
    return registry.marks.record([Refusal("p1", dead_keys=(dead,))], by=BY)[0]


def test_a_new_key_brings_its_project_and_pool_with_it(registry):
    key = registry.keys.add(
        a_key(pool="chat", tier="Tier 1", priority=7, labels={"team": "دعم"}), by=BY
    )
    catalog = registry.catalog()
    [project], [pool] = catalog.projects.values(), catalog.pools.values()
    assert (project.name, project.tier, project.priority) == ("p1", "tier1", 7)
    assert (pool.name, pool.project_ids) == ("chat", {project.id})
    assert catalog.keys == {key.id: key}
    assert (key.project_id, key.state, key.labels) == (project.id, KeyState.READY, {"team": "دعم"})
    assert len(key.fingerprint) == 12


def test_a_key_without_a_pool_joins_main(registry):
    registry.keys.add(a_key(), by=BY)
    assert [pool.name for pool in registry.catalog().pools.values()] == ["main"]


def test_a_second_key_of_a_project_leaves_its_pools_as_they_are(registry):
    registry.keys.add(a_key(pool="chat"), by=BY)
    registry.keys.add(a_key("k2", "other"), by=BY)
    assert [pool.name for pool in registry.catalog().pools.values()] == ["chat"]


def test_naming_a_pool_adds_an_existing_project_to_it(registry):
    registry.keys.add(a_key(pool="chat"), by=BY)
    registry.keys.add(a_key("k2", "other", pool="batch"), by=BY)
    pools = registry.catalog().pools.values()
    assert {pool.name: len(pool.project_ids) for pool in pools} == {"chat": 1, "batch": 1}


@pytest.mark.parametrize(
    ("new", "message", "hint"),
    [
        pytest.param(
            a_key("k2"), "stored already, as key 'k1'", "keypool show k1", id="the same secret"
        ),
        pytest.param(
            a_key("k2", "  AQ.first-secret\n"),
            "stored already, as key 'k1'",
            "keypool show k1",
            id="the same secret in white space",
        ),
        pytest.param(
            a_key("k1", "other"), "'k1' exists already", "keypool rotate k1", id="the same name"
        ),
        pytest.param(
            a_key("k2", "other", tier="tier2"),
            "tier tier1, not tier2",
            "keypool project set p1 --tier tier2",
            id="another tier for the project",
        ),
        pytest.param(
            a_key("k2", "other", priority=9, pool="new"),
            "priority 5, not 9",
            "keypool project set p1 --priority 9",
            id="another priority for the project",
        ),
    ],
)
def test_a_conflict_changes_nothing(registry, new, message, hint):
    registry.keys.add(a_key(tier="tier1", priority=5), by=BY)
    before, logged = registry.catalog(), len(registry.events.read())
    with pytest.raises(ConflictError, match=message) as caught:
        registry.keys.add(new, by=BY)
    assert hint in str(caught.value.hint)
    assert registry.catalog() == before
    assert len(registry.events.read()) == logged


def test_stating_what_the_project_has_is_no_conflict(registry):
    registry.keys.add(a_key(tier="tier1", priority=5), by=BY)
    registry.keys.add(a_key("k2", "other", tier="T1", priority=5), by=BY)
    assert len(registry.catalog().keys) == 2


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(a_key(""), id="no name"),
        pytest.param(a_key("x" * 101), id="a long name"),
        pytest.param(a_key(" k1"), id="white space before the name"),
        pytest.param(a_key("k\n1"), id="a line feed in the name"),
        pytest.param(a_key("k\u202e1"), id="a direction override in the name"),
        pytest.param(a_key("k\ud8001"), id="half a character in the name"),
        pytest.param(a_key(project="p\t"), id="a tab in the project"),
        pytest.param(a_key(pool="p "), id="white space after the pool"),
        pytest.param(a_key(secret=" \n"), id="an empty secret"),
        pytest.param(a_key(secret="two words"), id="a secret of two words"),
        pytest.param(a_key(secret="clé"), id="a secret outside ASCII"),
        pytest.param(a_key(secret="x" * 5000), id="a long secret"),
        pytest.param(a_key(priority=10**7), id="a huge priority"),
        pytest.param(a_key(labels={"a": "b\0"}), id="a NUL in a label"),
    ],
)
def test_malformed_keys_are_refused(registry, new):
    with pytest.raises(UsageError):
        registry.keys.add(new, by=BY)
    assert registry.catalog().keys == {}


def test_a_secret_given_as_the_name_is_refused_without_showing_it(registry):
    with pytest.raises(UsageError) as caught:
        registry.keys.add(a_key("AQ.first-secret"), by=BY)
    assert "AQ." not in f"{caught.value} {caught.value.hint}"


def test_names_may_be_arabic_and_are_compared_composed(registry):
    registry.keys.add(a_key("مفتاح الدعم", project="مشروع", pool="مجموعة"), by=BY)
    assert registry.keys.find("مفتاح الدعم").name == "مفتاح الدعم"
    registry.keys.add(a_key("caf\u00e9", "other"), by=BY)
    with pytest.raises(ConflictError):
        registry.keys.add(a_key("cafe\u0301", "third"), by=BY)


def test_an_unknown_key_is_answered_with_similar_names(registry):
    registry.keys.add(a_key("gateway-1"), by=BY)
    with pytest.raises(NotFoundError, match="no key named 'gatway-1'") as caught:
        registry.keys.find("gatway-1")
    assert caught.value.hint == "did you mean 'gateway-1'? see: keypool list"
    with pytest.raises(NotFoundError) as caught:
        registry.keys.find("zzz")
    assert caught.value.hint == "see: keypool list"


def test_secrets_come_back_in_clear(registry):
    first = registry.keys.add(a_key(), by=BY)
    second = registry.keys.add(a_key("k2", "other"), by=BY)
    assert registry.keys.secret(first.id) == SECRET
    assert registry.keys.secrets() == {first.id: SECRET, second.id: Secret("other")}
    assert registry.keys.secrets([second.id, 99]) == {second.id: Secret("other")}
    with pytest.raises(NotFoundError):
        registry.keys.secret(99)


def test_rotation_replaces_the_secret_and_revives_a_dead_key(registry):
    key = registry.keys.add(a_key(), by=BY)
    kill(registry, key)
    rotated = registry.keys.rotate("k1", Secret("fresh\n"), by=BY)
    assert registry.keys.secret(key.id) == Secret("fresh")
    assert (rotated.id, rotated.state, rotated.reason) == (key.id, KeyState.READY, None)
    assert rotated.fingerprint != key.fingerprint


def test_rotation_leaves_a_disabled_key_disabled(registry):
    registry.keys.add(a_key(), by=BY)
    registry.keys.disable("k1", by=BY)
    assert registry.keys.rotate("k1", Secret("fresh"), by=BY).state is KeyState.DISABLED


@pytest.mark.parametrize("twin", ["AQ.first-secret", "AQ.second"])
def test_rotation_to_a_known_secret_is_a_conflict(registry, twin):
    registry.keys.add(a_key(), by=BY)
    registry.keys.add(a_key("k2", "AQ.second"), by=BY)
    before = registry.catalog()
    with pytest.raises(ConflictError):
        registry.keys.rotate("k1", Secret(twin), by=BY)
    assert registry.catalog() == before


def test_disable_and_enable_say_who_and_why(registry):
    registry.keys.add(a_key(), by=BY)
    disabled = registry.keys.disable("k1", by=BY)
    assert (disabled.state, disabled.rule, disabled.reason) == (
        KeyState.DISABLED,
        "operator",
        "a test",
    )
    enabled = registry.keys.enable("k1", by=BY)
    assert (enabled.state, enabled.rule, enabled.reason) == (KeyState.READY, None, None)
    kinds = [event.kind for event in registry.events.read(EventFilter(kind="key."))]
    assert kinds == ["key.added", "key.disabled", "key.enabled"]


def test_a_change_that_changes_nothing_makes_no_revision(registry):
    registry.keys.add(a_key(), by=BY)
    before = registry.revision()
    registry.keys.enable("k1", by=BY)
    assert registry.revision() == before


def test_evidence_does_not_touch_a_key_that_an_operator_disabled(registry):
    key = registry.keys.add(a_key(), by=BY)
    registry.keys.disable("k1", by=BY)
    assert kill(registry, key).dead_key_ids == ()
    assert registry.keys.find("k1").state is KeyState.DISABLED


def test_evidence_about_a_rotated_secret_does_not_count(registry):
    key = registry.keys.add(a_key(), by=BY)
    rotated = registry.keys.rotate("k1", Secret("fresh"), by=BY)
    assert kill(registry, key, fingerprint=key.fingerprint).dead_key_ids == ()
    assert kill(registry, key, fingerprint=rotated.fingerprint).dead_key_ids == (key.id,)
    assert registry.keys.find("k1").state is KeyState.DEAD


def test_a_removed_key_is_gone_and_its_id_is_not_used_again(registry):
    first = registry.keys.add(a_key(), by=BY)
    removed = registry.keys.remove("k1", by=BY)
    assert isinstance(removed, Key)
    again = registry.keys.add(a_key(), by=BY)
    assert again.id != first.id
    assert registry.keys.secret(again.id) == SECRET
    with pytest.raises(NotFoundError):
        registry.keys.remove("k2", by=BY)


def test_every_change_raises_the_revision_and_names_its_actor(registry, clock):
    assert registry.revision() == 0
    registry.keys.add(a_key(), by=BY)
    assert registry.revision() == 1
    registry.keys.remove("k1", by=BY)
    assert registry.revision() == registry.catalog().revision == 2
    for event in registry.events.read():
        assert (event.actor, event.host, event.reason, event.at_ms) == (
            "amal",
            "host-1",
            "a test",
            clock.now_ms,
        )
