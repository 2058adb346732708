"""``check``: what upstream says of keys, and what that proves."""

import pytest

from keypool_cli.errors import ExitCode
from tests.support.command_line import secret_of, terminal
from tests.support.simulator import simulator

MODEL = "gemini-2.5-flash"


@pytest.fixture(scope="module")
def gemini():
    """A simulator that knows k1 and k2, of p1 and p2."""
    projects = {f"p{n}": {"keys": [secret_of(f"k{n}")]} for n in (1, 2)}
    with simulator({"projects": projects, "models": [MODEL]}) as running:
        yield running


@pytest.fixture
def two(keypool, gemini, monkeypatch):
    """A pool of k1 and k2, which Gemini knows."""
    gemini.clear_faults()
    gemini.reset()
    monkeypatch.setenv("KEYPOOL_UPSTREAM_URL", gemini.url)
    keypool.add("k1", "p1")
    keypool.add("k2", "p2")
    return keypool


def outcomes(result):
    return {each["key"]: each["outcome"] for each in result.json["keys"]}


def test_keys_that_gemini_knows_are_valid_and_that_is_no_proof_of_more(two, gemini):
    result = two("check", "--all", "--json")
    assert (result.code, outcomes(result)) == (0, {"k1": "valid", "k2": "valid"})
    assert all("not that it can generate" in each["says"] for each in result.json["keys"])
    assert gemini.project("p1")["accepted"] == 0, "no generation was spent"


def test_what_is_proven_is_told_once_and_whole_on_a_narrow_terminal(two, gemini, home):
    gemini.revoke(secret_of("k2"))
    two.add("k3", "p3")
    with terminal(home, "check", "--all", KEYPOOL_UPSTREAM_URL=gemini.url, size=(60, 24)) as shown:
        shown.end()
    told = " ".join(shown.text.split())
    assert "k1: upstream knows the key and lets it list models; not that it can generate" in told
    assert "k2, k3: " in told


def test_a_dead_key_is_told_and_nothing_is_changed(two, gemini):
    gemini.revoke(secret_of("k2"))
    result = two("check", "--pool", "main", "--json")
    assert result.code == ExitCode.PARTLY_DONE
    assert outcomes(result) == {"k1": "valid", "k2": "dead"}
    assert result.json["keys"][1]["rule"] == "key-invalid"
    assert [row[2] for row in two("list").rows] == ["ready", "ready"]
    assert "keypool rotate k2" in two("check", "k2").err


def test_a_dead_key_is_taken_out_of_service_where_that_is_asked(two, gemini):
    gemini.revoke(secret_of("k2"))
    result = two("check", "--all", "--set-dead", "--reason", "spring cleaning", "--json")
    assert result.json["keys"][1]["set_dead"] is True
    assert [row[2] for row in two("list").rows] == ["ready", "dead"]
    [event] = two("events", "--kind", "key.dead", "--json").json["events"]
    assert event["subject"] == "k2"
    gemini.restore(secret_of("k2"))
    again = two("check", "k1", "k2")
    assert again.code == 0
    assert "valid, but dead here: keypool enable k2" in again.err


def test_when_no_key_is_valid_it_fails(two, gemini):
    gemini.revoke(secret_of("k1"))
    assert two("check", "k1").code == ExitCode.FAILURE


def test_a_project_that_is_shut_is_not_the_keys_fault(two, gemini):
    gemini.fault("service_disabled", on="models", project="p1", times=9)
    assert outcomes(two("check", "k1", "--set-dead", "--json")) == {"k1": "blocked"}
    assert [row[2] for row in two("list").rows] == ["ready", "ready"]


def test_a_refusal_for_the_moment_leaves_it_unsure(two, gemini):
    gemini.fault("overloaded", on="models", times=1)
    assert outcomes(two("check", "k1", "--json")) == {"k1": "unsure"}


def test_a_model_is_asked_for_by_counting_tokens(two, gemini):
    result = two("check", "k1", "--model", f"models/{MODEL}", "--json")
    assert (result.code, outcomes(result)) == (0, {"k1": "valid"})
    assert MODEL in result.json["keys"][0]["says"]
    unknown = two("check", "k1", "--model", "gemini-9", "--json")
    assert outcomes(unknown) == {"k1": "blocked"}
    assert gemini.project("p1")["accepted"] == 0


def test_an_upstream_that_is_away_is_told_as_such(two, monkeypatch):
    monkeypatch.setenv("KEYPOOL_UPSTREAM_URL", "http://127.0.0.1:9")
    result = two("check", "--all", "--json")
    assert result.code == ExitCode.UNREACHABLE
    assert set(outcomes(result).values()) == {"unsure"}


@pytest.mark.parametrize("words", [[], ["k1", "--all"], ["--pool", "main", "--all"]])
def test_one_way_to_choose_keys_must_be_named(two, words):
    assert two("check", *words).code == ExitCode.USAGE


def test_unknown_names_are_not_found(two):
    assert two("check", "k11").code == ExitCode.NOT_FOUND
    assert two("check", "--pool", "mian").code == ExitCode.NOT_FOUND


def test_nothing_to_check_is_said(keypool):
    result = keypool("check", "--all")
    assert (result.code, result.out) == (0, "")
    assert "no keys to check" in result.err


def test_a_projects_calls_leave_through_its_proxy(two):
    two("project", "set", "p1", "--egress-proxy", "http://127.0.0.1:9")
    result = two("check", "--all", "--json")
    assert outcomes(result) == {"k1": "unsure", "k2": "valid"}


def test_no_answer_shows_a_secret(two, gemini):
    secret = "plain-word-of-no-known-shape"
    gemini.add_project("p3", [secret])
    two("add", "k3", "--project", "p3", "--from-stdin", stdin=secret)
    body = {"error": {"code": 400, "message": f"API key not valid: {secret}."}}
    gemini.fault("raw", on="models", times=9, status=400, body=body)
    result = two("check", "k3", "--json")
    assert "API key not valid: [redacted]" in result.out
    assert secret not in result.out + result.err
