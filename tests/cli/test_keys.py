"""Keys on the command line: stored, listed, set aside, rotated, removed."""

import pytest
import redis

from keypool_cli.errors import ExitCode
from tests.support.command_line import secret_of, terminal
from tests.support.valkey import private_valkey


def test_a_key_is_stored_and_listed_without_its_secret(keypool):
    added = keypool.add("k1", "p1", "--pool", "main", "--tier", "Tier 1", "--label", "team=a")
    assert added.code == 0
    [row] = keypool("list").rows
    assert row[:4] == ["k1", "p1", "ready", "main"]
    shown = keypool("show", "k1", "--json")
    key = shown.json["key"]
    assert (key["tier"], key["labels"]) == ("tier1", {"team": "a"})
    assert key["fingerprint"] in added.out
    for told in (added, keypool("list"), keypool("list", "--json"), keypool("show", "k1"), shown):
        assert secret_of("k1") not in told.out + told.err


def test_a_label_has_one_value(keypool):
    assert keypool.add("k1", "p1", "-l", "team=a", "-l", "team=a").code == 0
    for words in (["add", "k2", "--project", "p1", "--from-stdin"], ["list"], ["status"]):
        result = keypool(*words, "-l", "team=a", "-l", "team=b", stdin="s2")
        assert result.code == ExitCode.USAGE
        assert "the label 'team' is given two values: 'a', 'b'" in result.err
    assert len(keypool("list").rows) == 1


def test_an_answer_in_json_has_a_schema(keypool):
    added = keypool.add("k1", "p1", "--json").json
    assert added["schema"] == 1
    assert added["key"]["name"] == "k1"
    assert added["key"]["state"] == "ready"
    assert added["key"]["created_at"].endswith("Z")
    assert keypool("list", "--json").json == {"schema": 1, "keys": [added["key"]]}


@pytest.mark.parametrize("source", ["--from-stdin", "--from-env", "--from-file"])
def test_a_secret_comes_from_one_source_without_the_white_space_around_it(
    keypool, tmp_path, monkeypatch, source
):
    monkeypatch.setenv("A_SECRET", f"  {secret_of('k1')}\n")
    (tmp_path / "secret").write_text(f"\ufeff{secret_of('k1')} \n")
    value = {"--from-stdin": [], "--from-env": ["A_SECRET"], "--from-file": ["secret"]}[source]
    result = keypool(
        "add", "k1", "--project", "p1", source, *value, stdin=f" {secret_of('k1')}\r\n"
    )
    assert result.code == 0, result.err
    # A twin of it is found, so it was stored without the white space.
    twin = keypool("add", "k2", "--project", "p1", "--from-stdin", stdin=secret_of("k1"))
    assert twin.code == ExitCode.CONFLICT


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["--from-stdin", "--from-env", "X"], "more than one source", id="two sources"),
        pytest.param([], "no terminal to ask", id="no source and no terminal"),
        pytest.param(["--from-env", "NOT_SET"], "NOT_SET is not set", id="a variable not set"),
        pytest.param(["--from-file", "nowhere"], "nowhere cannot be read", id="a missing file"),
        pytest.param(["--from-stdin"], "the secret is empty", id="an empty secret"),
    ],
)
def test_without_a_secret_nothing_is_stored(keypool, words, says):
    result = keypool("add", "k1", "--project", "p1", *words, stdin=" \n")
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert says in result.err
    assert keypool("list").out == ""


def test_a_secret_stored_twice_is_a_conflict_and_changes_nothing(keypool):
    keypool.add("k1", "p1")
    before = keypool("events").out
    twice = keypool("add", "k2", "--project", "p2", "--from-stdin", stdin=secret_of("k1"))
    assert twice.code == ExitCode.CONFLICT
    assert "as key 'k1'" in twice.err
    assert keypool("events").out == before
    assert len(keypool("list").rows) == 1


def test_another_tier_for_an_existing_project_is_a_conflict_that_names_the_command(keypool):
    keypool.add("k1", "p1", "--tier", "free")
    other = keypool.add("k2", "p1", "--tier", "tier2")
    assert other.code == ExitCode.CONFLICT
    assert "keypool project set p1 --tier tier2" in other.err


