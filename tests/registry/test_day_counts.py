"""Day counts: the larger one of a day stays, and what was emptied stays empty."""

import pytest

from keypool_cli.core.model import Secret
from keypool_cli.registry.values import DayCount, NewKey
from tests.support.registry import BY

DAY = "2026-11-22"


@pytest.fixture
def project_id(registry):
    return registry.keys.add(NewKey("k1", Secret("s"), "p1"), by=BY).project_id


def save(registry, project_id, requests, at_ms, day=DAY):
    registry.day_counts.save([DayCount(project_id, "m", day, requests)], read_at_ms=at_ms)


def test_the_largest_count_of_a_day_stays(registry, project_id):
    for requests, at_ms in [(5, 10), (9, 20), (7, 30)]:
        save(registry, project_id, requests, at_ms)
    assert registry.day_counts.load("m", DAY) == {project_id: 9}
    assert registry.day_counts.load("m", "2026-11-23") == {}
    assert registry.day_counts.load("other", DAY) == {}


def test_an_emptied_count_is_not_brought_back_by_an_older_reading(registry, project_id):
    save(registry, project_id, 9, 10)
    registry.day_counts.empty([project_id], "m", DAY, at_ms=50)
    save(registry, project_id, 9, 50)
    assert registry.day_counts.load("m", DAY) == {project_id: 0}
    save(registry, project_id, 2, 51)
    assert registry.day_counts.load("m", DAY) == {project_id: 2}


def test_counts_of_forgotten_projects_are_dropped(registry, project_id):
    counts = [DayCount(project_id, "m", DAY, 3), DayCount(999, "m", DAY, 4)]
    registry.day_counts.save(counts, read_at_ms=1)
    assert registry.day_counts.load("m", DAY) == {project_id: 3}
    registry.projects.remove("p1", by=BY, with_keys=True)
    assert registry.day_counts.load("m", DAY) == {project_id: 3}
    registry.projects.forget(2**53, by=BY)
    registry.day_counts.save(counts, read_at_ms=1)
    assert registry.day_counts.load("m", DAY) == {}


def test_old_days_are_forgotten(registry, project_id):
    save(registry, project_id, 1, 1, day="2026-11-20")
    save(registry, project_id, 2, 1)
    assert registry.day_counts.forget(DAY) == 1
    assert registry.day_counts.load("m", DAY) == {project_id: 2}


def test_counting_makes_no_revision(registry, project_id):
    before = registry.revision()
    save(registry, project_id, 1, 1)
    registry.live_epochs.set("m", "e", at_ms=1)
    registry.live_epochs.note_use("m", at_ms=2)
    assert registry.revision() == before
