"""What refusals leave behind: kept once, the longer cooldown, void after a reset."""

from dataclasses import replace

import pytest

from keypool_cli.core.model import KeyState, Mark, MarkKind, MarkScope, Secret
from keypool_cli.registry.values import (
    DeadKey,
    EventFilter,
    LearnedLimits,
    NewKey,
    Recorded,
    Refusal,
    Reset,
)
from tests.support.registry import BY, teach

MODEL = "gemini-2.5-flash"


@pytest.fixture
def projects(registry):
    """p1 and p2 share a billing account, p3 has none; each has one key."""
    news = [NewKey(f"k{i}", Secret(f"s{i}"), f"p{i}") for i in (1, 2, 3)]
    registry.keys.add_many(news, by=BY)
    for name in ("p1", "p2"):
        registry.projects.set(name, by=BY, billing_account="acc")
    return {name: registry.projects.find(name).id for name in ("p1", "p2", "p3")}


@pytest.fixture
def cooldown(projects, clock):
    return Mark(
        scope=MarkScope.PROJECT_MODEL,
        kind=MarkKind.COOL,
        rule="rpd",
        reason="quota",
        at_ms=clock.now_ms,
        granted_at_ms=clock.now_ms - 1000,
        project_id=projects["p1"],
        model=MODEL,
        until_at_ms=clock.now_ms + 60_000,
    )


def billing(cooldown, **fields):
    fields = {
        "scope": MarkScope.BILLING,
        "model": None,
        "project_id": None,
        "billing_account": "acc",
    } | fields
    return replace(cooldown, **fields)


def record(registry, *marks, **fields):
    [outcome] = registry.marks.record([Refusal("p1", marks=marks, **fields)], by=BY)
    return outcome


def test_a_refusal_is_kept_with_all_that_it_decided(registry, projects, cooldown):
    key = registry.keys.find("k1")
    refusal = Refusal(
        "p1",
        lease_id="lease-1",
        source="app",
        marks=(cooldown,),
        dead_keys=(DeadKey(key.id, "key_invalid", "not valid"),),
        limits=(LearnedLimits(projects["p1"], MODEL, {"rpd": 20}, cooldown.at_ms),),
        aliases={"gemini-flash-latest": MODEL},
        reason="429",
        detail={"status": 429},
    )
    assert registry.marks.record([refusal], by=BY) == [
        Recorded(standing=(cooldown,), dead_key_ids=(key.id,))
    ]
    catalog = registry.catalog()
    assert catalog.marks == (cooldown,)
    assert catalog.keys[key.id].state is KeyState.DEAD
    assert catalog.keys[key.id].rule == "key_invalid"
    assert [(row.rpd, row.model) for row in catalog.quotas] == [(20, MODEL)]
    assert catalog.aliases == {"gemini-flash-latest": MODEL}
    [event] = registry.events.read(EventFilter(kind="refusal"))
    assert (event.actor, event.host, event.reason) == ("app", "host-1", "429")
    assert event.detail["status"] == 429


def test_a_lease_is_recorded_once(registry, cooldown):
    record(registry, cooldown, lease_id="lease-1")
    longer = replace(cooldown, until_at_ms=cooldown.until_at_ms + 1)
    assert record(registry, longer, lease_id="lease-1") == Recorded(repeated=True)
    assert registry.marks.all() == [cooldown]
    assert len(registry.events.read(EventFilter(kind="refusal"))) == 1


def test_a_lease_is_recorded_once_within_one_batch(registry, cooldown):
    refusal = Refusal("p1", lease_id="lease-1", marks=(cooldown,))
    outcomes = registry.marks.record([refusal, refusal, Refusal("p1"), Refusal("p1")], by=BY)
    assert [outcome.repeated for outcome in outcomes] == [False, True, False, False]


@pytest.mark.parametrize("longer_first", [True, False])
def test_the_longer_cooldown_stands(registry, cooldown, longer_first):
    longer = replace(cooldown, until_at_ms=cooldown.until_at_ms + 1, rule="longer")
    first, second = (longer, cooldown) if longer_first else (cooldown, longer)
    record(registry, first)
    outcome = record(registry, second)
    assert registry.marks.all() == [longer]
    assert outcome.standing == (longer,)


def test_cooldowns_of_different_places_stand_side_by_side(registry, projects, cooldown):
    marks = (
        cooldown,
        replace(cooldown, model="other"),
        replace(cooldown, project_id=projects["p2"]),
        replace(cooldown, scope=MarkScope.PROJECT, model=None),
        replace(cooldown, kind=MarkKind.EXCLUDE, until_at_ms=None),
        billing(cooldown),
    )
    record(registry, *marks)
    assert set(registry.marks.all()) == set(marks)