@pytest.mark.parametrize(
    ("tier", "says"),
    [
        (["--tier", "teir1"], "nothing is assumed of tier teir1; did you mean tier1?"),
        ([], "keypool project set p1 --tier free"),
        (["--tier", "gold"], ""),
    ],
)
def test_a_tier_that_is_mistyped_or_missing_is_told(keypool, tier, says):
    *told, following = keypool.add("k1", "p1", *tier).err.splitlines()
    assert following == "hint: next: keypool check k1; keypool client add APP; keypool serve"
    assert says in "".join(told)
    assert bool(told) == bool(says)
    if tier:
        assert says in keypool("project", "set", "p1", *tier).err


def test_a_secret_given_as_the_name_is_refused_and_not_repeated(keypool):
    secret = secret_of("k1")
    result = keypool("add", secret, "--project", "p1", "--from-stdin", stdin="other-secret")
    assert result.code == ExitCode.USAGE
    assert secret not in result.err
    assert keypool("list").out == ""


def test_a_secret_given_as_a_stray_word_is_not_repeated(keypool):
    secret = secret_of("k1")
    result = keypool("add", "k1", secret, "--project", "p1")
    assert result.code == ExitCode.USAGE
    assert secret not in result.err


def test_disabling_an_unknown_key_says_how_to_find_one(keypool):
    result = keypool("disable", "nope")
    assert result.code == ExitCode.NOT_FOUND
    assert result.err == "keypool: no key named 'nope'\nhint: see: keypool list\n"


def test_a_mistyped_name_gets_the_right_one_suggested(keypool):
    keypool.add("primary", "p1")
    result = keypool("show", "pirmary")
    assert result.code == ExitCode.NOT_FOUND
    assert "did you mean 'primary'?" in result.err


def test_one_unknown_name_among_many_changes_nothing(keypool):
    keypool.add("k1", "p1")
    assert keypool("disable", "k1", "nope").code == ExitCode.NOT_FOUND
    assert keypool("show", "k1", "--json").json["key"]["state"] == "ready"


def test_keys_are_disabled_with_a_reason_and_enabled_again(keypool):
    keypool.add("k1", "p1")
    keypool.add("k2", "p1")
    disabled = keypool("disable", "k1", "k2", "--reason", "on holiday")
    assert disabled.out == "k1 is disabled\nk2 is disabled\n"
    key = keypool("show", "k1", "--json").json["key"]
    assert (key["state"], key["rule"], key["reason"]) == ("disabled", "operator", "on holiday")
    assert keypool("enable", "k1", "--json").json["keys"][0]["state"] == "ready"
    assert keypool("list", "--state", "disabled").rows[0][0] == "k2"


def test_rotating_changes_the_fingerprint_alone(keypool):
    before = keypool.add("k1", "p1", "--json").json["key"]
    rotated = keypool("rotate", "k1", "--from-stdin", "--json", stdin="another-secret-text").json
    assert rotated["before"]["fingerprint"] == before["fingerprint"]
    assert rotated["key"]["fingerprint"] != before["fingerprint"]
    assert rotated["key"] | {"fingerprint": ""} == before | {"fingerprint": ""}


def test_rotating_an_unknown_key_asks_for_no_secret(keypool):
    assert keypool("rotate", "nope").code == ExitCode.NOT_FOUND


def test_removing_asks_and_without_a_terminal_needs_yes(keypool):
    keypool.add("k1", "p1")
    asked = keypool("remove", "k1")
    assert asked.code == ExitCode.USAGE
    assert "add --yes" in asked.err
    assert keypool("remove", "nope").code == ExitCode.NOT_FOUND
    assert keypool("remove", "k1", "--yes").out == "k1 is removed\n"
    assert keypool("list").out == ""


def test_keys_are_listed_by_project_pool_and_label(keypool):
    keypool.add("k1", "p1", "--pool", "main", "--label", "team=a")
    keypool.add("k2", "p2", "--pool", "batch", "--label", "team=b")
    for words in (["--project", "p2"], ["--pool", "batch"], ["-l", "team=b"]):
        assert [row[0] for row in keypool("list", *words).rows] == ["k2"], words
    assert keypool("list", "-l", "nonsense").code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--project", "p11"], ExitCode.NOT_FOUND, "did you mean 'p1'?"),
        (["--pool", "mian"], ExitCode.NOT_FOUND, "did you mean 'main'?"),
        (["--state", "redy"], ExitCode.USAGE, "states are: ready, disabled, dead"),
        (["--state", "dead"], ExitCode.OK, "no key is as asked"),
    ],
)
def test_a_list_knows_what_is_mistyped_from_what_is_not_there(keypool, words, code, says):
    keypool.add("k1", "p1")
    result = keypool("list", *words)
    assert (result.code, result.out) == (code, "")
    assert says in result.err


