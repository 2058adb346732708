"""Worlds from files, their defaults, and how the process starts."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from keypool_cli.errors import ExitCode, UsageError
from keypool_cli.simulator.limiter import Limits
from keypool_cli.simulator.refusals import GeminiError
from keypool_cli.simulator.state import State
from keypool_cli.simulator.world import ProjectSpec, World, default_world, load_world
from tests.support.simulator import error_of

TOML = """
window_s = 2
day_hint = "true"
counts = "counts.jsonl"
[projects.p]
keys = ["k"]
tier = "tier1"
[projects.p.models."*"]
rpm = 5
"""

NS = 10**9
EVENING = int(datetime(2026, 6, 2, 6, 59, 30, tzinfo=UTC).timestamp()) * NS
"""Half a minute before midnight Pacific, in summer."""


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def test_toml_and_json_say_the_same(tmp_path):
    world = load_world(write(tmp_path, "w.toml", TOML))
    assert world.projects["p"] == ProjectSpec(
        keys=("k",), tier="tier1", models={"*": Limits(rpm=5)}
    )
    assert world.window_s == 2
    assert str(world.counts) == "counts.jsonl"
    as_json = '{"projects": {"p": {"keys": ["k"], "tier": "tier1", "models": {"*": {"rpm": 5}}}}}'
    assert load_world(write(tmp_path, "w.json", as_json)).projects == world.projects


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("w.json", "{", id="broken JSON"),
        pytest.param("w.toml", "=", id="broken TOML"),
        pytest.param("w.json", '{"windows": 1}', id="an unknown setting"),
        pytest.param("w.json", '{"projects": {"p": {"tier": "gold"}}}', id="an unknown tier"),
        pytest.param("w.json", '{"window_s": 0}', id="a window of no length"),
        pytest.param("w.json", '{"day_zone": "Mars/Base"}', id="an unknown zone"),
        pytest.param("missing.json", None, id="no file"),
    ],
)
def test_a_wrong_world_is_a_usage_error(tmp_path, name, text):
    path = write(tmp_path, name, text) if text is not None else tmp_path / name
    with pytest.raises(UsageError):
        load_world(path)


def test_a_project_without_limits_has_those_of_its_tier():
    assert ProjectSpec().limits("gemini-2.5-flash") == Limits(5, 250_000, 20)
    assert ProjectSpec(tier="tier1").limits("gemini-2.5-flash") == Limits(1000, 1_000_000, 10_000)
    assert ProjectSpec().limits("unheard-of") == Limits()
    assert ProjectSpec(models={"*": Limits(rpm=1)}).limits("unheard-of") == Limits(rpm=1)


def spent_day(hint):
    """A state just before midnight whose only request of the day is used."""
    now = [EVENING]
    world = World(
        projects={"p": ProjectSpec(keys=("k",), models={"m": Limits(rpd=1)})}, day_hint=hint
    )
    state = State(world, lambda: now[0])
    state.admit(state.projects["p"], "m", 1)
    return state, now


@pytest.mark.parametrize(
    ("hint", "delay"),
    [
        pytest.param("short", "30s", id="to the next minute, which misleads"),
        pytest.param("true", "30s", id="to midnight Pacific"),
        pytest.param("utc", "61230s", id="to midnight UTC"),
    ],
)
def test_the_hint_of_a_spent_day(hint, delay):
    state, _ = spent_day(hint)
    with pytest.raises(GeminiError) as caught:
        state.admit(state.projects["p"], "m", 1)
    assert error_of(caught.value)["details"][2]["retryDelay"] == delay


def test_a_day_begins_again_at_midnight_pacific():
    state, now = spent_day("short")
    now[0] += 30 * NS - 1
    with pytest.raises(GeminiError):
        state.admit(state.projects["p"], "m", 1)
    now[0] += 1
    state.admit(state.projects["p"], "m", 1)


def test_a_clock_set_back_does_not_bring_windows_back():
    state, now = spent_day("short")
    now[0] -= 60 * NS
    assert state.now_ns() == EVENING


def test_the_process_says_what_is_wrong_with_its_config(tmp_path):
    command = [sys.executable, "-m", "keypool_cli.simulator", "--config", str(tmp_path / "no")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.startswith("simulator: cannot read the world")


def test_the_default_world_takes_any_key_with_its_prefix():
    state = State(default_world(), lambda: EVENING)
    assert state.owner("sim-p1-a") is state.owner("sim-p1-b")
    assert state.owner("other") is None


def test_the_default_world_embeds():
    state = State(default_world(), clock_ns=lambda: 0)
    assert state.has_model("gemini-embedding-001")
    project = state.owner("sim-p-1")
    assert project is not None
    for _ in range(100):
        state.admit(project, "gemini-embedding-001", 5)
    with pytest.raises(GeminiError) as refused:
        state.admit(project, "gemini-embedding-001", 5)
    [violation] = error_of(refused.value)["details"][1]["violations"]
    assert violation["quotaDimensions"]["model"] == "gemini-embedding-1.0"
    assert violation["quotaValue"] == "100"
