"""Which limit holds: precedence by dimension, tiers' defaults, and what refusals taught."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.core.model import DIMENSIONS, MAX_LIMIT, UNLIMITED, Project, Provenance, QuotaRow
from keypool_cli.core.quota import NO_LIMIT, EffectiveLimit, Limits, QuotaIndex
from keypool_cli.core.tiers import default_limits, tier_name

MODELS = ("gemini-2.5-flash", "unheard-of")
TIERS = (None, "free", "tier3", "house")
PROJECTS = [Project(i, f"p{i}", tier=tier) for i, tier in enumerate((*TIERS, "free"), start=1)]


def configured(at_ms=5, **fields):
    return QuotaRow(Provenance.CONFIGURED, at_ms=at_ms, **fields)


def learned(project_id=1, model="m", at_ms=9, **fields):
    return QuotaRow(Provenance.LEARNED, project_id=project_id, model=model, at_ms=at_ms, **fields)


def rpm(rows, project=PROJECTS[0], model="m"):
    return QuotaIndex(rows).effective(project, model).rpm


def test_nothing_known_is_no_limit():
    limits = QuotaIndex([]).effective(PROJECTS[0], "m")
    assert limits == Limits(NO_LIMIT, NO_LIMIT, NO_LIMIT, NO_LIMIT)
    assert (limits.rpm.value, limits.rpm.provenance) == (UNLIMITED, Provenance.DEFAULT)


FREE = Project(1, "p", tier="free")
SCOPES: dict[str, dict[str, Any]] = {
    "project and model": {"project_id": 1, "model": "m"},
    "project": {"project_id": 1},
    "tier and model": {"tier": "free", "model": "m"},
    "tier": {"tier": "free"},
    "model": {"model": "m"},
    "everything": {},
}


@pytest.mark.parametrize("position", range(6), ids=SCOPES)
def test_the_most_specific_scope_wins(position):
    stated = list(enumerate(SCOPES.values()))[position:]
    rows = [configured(rpm=number, **scope) for number, scope in stated]
    assert rpm(reversed(rows), FREE).value == position


def test_each_dimension_is_decided_by_itself():
    rows = [configured(project_id=1, rpm=5), configured(tier="free", rpm=1, tpm=7)]
    limits = QuotaIndex(rows).effective(FREE, "m")
    assert (limits.rpm.value, limits.tpm.value, limits.rpd) == (5, 7, NO_LIMIT)


def test_a_tier_named_like_a_number_is_not_a_project():
    assert rpm([configured(tier="1", rpm=5)]) == NO_LIMIT


def test_a_known_tier_and_model_has_a_dated_default():
    limit = rpm([], FREE, "gemini-2.5-flash")
    assert (limit.value, limit.provenance) == (5, Provenance.DEFAULT)
    assert limit.at_ms > 0
    assert rpm([configured(rpm=9)], FREE, "gemini-2.5-flash").value == 9


@pytest.mark.parametrize(
    ("stated", "taught", "expected"),
    [
        pytest.param(None, 5, 5, id="a lesson replaces no limit"),
        pytest.param(10, 5, 5, id="a lesson lowers what is configured"),
        pytest.param(5, 10, 5, id="a lesson does not raise what is configured"),
        pytest.param(UNLIMITED, 5, 5, id="a lesson lowers unlimited"),
        pytest.param(5, UNLIMITED, 5, id="unlimited is no lower limit"),
        pytest.param(5, 0, 0, id="a lesson may be that nothing is offered"),
    ],
)
def test_lessons_and_operators(stated, taught, expected):
    rows = [learned(rpm=taught)] + ([] if stated is None else [configured(rpm=stated)])
    assert rpm(rows).value == expected


@pytest.mark.parametrize("taught", [1, 50])
def test_a_lesson_replaces_a_default_up_or_down(taught):
    model = "gemini-2.5-flash"
    limit = rpm([learned(model=model, rpm=taught)], FREE, model)
    assert limit == EffectiveLimit(taught, Provenance.LEARNED, 9)


def test_a_lesson_is_about_one_project_and_model():
    rows = [learned(rpm=5)]
    assert rpm(rows, PROJECTS[1]) == NO_LIMIT
    assert rpm(rows, model="other") == NO_LIMIT


def test_the_newest_lesson_of_a_dimension_counts():
    rows = [learned(rpm=5, at_ms=20), learned(rpm=6, at_ms=10), learned(rpd=7, at_ms=30)]
    for order in (rows, rows[::-1]):
        limits = QuotaIndex(order).effective(PROJECTS[0], "m")
        assert (limits.rpm.value, limits.rpm.at_ms, limits.rpd.at_ms) == (5, 20, 30)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_zero_anywhere_means_not_offered(dimension):
    offered = dict.fromkeys(DIMENSIONS, 5)
    index = QuotaIndex([configured(**(offered | {dimension: 0}))])
    assert not index.effective(PROJECTS[0], "m").is_offered
    assert QuotaIndex([configured(**offered)]).effective(PROJECTS[0], "m").is_offered


def test_projects_without_rows_of_their_own_share_one_value():
    index = QuotaIndex([configured(tier="free", rpm=5)])
    first, second = PROJECTS[1], PROJECTS[4]
    assert index.effective(first, "m") is index.effective(second, "m")


VALUES = st.sampled_from([None, 0, 1, 7, 5_000_000, MAX_LIMIT, UNLIMITED])
SCOPED = st.one_of(
    st.fixed_dictionaries({"project_id": st.sampled_from([1, 2, 3])}),
    st.fixed_dictionaries({"tier": st.sampled_from(TIERS[1:])}),
    st.just({}),
)
CONFIGURED = st.builds(
    lambda scope, model, values: configured(**scope, model=model, **values),
    SCOPED,
    st.sampled_from([None, *MODELS]),
    st.fixed_dictionaries(dict.fromkeys(DIMENSIONS, VALUES)),
)
LEARNED = st.builds(
    lambda project_id, model, dimension, value, at_ms: learned(
        project_id, model, at_ms, **{dimension: value}
    ),
    st.sampled_from([1, 2, 3]),
    st.sampled_from(MODELS),
    st.sampled_from(DIMENSIONS),
    VALUES.filter(lambda value: value is not None),
    st.just(9),
)
ROWS = st.tuples(
    st.lists(CONFIGURED, unique_by=lambda row: (row.project_id, row.tier, row.model)),
    st.lists(LEARNED, unique_by=lambda row: (row.project_id, row.model, str(row)[-80:])),
)


def naive(rows, project, model, dimension):
    """The rule, read out loud, scanning every row at every step."""
    places = [
        (project.id, None, model),
        (project.id, None, None),
        (None, project.tier, model),
        (None, project.tier, None),
        (None, None, model),
        (None, None, None),
    ]
    stated = None
    for place in places:
        for row in rows:
            if (
                stated is None
                and row.provenance is Provenance.CONFIGURED
                and (row.project_id, row.tier, row.model) == place
            ):
                stated = getattr(row, dimension)
    lessons = [
        getattr(row, dimension)
        for row in rows
        if row.provenance is Provenance.LEARNED
        and (row.project_id, row.model) == (project.id, model)
        and getattr(row, dimension) is not None
    ]
    if stated is None:
        if lessons:
            return lessons[-1]
        default = getattr(default_limits(project.tier, model), dimension, None)
        return UNLIMITED if default is None else default
    for lesson in lessons[-1:]:
        if lesson != UNLIMITED and (stated == UNLIMITED or lesson < stated):
            return lesson
    return stated


@given(ROWS, st.sampled_from(PROJECTS), st.sampled_from(MODELS))
def test_the_index_agrees_with_the_rule_read_out_loud(rows, project, model):
    every = [*rows[0], *rows[1]]
    limits = QuotaIndex(every).effective(project, model)
    for dimension in DIMENSIONS:
        assert getattr(limits, dimension).value == naive(every, project, model, dimension)


@pytest.mark.parametrize("text", ["tier1", "Tier 1", "T1", " 1 ", "tier-1", "TIER_1"])
def test_a_tier_has_one_name(text):
    assert tier_name(text) == "tier1"


def test_a_tier_of_ones_own_keeps_its_words():
    assert tier_name(" Gold Partners ") == "gold partners"


@pytest.mark.parametrize(
    ("tier", "tpm"), [("tier1", 1_000_000), ("tier2", 3_000_000), ("tier3", 8_000_000)]
)
def test_paid_tiers_have_defaults_of_their_own(tier, tpm):
    known = default_limits(tier, "gemini-2.5-flash")
    assert known is not None
    assert known.tpm == tpm


def test_a_higher_tier_takes_what_is_known_of_the_one_below():
    assert default_limits("tier3", "gemini-2.5-pro") == default_limits("tier1", "gemini-2.5-pro")
    assert default_limits("free", "gemini-3.1-pro") is None
    assert default_limits("house", "gemini-2.5-pro") is None
    assert default_limits(None, "gemini-2.5-pro") is None
