"""``top``: what it prints, what each key does, and how the last minute is drawn."""

import asyncio
import json
import signal
import subprocess
from pathlib import Path
from subprocess import PIPE

import msgspec
import pytest

from keypool_cli.cli.status_text import rows_of
from keypool_cli.cli.top_history import History, sparkline
from keypool_cli.cli.top_keys import keys_in
from keypool_cli.cli.top_state import State, matching, press, row_id
from keypool_cli.cli.top_view import _counts
from keypool_cli.config import load
from keypool_cli.errors import ExitCode
from keypool_cli.service.instances import INSTANCES, Record
from keypool_cli.service.mirror import looking
from keypool_cli.service.standing import KeyStatus, ModelStatus, ProjectStatus, Use
from tests.support.command_line import COMMAND, environment, process
from tests.support.schemas import check

MODEL = "gemini-2.5-flash"


@pytest.fixture
def pool(live_home, keypool):  # noqa: ARG001 - its server runs as long as the test
    """Three projects; the last is disabled."""
    for number in (1, 2, 3):
        keypool.add(f"k{number}", f"p{number}")
    keypool("quota", "set", "--model", MODEL, "--rpm", "10", "--tpm", "1000", "--rpd", "20")
    keypool("disable", "k3")
    return keypool


async def _report(home, **values):
    """What a daemon said; dated ahead, so that it is recent however long the test takes."""
    async with looking(load({"home": Path(home)})) as look:
        now = await look.engine.now_ms()
        record = Record(
            host="far",
            pid=7,
            started_at_ms=now - 9000,
            at_ms=now - values.pop("age_ms", -600_000),
            leases=5,
            leases_per_s=2.5,
            waiting=0,
            refused={"tpm": 3},
            errors={"per-minute": 4},
        )
        value = msgspec.msgpack.encode(record)
        await look.engine.store.client.hset(INSTANCES, values.pop("name", "d1"), value)


def test_piped_it_prints_a_line_of_json(pool):
    result = pool("top", "--once")
    assert (result.code, result.out.count("\n")) == (0, 1)
    found = result.json
    assert found["schema"] == 1
    assert (found["pools"][0]["ready"], found["pools"][0]["disabled"]) == (2, 1)
    assert [row["project"] for row in found["rows"]] == ["p3", "p1", "p2"]
    assert found["rows"][1]["rpm"] == {"used": 0, "limit": 10, "provenance": "configured"}
    assert (found["leases"], found["queue"], found["instances"]) == (0, {}, [])


def test_piped_without_once_it_goes_on(pool, live_home):  # noqa: ARG001 - it is in that home
    command = [*COMMAND, "top", "--every", "0.2"]
    with subprocess.Popen(command, stdout=PIPE, env=environment(live_home)) as running:
        assert running.stdout is not None
        lines = [json.loads(running.stdout.readline()) for _ in range(2)]
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == ExitCode.INTERRUPTED
    assert lines[0]["at"] < lines[1]["at"]


def test_rows_are_limited_and_the_rest_counted(pool):
    found = pool("top", "--once", "--limit", "1", "--sort", "project").json
    assert [row["project"] for row in found["rows"]] == ["p1"]
    assert found["more"] == 2


def test_a_project_in_two_pools_is_shown_once(pool):
    pool("pool", "set", "other", "--create", "--add-project", "p1")
    found = pool("top", "--once").json
    assert [each["pool"] for each in found["pools"]] == ["main", "other"]
    assert sorted(row["project"] for row in found["rows"]) == ["p1", "p2", "p3"]


def test_each_line_of_a_stream_is_as_its_schema_says(pool, live_home):
    asyncio.run(_report(live_home))
    pool("pool", "set", "empty", "--create")
    pool.add("k4", "مشروع المبيعات")
    command = [*COMMAND, "top", "--every", "0.2", "--limit", "3", "--json"]
    with subprocess.Popen(command, stdout=PIPE, env=environment(live_home)) as running:
        assert running.stdout is not None
        lines = [check("top", json.loads(running.stdout.readline())) for _ in range(3)]
        running.send_signal(signal.SIGINT)
        running.wait(30)
    for line in lines:
        assert len(line["rows"]) == 3
        assert line["more"] == 1
        assert line["instances"][0]["reporting"]


async def test_daemons_are_summed_up_and_silent_ones_count_for_nothing(live_home):
    await _report(live_home, name="d1")
    await _report(live_home, name="d2")
    await _report(live_home, name="d3", age_ms=20_000)
    found = json.loads(process(live_home, "top", "--once").out)
    assert found["leases_per_s"] == 5.0
    assert found["errors"] == {"per-minute": 8}
    assert found["refused"] == {"tpm": 6}
    assert sorted(each["reporting"] for each in found["instances"]) == [False, True, True]


def test_an_unknown_pool_is_told_with_names_that_are_alike(pool):
    result = pool("top", "--once", "--pool", "mian")
    assert result.code == ExitCode.NOT_FOUND
    assert "did you mean 'main'" in result.err


def test_an_unknown_order_is_told(pool):
    result = pool("top", "--once", "--sort", "size")
    assert result.code == ExitCode.USAGE
    assert "problems, project, model" in result.err


