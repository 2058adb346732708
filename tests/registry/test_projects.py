"""Projects and pools: made, changed, removed."""

import pytest

from keypool_cli.core.model import Policy, Secret
from keypool_cli.errors import ConflictError, NotFoundError, UsageError
from keypool_cli.registry.values import NewKey, QuotaScope, Reset
from tests.support.registry import BY

PROXY = "http://u:p@127.0.0.1:3128"


def test_a_project_is_made_with_what_is_said_of_it(registry):
    project = registry.projects.create("p1", by=BY, tier="Free", billing_account="acc")
    assert registry.projects.find("p1") == project
    assert (project.tier, project.billing_account, project.priority) == ("free", "acc", 0)
    with pytest.raises(ConflictError):
        registry.projects.create("p1", by=BY)


def test_only_the_named_fields_of_a_project_change(registry):
    registry.projects.create("p1", by=BY, tier="free", billing_account="acc", labels={"a": "b"})
    project = registry.projects.set("p1", by=BY, billing_account=None, priority=-3, enabled=False)
    assert project.billing_account is None
    assert (project.tier, project.priority, project.enabled) == ("free", -3, False)
    assert project.labels == {"a": "b"}
    changed = registry.events.read()[-1]
    assert changed.detail == {
        "before": {"billing_account": "acc", "priority": 0, "enabled": True},
        "after": {"billing_account": None, "priority": -3, "enabled": False},
    }


def test_setting_what_is_set_makes_no_revision(registry):
    registry.projects.create("p1", by=BY, priority=2)
    before = registry.revision()
    registry.projects.set("p1", by=BY, priority=2)
    assert registry.revision() == before


@pytest.mark.parametrize(
    "fields", [{"tier": ""}, {"billing_account": " "}, {"priority": 10**9}, {"labels": {"": "x"}}]
)
def test_malformed_fields_are_refused(registry, fields):
    with pytest.raises(UsageError):
        registry.projects.create("p1", by=BY, **fields)


def test_a_project_with_keys_is_removed_only_on_demand(registry):
    registry.keys.add(NewKey("k1", Secret("s"), "p1"), by=BY)
    registry.quotas.set(QuotaScope(project="p1"), {"rpm": 5}, by=BY)
    with pytest.raises(ConflictError, match="still has 1 key"):
        registry.projects.remove("p1", by=BY)
    registry.projects.remove("p1", by=BY, with_keys=True)
    catalog = registry.catalog()
    assert (catalog.projects, catalog.keys, catalog.quotas) == ({}, {}, ())
    assert [pool.project_ids for pool in catalog.pools.values()] == [frozenset()]


def test_a_removed_project_is_found_by_nobody_and_is_the_same_when_it_comes_back(registry):
    before = registry.projects.create("alpha", by=BY, tier="free", egress_proxy=Secret(PROXY))
    registry.projects.remove("alpha", by=BY)
    for name in ("alpha", "alpah"):
        with pytest.raises(NotFoundError) as caught:
            registry.projects.find(name)
        assert caught.value.hint == "see: keypool project list"
    news = [NewKey(f"k{each}", Secret(f"s{each}"), "alpha", priority=2) for each in range(2)]
    assert [each.error for each in registry.keys.add_many(news, by=BY)] == [None, None]
    again = registry.projects.find("alpha")
    assert (again.id, again.tier, again.priority) == (before.id, None, 2)
    assert (again.enabled, again.egress_proxy, again.egress_sealed) == (True, None, None)


def test_only_a_project_that_is_removed_is_forgotten(registry):
    gone, kept = (registry.projects.create(each, by=BY) for each in ("gone", "kept"))
    registry.projects.remove("gone", by=BY)
    before = registry.revision()
    assert registry.projects.forget(gone.removed_at_ms or 0, by=BY) == []
    assert registry.revision() == before
    assert registry.projects.forget(2**53, by=BY) == [gone.id]
    assert registry.revision() == before + 1
    assert registry.projects.find("kept") == kept


def test_what_a_reset_names_is_configured(registry):
    ids = [registry.projects.create(name, by=BY).id for name in ("gone", "kept")]
    registry.projects.remove("gone", by=BY)
    registry.marks.reset(Reset(ids), by=BY)
    assert registry.events.read()[-1].detail["projects"] == ["kept"]


def test_unknown_names_say_how_to_find_one(registry):
    registry.projects.create("alpha", by=BY)
    with pytest.raises(NotFoundError) as caught:
        registry.projects.set("alhpa", by=BY, priority=1)
    assert caught.value.hint == "did you mean 'alpha'? see: keypool project list"
    with pytest.raises(NotFoundError) as caught:
        registry.pools.find("nope")
    assert caught.value.hint == "see: keypool pool list"


def test_a_pool_is_made_changed_and_removed(registry):
    pool = registry.pools.create("chat", by=BY, policy=Policy.PACK)
    assert (pool.policy, pool.wait_s) == (Policy.PACK, 0.0)
    with pytest.raises(ConflictError):
        registry.pools.create("chat", by=BY)
    pool = registry.pools.set("chat", by=BY, wait_s=2.5)
    assert registry.pools.find("chat") == pool
    assert (pool.policy, pool.wait_s) == (Policy.PACK, 2.5)
    registry.pools.remove("chat", by=BY)
    assert registry.catalog().pools == {}


@pytest.mark.parametrize("wait_s", [-1, 301, float("nan")])
def test_a_pool_waits_at_most_five_minutes(registry, wait_s):
    with pytest.raises(UsageError):
        registry.pools.create("chat", by=BY, wait_s=wait_s)


def test_projects_join_and_leave_pools(registry):
    project = registry.projects.create("p1", by=BY)
    registry.pools.create("chat", by=BY)
    for _ in range(2):
        assert registry.pools.include("chat", "p1", by=BY).project_ids == {project.id}
    for _ in range(2):
        assert registry.pools.exclude("chat", "p1", by=BY).project_ids == frozenset()
    kinds = [event.kind for event in registry.events.read()]
    assert kinds == ["project.created", "pool.created", "pool.included", "pool.excluded"]
