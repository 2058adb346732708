"""Limits as they are kept: set and taken back by operators, learned from refusals."""

import pytest

from keypool_cli.core.model import MAX_LIMIT, UNLIMITED, Provenance, QuotaRow
from keypool_cli.errors import NotFoundError, UsageError
from keypool_cli.registry.values import LearnedLimits, QuotaScope
from tests.support.registry import BY, teach

SCOPES = [
    QuotaScope(),
    QuotaScope(model="m"),
    QuotaScope(tier="free"),
    QuotaScope(tier="free", model="m"),
    QuotaScope(project="p1"),
    QuotaScope(project="p1", model="m"),
]


@pytest.fixture
def project(registry):
    return registry.projects.create("p1", by=BY)


def learn(registry, project, values, at_ms=100):
    teach(registry, [LearnedLimits(project.id, "m", values, at_ms)])


def test_each_scope_has_a_row_of_its_own(registry, project, clock):
    for number, scope in enumerate(SCOPES):
        registry.quotas.set(scope, {"rpm": number}, by=BY)
    assert [row.rpm for row in registry.quotas.all()] == list(range(len(SCOPES)))
    assert registry.quotas.all()[-1] == QuotaRow(
        Provenance.CONFIGURED, project_id=project.id, model="m", rpm=5, at_ms=clock.now_ms
    )


def test_the_log_names_a_scope_as_it_is_kept(registry):
    scope = QuotaScope(tier="Tier 1", model="models/m")
    registry.quotas.set(scope, {"rpm": 1}, by=BY)
    registry.quotas.unset(scope, by=BY)
    assert [each.subject for each in registry.events.read()] == ["tier tier1 / m"] * 2


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("scope", SCOPES, ids=str)
def test_other_dimensions_of_a_scope_stay(registry, scope):
    registry.quotas.set(scope, {"rpm": 5, "tpm": MAX_LIMIT}, by=BY)
    row = registry.quotas.set(scope, {"rpm": 0, "rpd": UNLIMITED}, by=BY)
    assert (row.rpm, row.tpm, row.rpd, row.in_flight) == (0, MAX_LIMIT, UNLIMITED, None)
    assert registry.quotas.all() == [row]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("scope", "values"),
    [
        pytest.param(QuotaScope(tier="free", project="p1"), {"rpm": 1}, id="tier and project"),
        pytest.param(QuotaScope(model=" "), {"rpm": 1}, id="a blank model"),
        pytest.param(QuotaScope(), {"rpm": MAX_LIMIT + 1}, id="beyond the largest limit"),
        pytest.param(QuotaScope(), {"rpm": -2}, id="below nothing"),
        pytest.param(QuotaScope(), {"ipm": 1}, id="an unknown dimension"),
        pytest.param(QuotaScope(), {}, id="no limit at all"),
    ],
)
def test_malformed_limits_are_refused(registry, scope, values):
    with pytest.raises(UsageError):
        registry.quotas.set(scope, values, by=BY)
    assert registry.quotas.all() == []


def test_a_limit_of_an_unknown_project_is_not_found(registry):
    with pytest.raises(NotFoundError):
        registry.quotas.set(QuotaScope(project="nope"), {"rpm": 1}, by=BY)


def test_a_models_prefix_is_dropped(registry):
    assert registry.quotas.set(QuotaScope(model="models/m"), {"rpm": 1}, by=BY).model == "m"


def test_limits_are_taken_back_by_dimension_or_whole(registry):
    registry.quotas.set(QuotaScope(tier="free"), {"rpm": 5, "tpm": 7}, by=BY)
    removed = registry.quotas.unset(QuotaScope(tier="free"), ["rpm"], by=BY)
    assert (removed.before.rpm, removed.after.rpm, removed.after.tpm) == (5, None, 7)
    with pytest.raises(NotFoundError, match="tier free / every model"):
        registry.quotas.unset(QuotaScope(tier="free"), ["rpm"], by=BY)
    assert registry.quotas.unset(QuotaScope(tier="free"), by=BY).after is None
    assert registry.quotas.all() == []
    with pytest.raises(NotFoundError):
        registry.quotas.unset(QuotaScope(), by=BY)


def test_each_learned_dimension_keeps_its_own_date(registry, project):
    learn(registry, project, {"rpm": 5}, at_ms=100)
    learn(registry, project, {"rpd": 20}, at_ms=200)
    rows = registry.quotas.all()
    assert [(row.rpm, row.rpd, row.at_ms) for row in rows] == [(5, None, 100), (None, 20, 200)]
    assert {row.provenance for row in rows} == {Provenance.LEARNED}


def test_the_newest_lesson_counts_up_or_down(registry, project):
    for value, at_ms in [(5, 100), (50, 200), (7, 300), (1, 150)]:
        learn(registry, project, {"rpm": value}, at_ms)
    [row] = registry.quotas.all()
    assert (row.rpm, row.at_ms) == (7, 300)


def test_a_lesson_that_repeats_itself_only_renews_its_date(registry, project):
    learn(registry, project, {"rpm": 5}, at_ms=100)
    before = registry.revision()
    learn(registry, project, {"rpm": 5}, at_ms=200)
    assert registry.revision() == before
    assert registry.quotas.all()[0].at_ms == 200


def test_impossible_lessons_are_dropped(registry, project):
    learn(registry, project, {"rpm": -5, "ipm": 3, "tpm": MAX_LIMIT + 1})
    assert registry.quotas.all() == []


def test_learned_limits_are_forgotten_by_scope(registry, project):
    registry.quotas.set(QuotaScope(project="p1", model="m"), {"rpm": 9}, by=BY)
    learn(registry, project, {"rpm": 5, "rpd": 20})
    assert registry.quotas.unset_learned(QuotaScope(project="p1", model="other"), by=BY) == []
    assert len(registry.quotas.unset_learned(QuotaScope(project="p1", model="m"), by=BY)) == 2
    assert [row.rpm for row in registry.quotas.all()] == [9]


def test_an_alias_is_learned_once(registry):
    teach(registry, aliases={"gemini-flash-latest": "gemini-3.8-flash"})
    before = registry.revision()
    teach(registry, aliases={"gemini-flash-latest": "gemini-3.8-flash"})
    teach(registry, aliases={"same": "same"})
    assert registry.revision() == before
    teach(registry, aliases={"gemini-flash-latest": "gemini-4-flash"})
    assert registry.catalog().aliases == {"gemini-flash-latest": "gemini-4-flash"}