def test_a_call_granted_before_a_reset_no_longer_cools(registry, projects, cooldown):
    reset_at_ms = cooldown.granted_at_ms
    registry.marks.reset(Reset([projects["p1"]], at_ms=reset_at_ms), by=BY)
    outcome = record(registry, cooldown)
    assert (outcome.standing, outcome.void) == ((), (cooldown,))
    assert registry.marks.all() == []
    later = replace(cooldown, granted_at_ms=reset_at_ms + 1)
    assert record(registry, later).standing == (later,)


def test_a_reset_of_one_project_voids_what_others_report_of_its_account(
    registry, projects, cooldown
):
    registry.marks.reset(Reset([projects["p1"]], at_ms=cooldown.granted_at_ms), by=BY)
    told = billing(cooldown, project_id=projects["p2"])
    assert record(registry, told).void == (billing(cooldown),)


def test_evidence_of_a_dead_key_counts_also_after_a_reset(registry, projects, cooldown):
    registry.marks.reset(Reset([projects["p1"]], at_ms=cooldown.at_ms), by=BY)
    dead = DeadKey(registry.keys.find("k1").id, "key_invalid", "not valid")
    outcome = record(registry, cooldown, dead_keys=(dead,))
    assert (outcome.void, outcome.dead_key_ids) == ((cooldown,), (dead.key_id,))


def test_a_billing_mark_without_an_account_is_its_projects(registry, projects, cooldown):
    mark = billing(cooldown, billing_account=None, project_id=projects["p3"])
    [stands] = record(registry, mark).standing
    assert (stands.scope, stands.project_id) == (MarkScope.PROJECT, projects["p3"])


def test_an_accounts_cooldown_outlives_the_project_that_told_of_it(registry, projects, cooldown):
    record(registry, billing(cooldown, project_id=projects["p1"]))
    registry.projects.remove("p1", by=BY, with_keys=True)
    assert registry.marks.all() == [billing(cooldown)]
    assert registry.marks.reset(Reset([projects["p2"]]), by=BY).marks == (billing(cooldown),)


def test_a_refusal_of_what_is_gone_or_strange_fails_nobody(registry, cooldown):
    gone = replace(cooldown, project_id=999)
    strange = replace(cooldown, reason="half \ud800 and \0", rule="strange")
    outcome = record(
        registry,
        gone,
        strange,
        dead_keys=(DeadKey(999, "x", "y"),),
        limits=(LearnedLimits(999, MODEL, {"rpm": 1}, 1), LearnedLimits(1, "m\n", {"rpm": 1}, 1)),
        aliases={"a\0": MODEL},
        reason="\ud800" + "x" * 9999,
        detail={"body": "\ud800\0"},
    )
    assert (outcome.void, outcome.dead_key_ids) == ((gone,), ())
    [mark] = registry.marks.all()
    assert mark.reason == "half ? and \N{REPLACEMENT CHARACTER}"
    assert registry.catalog().aliases == {}
    assert registry.events.read()[-1].detail["body"] == "?\0"


LATEST = "gemini-flash-latest"


@pytest.mark.parametrize("alias_first", [True, False], ids=["known before", "learned later"])
def test_a_mark_under_an_alias_stands_under_the_buckets_model(registry, cooldown, alias_first):
    excluded = replace(cooldown, kind=MarkKind.EXCLUDE, until_at_ms=None)
    asked = [replace(each, model=LATEST) for each in (cooldown, excluded)]
    if alias_first:
        teach(registry, aliases={LATEST: MODEL})
        before = registry.revision()
        record(registry, asked[0])
        assert registry.revision() > before  # or no daemon would look for it there
        record(registry, asked[1])
    else:
        record(registry, *asked)
        record(registry, aliases={LATEST: MODEL})
    assert set(registry.catalog().marks) == {cooldown, excluded}


def test_the_refusal_that_teaches_an_alias_marks_the_buckets_model(registry, cooldown):
    asked = replace(cooldown, model=LATEST)
    assert record(registry, asked, aliases={LATEST: MODEL}).standing == (cooldown,)
    assert registry.catalog().marks == (cooldown,)


def test_only_wide_or_lasting_marks_make_a_new_revision(registry, cooldown):
    def raised(*marks):
        before = registry.revision()
        record(registry, *marks)
        return registry.revision() - before

    assert raised(cooldown) == 0
    assert raised(billing(cooldown)) == 1
    assert raised(replace(cooldown, scope=MarkScope.PROJECT, model=None)) == 1
    assert raised(replace(cooldown, kind=MarkKind.EXCLUDE, until_at_ms=None)) == 1


