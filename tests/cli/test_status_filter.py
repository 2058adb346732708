"""How much of a pool may be used before ``status --check`` fails."""

from typing import Any

import pytest
from msgspec import structs

from keypool_cli.cli.status_filter import Thresholds, check, share_of
from keypool_cli.errors import NoCapacityError, UsageError
from keypool_cli.service.standing import ModelStatus, PoolStatus, ProjectStatus, Status, Use

FREE = Use(0, None, "default")


def project(name, used, limit, state="ready"):
    model = ModelStatus("m", state, 0, Use(used, limit, "configured"), FREE, FREE)
    return ProjectStatus(name, None, state, [model], [])


def pool(*projects, name="main"):
    counts: dict[str, Any] = dict.fromkeys(
        ("ready", "full", "cooling", "excluded", "disabled", "dead"), 0
    )
    for each in projects:
        counts[each.state] += 1
    return PoolStatus(pool=name, projects=list(projects), **counts)


@pytest.mark.parametrize(
    ("projects", "fails"),
    [
        pytest.param([project("a", 9, 10), project("b", 0, 10)], False, id="what is used together"),
        pytest.param([project("a", 9, 10), project("b", 10, 10, "full")], True, id="full ones too"),
        pytest.param(
            [project("a", 1, 10), project("b", 10, 10, "cooling")], False, id="not what cools"
        ),
        pytest.param(
            [project("a", 9, 10), project("b", 0, None)], False, id="one without a limit is enough"
        ),
        pytest.param([project("a", 9, 10)], False, id="just as much as allowed"),
        pytest.param([project("a", 91, 100)], True, id="a little more"),
    ],
)
def test_a_share_is_counted_over_all_that_can_serve(projects, fails):
    status = Status(1, "2026-11-22T00:00:00.000Z", [pool(*projects)])
    if not fails:
        check(status, Thresholds(max_used=0.9))
        return
    with pytest.raises(NoCapacityError, match="of its rpm on m"):
        check(status, Thresholds(max_used=0.9))


def test_every_problem_is_told_in_one_line():
    pools = [pool(project("a", 10, 10)), pool(project("b", 0, 9, "dead"), name="other")]
    with pytest.raises(NoCapacityError) as told:
        check(Status(1, "", pools), Thresholds(max_used=0.5))
    assert str(told.value) == (
        "pool 'other': no project is able to serve; pool 'main' has used 100% of its rpm on m"
    )


def on(name, **states):
    """A project on the models a and b, in these states."""
    models = [ModelStatus(each, state, 0, FREE, FREE, FREE) for each, state in states.items()]
    return ProjectStatus(name, None, "ready", models, [])


@pytest.mark.parametrize(
    ("projects", "told"),
    [
        pytest.param([on("p", a="ready", b="cooling")], None, id="a model that is served"),
        pytest.param([on("p", a="cooling", b="ready")], "no project", id="one that cools"),
        pytest.param([on("p", a="full")], None, id="one that is full serves"),
        pytest.param([on("p", b="cooling")], None, id="one never used is not held"),
        pytest.param(
            [structs.replace(on("p", b="ready"), state="disabled")],
            "no project",
            id="a project off",
        ),
        pytest.param(
            [structs.replace(on("p", b="ready"), rule="no-credit")], "no project", id="held whole"
        ),
    ],
)
def test_a_named_model_must_be_served_itself(projects, told):
    status = Status(1, "", [pool(*projects)])
    asked = Thresholds(models=frozenset({"a"}))
    if told is None:
        check(status, asked)
        return
    with pytest.raises(NoCapacityError, match=f"{told} is able to serve on a"):
        check(status, asked)


def test_the_share_of_a_named_model_alone_counts():
    status = Status(1, "", [pool(project("p", 10, 10))])
    check(status, Thresholds(max_used=0.5, models=frozenset({"other"})))
    with pytest.raises(NoCapacityError):
        check(status, Thresholds(max_used=0.5, models=frozenset({"m"})))


@pytest.mark.parametrize(("text", "share"), [("90%", 0.9), ("90", 0.9), ("0", 0.0), (None, None)])
def test_a_share_is_read_as_a_percentage(text, share):
    assert share_of(text) == share


@pytest.mark.parametrize("text", ["101%", "-1", "nan", "much", ""])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(UsageError):
        share_of(text)
