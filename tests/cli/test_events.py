"""``events``: filters, words for a person, and following."""

import json
import signal
import subprocess
from subprocess import PIPE

import pytest

from keypool_cli.cli.durations import seconds_of
from keypool_cli.cli.event_text import detail_text
from keypool_cli.core.model import UNLIMITED
from keypool_cli.errors import ExitCode, UsageError
from tests.support.command_line import COMMAND, environment, terminal
from tests.support.registry import BY


@pytest.fixture
def logged(keypool):
    """Two keys added, one of them set aside."""
    keypool.add("k1", "p1")
    keypool.add("k2", "p1")
    keypool("disable", "k1", "--reason", "leaked")
    return keypool


def test_an_event_tells_who_did_what_from_which_host_and_why(logged):
    row = logged("events", "--kind", "key.disabled").rows[-1]
    assert row[1:3] == ["key.disabled", "k1"]
    assert all(row[3:5])
    assert row[5] == "leaked"


def test_events_are_chosen_by_kind_subject_and_age(logged):
    assert {row[2] for row in logged("events", "--kind", "key.").rows} == {"k1", "k2"}
    assert {row[2] for row in logged("events", "--subject", "k2").rows} == {"k2"}
    assert len(logged("events", "--since", "1h").rows) == len(logged("events").rows)
    none = logged("events", "--since", "0s")
    assert (none.code, none.out) == (0, "")
    assert none.err == "no event is as asked\n"
    assert logged("events", "--since", "yesterday").code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("1.5d", 129_600), ("30", 30)]
)
def test_a_span_is_read_as_people_write_it(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-5m", "5 weeks", "nan", "infd"])
def test_what_is_no_span_is_refused(text):
    with pytest.raises(UsageError):
        seconds_of(text)


def test_a_detail_is_told_in_words():
    detail = {
        "rule": "per-day",
        "until": "1970-01-01T00:00:01.000Z",
        "marks": [{"kind": "cool"}],
        "void": [],
        "key": None,
        "projects": ["p1", "p2"],
        "counts": {"marks": 1},
    }
    assert detail_text(detail) == (
        "rule=per-day until=1970-01-01T00:00:01.000Z marks:1 projects=p1,p2 counts=(marks=1)"
    )


def test_a_terminal_shows_words_and_a_pipe_json(logged, home):
    with terminal(home, "events", size=(200, 24)) as shown:
        assert shown.end() == 0
    assert "project=p1" in shown.text
    assert json.loads(logged("events", "--kind", "key.added").rows[0][6])["project"] == "p1"


def test_following_prints_what_happens_as_it_happens(logged, home):
    command = [*COMMAND, "events", "--follow", "--json", "-n", "1"]
    with subprocess.Popen(command, stdout=PIPE, env=environment(home)) as running:
        try:
            assert running.stdout is not None
            assert json.loads(running.stdout.readline())["kind"] == "key.disabled"
            logged("enable", "k1")
            assert json.loads(running.stdout.readline())["kind"] == "key.enabled"
            running.send_signal(signal.SIGINT)
            assert running.wait(30) == ExitCode.INTERRUPTED
        finally:
            running.kill()


@pytest.mark.usefixtures("logged")
def test_following_ends_soon_after_its_reader(home):
    command = [*COMMAND, "events", "--follow", "-n", "1"]
    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, env=environment(home)) as running:
        try:
            assert running.stdout is not None
            assert b"key.disabled" in running.stdout.readline()
            running.stdout.close()
            assert running.wait(30) == ExitCode.FAILURE
            assert running.stderr is not None
            assert running.stderr.read() == b""
        finally:
            running.kill()


def test_following_without_a_database_to_begin_with_is_an_error(home, keypool):
    (home / "keypool.db").unlink()
    (home / "keypool.db").mkdir()
    assert keypool("events", "--follow").code == ExitCode.UNREACHABLE


def test_more_events_than_there_can_be_are_all_of_them(keypool):
    keypool.add("k1", "p1")
    assert keypool("events", "-n", "9" * 20).rows == keypool("events").rows != []


def test_instants_and_limits_are_written_alike_in_a_detail_and_beside_it(keypool, registry):
    marks = [{"kind": "cool", "until_at_ms": 2_000}]
    after = {"rpm": UNLIMITED, "rpd": 0}
    detail = {"until_at_ms": 1_000, "marks": marks, "free_at_ms": None, "after": after}
    registry.events.add("refusal", "p1", by=BY, detail=detail)
    [event] = keypool("events", "--json").json["events"]
    assert event["detail"] == {
        "until": "1970-01-01T00:00:01.000Z",
        "marks": [{"kind": "cool", "until": "1970-01-01T00:00:02.000Z"}],
        "free": None,
        "after": {"rpm": "unlimited", "rpd": 0},
    }
