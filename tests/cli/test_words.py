"""How widths, numbers and spans of time are written."""

import pytest

from keypool_cli.cli.durations import in_words
from keypool_cli.cli.status import with_watch_interval
from keypool_cli.cli.status_text import clock
from keypool_cli.cli.status_view import short
from keypool_cli.cli.tables import shortened
from keypool_cli.cli.verbs import asks_for_help, options_first


@pytest.mark.parametrize(
    ("widths", "room", "expected"),
    [
        pytest.param([3, 5], 10, [3, 5], id="what fits stays"),
        pytest.param([3, 50, 5], 20, [3, 12, 5], id="the widest gives way alone"),
        pytest.param([3, 50, 60], 23, [3, 10, 10], id="wide ones give way together"),
        pytest.param([9, 9], 1, [1, 1], id="nothing vanishes altogether"),
    ],
)
def test_the_widest_columns_are_shortened_first(widths, room, expected):
    assert shortened(widths, room) == expected


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (-1, "0 s"),
        (41.4, "41 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7500, "2 h 05 min"),
        (172_800, "2 d 0 h"),
    ],
)
def test_spans_are_written_in_the_unit_that_matters(seconds, words):
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1500, "1.5k"),
        (250_000, "250k"),
        (4_000_000, "4M"),
        (10**12, "1000G"),
    ],
)
def test_numbers_are_short_in_pictures(number, text):
    assert short(number) == text


def test_an_instant_has_its_date_where_that_is_another_day():
    now = "2026-11-22T23:00:00.000Z"
    assert clock("2026-11-22T23:00:41.500Z", now) == "23:00:41 UTC"
    assert clock("2026-11-23T08:00:00.000Z", now) == "2026-11-23 08:00:00 UTC"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["status", "--watch"], ["status", "--watch=2"]),
        (["status", "--watch", "--json"], ["status", "--watch=2", "--json"]),
        (["status", "--watch", "0.5"], ["status", "--watch", "0.5"]),
        (["status", "--watch=5"], ["status", "--watch=5"]),
        (["status", "--watch", "soon"], ["status", "--watch", "soon"]),
        ([], []),
    ],
)
def test_watch_has_an_interval_of_its_own_where_none_is_given(words, expected):
    assert with_watch_interval(words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["list", "-q"], ["-q", "list"]),
        (["list", "--home", "h", "--json"], ["--home=h", "list", "--json"]),
        (["list", "--home=h", "-v"], ["--home=h", "-v", "list"]),
        (["show", "--", "-q"], ["show", "--", "-q"]),
        (["--json", "-q", "list"], ["-q", "list", "--json"]),
        (["--home", "h", "--json", "show", "--", "-q"], ["--home=h", "show", "--json", "--", "-q"]),
    ],
)
def test_options_of_every_verb_are_taken_before_it_and_after_it(words, expected):
    assert options_first(words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["help"], ["--help"]),
        (["help", "quota", "set"], ["quota", "set", "--help"]),
        (["-q", "help", "list"], ["-q", "list", "--help"]),
        (["show", "help"], ["show", "help"]),
    ],
)
def test_help_is_asked_for_in_front_as_well(words, expected):
    assert asks_for_help(words) == expected