def test_an_empty_registry_says_what_to_do_next_and_is_no_failure(keypool):
    result = keypool("list")
    assert (result.code, result.out) == (0, "")
    assert "keypool add NAME --project PROJECT" in result.err
    assert keypool("--quiet", "list").err == ""


def test_control_characters_of_a_reason_reach_no_terminal(keypool):
    keypool.add("k1", "p1")
    keypool("disable", "k1", "--reason", "a\x1b[31mb\tc")
    assert keypool("list").rows[0][-1] == "a [31mb c"


def test_a_change_that_the_live_store_cannot_be_told_is_made_and_said_to_be(
    keypool, tmp_path, monkeypatch
):
    keypool.add("k1", "p1")
    with private_valkey(tmp_path) as url, redis.Redis.from_url(url) as live:
        monkeypatch.setenv("KEYPOOL_REDIS_URL", url)
        ask = ["explain", "--model", "gemini-2.5-flash", "--tokens", "1"]
        assert keypool(*ask).code == 0
        live.config_set("maxmemory", 1)
        result = keypool("disable", "k1")
        assert result.code == ExitCode.UNREACHABLE
        assert "the change is made, but daemons have not all heard of it" in result.err
        assert [row[2] for row in keypool("list").rows] == ["disabled"]
        live.config_set("maxmemory", 0)
        assert keypool(*ask).code == ExitCode.NO_CAPACITY


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["add", "k1", "opaque-1", "--project", "p"], id="a secret behind the name"),
        pytest.param(["rotate", "k1", "opaque-1"], id="a new secret behind the name"),
        pytest.param(
            ["add", "k1", "--project", "p", "--from-env", "opaque-1"], id="in place of a variable"
        ),
        pytest.param(["add", "k2", "--project", secret_of("x")], id="in place of a project"),
        pytest.param(["client", "add", secret_of("x")], id="in place of a client"),
    ],
)
def test_a_secret_in_a_wrong_place_is_refused_and_not_repeated(keypool, words):
    keypool.add("k1", "p1")
    result = keypool(*words)
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert "opaque" not in result.err
    assert secret_of("x") not in result.err


def test_a_name_that_is_taken_is_refused_before_the_secret_is_asked_for(home, keypool):
    keypool.add("k1", "p1")
    with terminal(home, "add", "k1", "--project", "p1") as asked:
        assert asked.end() == ExitCode.CONFLICT
    assert "not shown" not in asked.text
    assert "keypool rotate k1" in asked.text


@pytest.mark.parametrize(
    ("words", "question"),
    [
        pytest.param(["add", "k2", "--project", "p1"], "(not shown): ", id="a secret"),
        pytest.param(["remove", "k1"], "[y/N] ", id="a confirmation"),
    ],
)
@pytest.mark.parametrize(("key", "code"), [("\x03", 130), ("\x04", 1)], ids=["ctrl-c", "ctrl-d"])
def test_a_question_that_is_broken_off_ends_its_line_and_says_that_nothing_changed(
    home, keypool, words, question, key, code
):
    keypool.add("k1", "p1")
    with terminal(home, *words) as asked:
        asked.read_until(lambda text: question in text)
        asked.type(key)
        assert asked.end() == code
    answer = asked.text.partition(question)[2].replace("^C", "")
    assert answer == "\r\nkeypool: nothing was changed\r\n"
    assert [row[0] for row in keypool("list").rows] == ["k1"]


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        pytest.param(["rotate", "k1", "--from-stdin"], secret_of("k2"), id="a secret"),
        pytest.param(
            ["project", "set", "p1", "--egress-proxy", "-"],
            "http://me:hunter2@h:1",
            id="a password",
        ),
    ],
)
def test_a_secret_that_is_typed_for_stdin_is_not_shown(home, keypool, words, typed):
    keypool.add("k1", "p1")
    with terminal(home, *words) as asking:
        asking.read_until(lambda text: "(not shown): " in text)
        asking.type(f"{typed}\n")
        assert asking.end() == 0, asking.text
    assert typed not in asking.text


@pytest.mark.parametrize("words", [["list"], ["status"], ["explain", "--model", "m"]])
def test_an_empty_registry_is_named_for_whoever_expected_another(keypool, home, words):
    result = keypool(*words)
    assert f" in sqlite:///{home}/keypool.db (KEYPOOL_HOME, KEYPOOL_DATABASE_URL)" in result.err