def test_an_empty_registry_is_no_failure(keypool):
    assert keypool("top", "--once").json["rows"] == []


def project(name, *models, state="ready", keys=("k",)):
    return ProjectStatus(
        project=name,
        tier=None,
        state=state,
        models=list(models),
        keys=[KeyStatus(f"{each}-{name}", "0" * 12, "ready") for each in keys],
    )


def model(name="m", state="ready", rpm=0):
    none = Use(0, None, "default")
    return ModelStatus(name, state, 0, Use(rpm, 10, "configured"), none, none)


START = State()
ROWS = rows_of([project(name, model()) for name in ("a", "b", "c")])


def pressed(keys, state=START, rows=ROWS, page=2):
    for key in keys:
        state = press(state, key, rows, page=page)
    return state


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        pytest.param(["j"], "a", id="the first step points at the first row"),
        pytest.param(["j", "j"], "b", id="down"),
        pytest.param(["j", "\x1b[B"], "b", id="an arrow does the same"),
        pytest.param(["j", "j", "k"], "a", id="up"),
        pytest.param(["j", "k", "k"], "a", id="not above the first"),
        pytest.param(["G", "j"], "c", id="not below the last"),
        pytest.param(["j", "\x1b[6~"], "c", id="a page"),
        pytest.param(["G", "g"], "a", id="back to the first"),
    ],
)
def test_rows_are_pointed_at(keys, chosen):
    assert pressed(keys).chosen == (chosen, "m")


def test_the_row_pointed_at_is_followed_when_rows_change_places():
    state = pressed(["j", "j"])
    assert pressed(["j"], state, rows=ROWS[::-1]).chosen == ("a", "m")


def test_enter_opens_the_project_and_escape_closes_it():
    opened = pressed(["j", "j", "\r"])
    assert opened.opened == "b"
    assert pressed(["\x1b"], opened).opened is None


def test_typing_a_filter_takes_letters_that_are_keys_elsewhere():
    state = pressed(["/", "q", "p", "\x7f"])
    assert (state.wanted, state.typing, state.done, state.paused) == ("q", True, False, False)
    kept = pressed(["\r"], state)
    assert (kept.wanted, kept.typing) == ("q", False)
    assert pressed(["\x1b"], kept).wanted == ""


def test_keys_sort_pause_and_quit():
    assert pressed(["s"]).sort == "project"
    assert pressed(["s", "S"]).sort == "problems"
    assert pressed(["S"]).sort == "left"
    assert pressed(["p"]).paused
    assert not pressed(["p", " "]).paused
    assert pressed(["q"]).done


def test_any_key_is_safe_where_there_are_no_rows():
    for key in ("j", "k", "\r", "G", "\x1b[6~", "x", "\x1b[Z"):
        assert pressed([key], rows=[]).chosen is None


def test_a_filter_looks_at_project_model_state_and_keys_whatever_the_case():
    rows = rows_of([project("Alpha", model("x", "cooling")), project("beta", model("y"))])
    for text in ("alp", "X", "cool", "k-alpha"):
        assert [row_id(row) for row in matching(rows, text)] == [("Alpha", "x")]
    assert matching(rows, "nothing") == []


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("j\x1b[Aq", ["j", "\x1b[A", "q"]),
        ("\x1b[5~\x1bOB", ["\x1b[5~", "\x1bOB"]),
        ("\x1b", ["\x1b"]),
        ("é", ["é"]),
    ],
)
def test_what_a_terminal_sends_is_taken_apart_into_keys(sent, keys):
    assert keys_in(sent) == keys


@pytest.mark.parametrize(
    ("samples", "limit", "line"),
    [
        pytest.param([(60, 5)], 10, "   ▅", id="one sample stands on the right"),
        pytest.param([(1, 0), (60, 10)], 10, "▁▁▁█", id="what was last known holds until the next"),
        pytest.param([(20, 10), (60, 40)], 10, " ███", id="never higher than full"),
        pytest.param([(50, 2), (60, 4)], None, "   █", id="without a limit the largest is full"),
        pytest.param([(-5, 9), (60, 0)], 10, "   ▁", id="older than a minute is not shown"),
        pytest.param([(60, 0)], 0, "   ▁", id="a limit of nothing"),
    ],
)
def test_a_minute_is_drawn_in_four_cells(samples, limit, line):
    assert sparkline(samples, 60, limit, 4) == line


def test_history_keeps_one_sample_a_second_for_a_minute():
    history = History()
    for tick in range(1300):
        history.add([project("a", model(rpm=1))], tick / 10)
    assert all(len(each) <= 61 for each in history._samples.values())
    assert history.line(("a", "m"), "rpm", 8, 4) == "▂▂▂▂"


def test_rows_that_were_never_used_take_no_memory():
    history = History()
    history.add([project("a", model(rpm=0)), project("b", model(rpm=1))], 1.0)
    assert {row for (row, _) in history._samples} == {("b", "m")}


def test_what_a_demand_lacked_is_told_in_words():
    assert _counts({"tpm": 3, "none": 1}) == "tpm 3, no project left 1"
    assert _counts({}) == "none"
