"""Adding many keys: each line by itself, and quickly."""

import pytest

from keypool_cli.core.model import Secret
from keypool_cli.errors import ConflictError, UsageError
from keypool_cli.registry.intake import LINES_AT_ONCE
from keypool_cli.registry.values import NewKey
from tests.support.registry import BY


def lines(count):
    return [NewKey(f"k{i}", Secret(f"s{i}"), f"p{i % 3}", pool="main") for i in range(count)]


def test_each_line_succeeds_or_fails_by_itself(registry):
    outcomes = registry.keys.add_many(
        [
            NewKey("a", Secret("one"), "p", tier="free"),
            NewKey("b", Secret("one"), "p"),
            NewKey("a", Secret("two"), "p"),
            NewKey("bad\n", Secret("three"), "p"),
            NewKey("c", Secret("four"), "p", tier="tier1"),
            NewKey("d", Secret("five"), "p", tier="free"),
        ],
        by=BY,
    )
    kinds = [type(outcome.error) for outcome in outcomes]
    assert kinds == [
        type(None),
        ConflictError,
        ConflictError,
        UsageError,
        ConflictError,
        type(None),
    ]
    assert {key.name for key in registry.catalog().keys.values()} == {"a", "d"}


def test_a_repeated_import_adds_nothing(registry):
    registry.keys.add_many(lines(10), by=BY)
    before = registry.catalog()
    outcomes = registry.keys.add_many(lines(10), by=BY)
    assert all(isinstance(outcome.error, ConflictError) for outcome in outcomes)
    assert registry.catalog() == before


def test_a_dry_run_answers_the_same_and_keeps_nothing(registry):
    registry.keys.add_many(lines(2), by=BY)
    before = registry.catalog()
    planned = registry.keys.add_many(lines(5), by=BY, dry_run=True)
    assert registry.catalog() == before
    done = registry.keys.add_many(lines(5), by=BY)
    assert [(o.name, str(o.error)) for o in planned] == [(o.name, str(o.error)) for o in done]


@pytest.mark.parametrize("dry_run", [False, True])
def test_clashes_are_found_across_transactions(registry, dry_run):
    many = [*lines(LINES_AT_ONCE), NewKey("late", Secret("s0"), "p0")]
    told: list[int] = []
    outcomes = registry.keys.add_many(many, by=BY, dry_run=dry_run, progress=told.append)
    assert [o.name for o in outcomes if o.error is not None] == ["late"]
    assert told[-1] == LINES_AT_ONCE + 1
    assert len(registry.catalog().keys) == (0 if dry_run else LINES_AT_ONCE)


def test_nothing_to_add_is_no_change(registry):
    assert registry.keys.add_many([], by=BY) == []
    assert registry.keys.add_many([], by=BY, dry_run=True) == []
    assert registry.revision() == 0