def test_a_reset_clears_the_project_and_its_account_and_nothing_else(
    registry, projects, cooldown, clock
):
    own, other = cooldown, replace(cooldown, project_id=projects["p3"])
    account = billing(cooldown)
    excluded = replace(cooldown, kind=MarkKind.EXCLUDE, until_at_ms=None)
    sibling = replace(cooldown, project_id=projects["p2"])
    record(registry, own, other, account, excluded, sibling)
    report = registry.marks.reset(Reset([projects["p1"]]), by=BY)
    assert set(report.marks) == {own, account}
    assert set(registry.marks.all()) == {other, excluded, sibling}
    found = registry.catalog().projects
    assert found[projects["p1"]].reset_at_ms == clock.now_ms
    assert found[projects["p3"]].reset_at_ms == 0


def test_a_reset_of_one_model_clears_that_model_and_what_blocks_it(registry, projects, cooldown):
    other = replace(cooldown, model="other")
    wide = replace(cooldown, scope=MarkScope.PROJECT, model=None)
    record(registry, cooldown, other, wide)
    asked = Reset([projects["p1"]], model=MODEL, at_ms=cooldown.granted_at_ms)
    report = registry.marks.reset(asked, by=BY)
    assert set(report.marks) == {cooldown, wide}
    assert [each for each in registry.marks.all() if each.kind is not MarkKind.RESET] == [other]
    assert record(registry, cooldown, other).void == (cooldown,)
    later = replace(cooldown, granted_at_ms=cooldown.granted_at_ms + 1)
    assert record(registry, later).standing == (later,)


def test_a_reset_of_one_model_is_known_for_two_days_and_never_moves_back(
    registry, projects, cooldown
):
    at_ms = cooldown.granted_at_ms
    for each in (at_ms, at_ms - 1):
        registry.marks.reset(Reset([projects["p1"]], model=MODEL, at_ms=each), by=BY)
    assert record(registry, cooldown).void == (cooldown,)
    assert registry.marks.expire(at_ms + 2 * 86_400_000 - 1) == 0
    assert registry.marks.expire(at_ms + 2 * 86_400_000) == 1


def test_failures_are_forgotten_on_demand_but_never_an_operators_word(registry, projects, cooldown):
    excluded = replace(cooldown, kind=MarkKind.EXCLUDE, until_at_ms=None)
    blocked = replace(excluded, kind=MarkKind.DISABLE, scope=MarkScope.PROJECT, model=None)
    dead = DeadKey(registry.keys.find("k1").id, "key_invalid", "not valid")
    record(registry, excluded, blocked, dead_keys=(dead,))
    registry.keys.disable("k2", by=BY)
    registry.projects.set("p3", by=BY, enabled=False)
    everything = [*projects.values()]
    assert registry.marks.reset(Reset(everything), by=BY).marks == ()
    report = registry.marks.reset(Reset(everything, failures=True), by=BY)
    assert set(report.marks) == {excluded, blocked}
    assert [(key.name, key.state) for key in report.keys] == [("k1", KeyState.DEAD)]
    assert registry.keys.find("k1").state is KeyState.READY
    assert registry.keys.find("k2").state is KeyState.DISABLED
    assert not registry.projects.find("p3").enabled


def test_a_reset_revives_the_keys_of_its_projects_only(registry, projects):
    ids = [registry.keys.find(name).id for name in ("k1", "k2")]
    record(registry, dead_keys=tuple(DeadKey(i, "key_invalid", "not valid") for i in ids))
    asked = Reset([projects["p2"]], failures=True)
    assert [key.name for key in registry.marks.reset(asked, by=BY).keys] == ["k2"]
    assert registry.keys.find("k1").state is KeyState.DEAD


def test_a_rehearsed_reset_tells_all_and_changes_nothing(registry, projects, cooldown):
    record(registry, cooldown)
    before = registry.catalog(), registry.events.read()
    assert registry.marks.reset(Reset([*projects.values()]), by=BY, dry_run=True).marks == (
        cooldown,
    )
    assert (registry.catalog(), registry.events.read()) == before


def test_a_reset_is_logged_and_never_moves_back(registry, projects, clock):
    registry.marks.reset(Reset([projects["p1"]]), by=BY)
    registry.marks.reset(Reset([projects["p1"]], at_ms=5), by=BY)
    assert registry.projects.find("p1").reset_at_ms == clock.now_ms
    first, second = registry.events.read(EventFilter(kind="reset"))
    assert (first.subject, first.detail["projects"]) == ("p1", ["p1"])
    assert second.detail["counts"] == {"projects": 1, "marks": 0, "keys": 0}


def test_cooldowns_that_are_over_can_be_swept(registry, cooldown):
    excluded = replace(cooldown, kind=MarkKind.EXCLUDE, until_at_ms=None)
    record(registry, cooldown, excluded)
    assert registry.marks.expire(cooldown.until_at_ms - 1) == 0
    assert registry.marks.expire(cooldown.until_at_ms) == 1
    assert registry.marks.all() == [excluded]
