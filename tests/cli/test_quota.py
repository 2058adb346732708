"""Limits on the command line."""

import pytest

from keypool_cli.errors import ExitCode
from keypool_cli.registry.values import LearnedLimits
from tests.support.registry import teach

MODEL = "gemini-2.5-flash"


@pytest.fixture
def limited(keypool):
    keypool.add("k1", "p1")
    keypool("quota", "set", "--project", "p1", "--model", MODEL, "--rpm", "10", "--tpm", "250_000")
    return keypool


def test_limits_are_set_and_listed_with_their_origin(limited):
    [row] = limited("quota", "list").rows
    assert row[:7] == ["p1", MODEL, "10", "250000", "", "", "configured"]


def test_setting_one_limit_leaves_the_others(limited):
    result = limited(
        "quota", "set", "--project", "p1", "--model", MODEL, "--rpd", "unlimited", "--json"
    )
    quota = result.json["quota"]
    assert (quota["rpm"], quota["tpm"], quota["rpd"]) == (10, 250_000, "unlimited")


def test_scopes_are_a_project_a_tier_or_everything(keypool):
    keypool("quota", "set", "--tier", "tier1", "--rpm", "5")
    keypool("quota", "set", "--rpd", "0")
    assert [row[0] for row in keypool("quota", "list").rows] == ["every project", "tier tier1"]
    both = keypool("quota", "set", "--tier", "t", "--project", "p", "--rpm", "1")
    assert both.code == ExitCode.USAGE


@pytest.mark.parametrize("value", ["-1", "1.5", "lots", "1000000000001", "9" * 5000])
def test_a_limit_is_a_whole_number_or_unlimited(keypool, value):
    assert keypool("quota", "set", f"--rpm={value}").code == ExitCode.USAGE
    assert keypool("quota", "list").out == ""


def test_setting_nothing_is_refused(keypool):
    refused = keypool("quota", "set")
    assert refused.code == ExitCode.USAGE
    assert "hint: name one of --rpm, --tpm, --rpd, --in-flight" in refused.err


def test_what_is_assumed_of_a_tier_is_listed_with_its_date(keypool):
    rows = keypool("quota", "list", "--defaults", "--tier", "free", "--json").json["quotas"]
    [row] = [each for each in rows if each["model"] == "gemini-2.5-flash"]
    assert (row["provenance"], row["rpm"], row["at"][:4]) == ("default", 5, "2026")
    assert {each["tier"] for each in rows} == {"free"}
    assert keypool("quota", "list", "--project", "nope").code == ExitCode.NOT_FOUND


def test_a_limit_for_an_unknown_project_is_not_found(keypool):
    assert keypool("quota", "set", "--project", "p1", "--rpm", "1").code == ExitCode.NOT_FOUND


def test_unsetting_asks_after_it_looked_the_project_up(limited):
    place = ("--project", "p1", "--model", MODEL)
    assert limited("quota", "unset", *place).code == ExitCode.USAGE
    assert limited("quota", "unset", "--project", "nope").code == ExitCode.NOT_FOUND
    gone = limited("quota", "unset", *place, "--rpm", "--yes")
    assert gone.out == f"unset: p1 / {MODEL}: rpm 10\n"
    assert limited("quota", "list").rows[0][2:4] == ["", "250000"]
    assert limited("quota", "unset", *place, "--yes").code == 0
    assert limited("quota", "list").out == ""
    assert limited("quota", "unset", *place, "--yes").code == ExitCode.NOT_FOUND


def test_learned_limits_are_forgotten_and_configured_ones_stay(limited, registry):
    project = registry.projects.find("p1")
    learned = LearnedLimits(project.id, MODEL, {"rpd": 20}, at_ms=1)
    teach(registry, [learned])
    assert [row[6] for row in limited("quota", "list").rows] == ["configured", "learned"]
    gone = limited("quota", "unset", "--learned", "--yes", "--json").json["removed"]
    assert [(row["rpd"], row["provenance"]) for row in gone] == [(20, "learned")]
    assert [row[6] for row in limited("quota", "list").rows] == ["configured"]
    again = limited("quota", "unset", "--learned", "--yes")
    assert (again.code, again.out) == (0, "")


def test_a_limit_for_a_model_nobody_knows_is_set_with_a_hint(keypool):
    keypool.add("k1", "p1")
    result = keypool("quota", "set", "--project", "p1", "--model", "gemini-2.5-flsh", "--rpm", "9")
    assert (result.code, result.out) == (0, "p1 / gemini-2.5-flsh: rpm 9\n")
    assert "did you mean gemini-2.5-flash?" in result.err
    known = keypool("quota", "set", "--model", "gemini-2.5-flash", "--rpm", "9")
    assert known.err == ""
