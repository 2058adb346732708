"""``status``, ``reset`` and ``explain``: on a real live store."""

import asyncio
import json
import re
import subprocess
import sys
import time

import pytest

from keypool_cli.cli.status_text import WHOLE_PROJECT_RULES
from keypool_cli.config import load
from keypool_cli.core import refusal_rules
from keypool_cli.core.model import Mark, MarkKind, MarkScope
from keypool_cli.core.refusal_rules import Action, Ruling, Scope
from keypool_cli.engine.types import Acquired, Demand, Grant
from keypool_cli.errors import ExitCode
from keypool_cli.registry.values import DeadKey, Refusal
from keypool_cli.service.lease_ids import new_lease_id
from keypool_cli.service.ports import opened
from keypool_cli.service.sync import read_configured, sync_model
from tests.support.command_line import environment
from tests.support.registry import BY, teach

MODEL = "gemini-2.5-flash"


@pytest.fixture
def pool(live_home, keypool):  # noqa: ARG001 - its server runs as long as the test
    """Three projects with a key each in pool ``main``, limited on one model."""
    for number in (1, 2, 3):
        keypool.add(f"k{number}", f"p{number}", "--pool", "main")
    keypool("quota", "set", "--model", MODEL, "--rpm", "10", "--tpm", "1000", "--rpd", "20")
    return keypool


@pytest.fixture
def cool(registry):
    """Record that a project cools on the model, as a refusal's settlement does.

    whole: a rule by which it cools on every model.
    """

    def record(name, *, seconds=3600, kind=MarkKind.COOL, whole=None):
        now = time.time_ns() // 1_000_000
        mark = Mark(
            scope=MarkScope.PROJECT if whole else MarkScope.PROJECT_MODEL,
            kind=kind,
            rule=whole or "per-day",
            reason="the day's requests are used up",
            at_ms=now,
            granted_at_ms=now,
            project_id=registry.projects.find(name).id,
            model=None if whole else MODEL,
            until_at_ms=now + seconds * 1000 if kind is MarkKind.COOL else None,
        )
        registry.marks.record([Refusal(subject=name, marks=(mark,))], by=BY)

    return record


@pytest.fixture
def kill_key(registry):
    """Record that upstream refused a key itself."""

    def record(name):
        dead = DeadKey(registry.keys.find(name).id, "key-invalid", "API key not valid")
        registry.marks.record([Refusal(subject=name, dead_keys=(dead,))], by=BY)

    return record


def lease(home, *, tokens, pool="main"):
    """Take a lease as a daemon does, and keep it."""

    async def take():
        async with opened(load({"home": home})) as ports:
            configured = await read_configured(ports)
            await sync_model(ports, MODEL, configured)
            answer = await ports.engine.acquire(
                MODEL,
                configured.pools[pool].id,
                [Demand(new_lease_id(MODEL), 1, tokens)],
                revision=configured.revision,
            )
        assert isinstance(answer, Acquired)
        [granted] = answer.results
        assert isinstance(granted, Grant)

    asyncio.run(take())


def test_the_first_line_is_the_answer(pool, cool):
    cool("p2", seconds=90)
    [headline, *rows] = pool("status").out.splitlines()
    said = re.fullmatch(
        r"main: 2 of 3 projects ready, 1 cooling, next at .+ UTC in (\d+) s", headline
    )
    assert said is not None, headline
    assert 60 < int(said[1]) <= 90
    assert [row.split("\t")[1:4] for row in rows] == [
        ["p2", MODEL, "cooling"],
        ["p1", MODEL, "ready"],
        ["p3", MODEL, "ready"],
    ]


def test_rows_hold_use_limits_provenance_leases_reason_and_keys(pool, cool, live_home):
    cool("p2")
    cool("p3")
    lease(live_home, tokens=300)
    rows = {row[1]: row for row in pool("status").rows[1:]}
    assert rows["p1"][4:9] == ["1/10 c", "300/1000 c", "1/20 c", "1", ""]
    assert rows["p2"][9] == "the day's requests are used up (per-day)"
    assert int(rows["p2"][8]) in range(3500, 3601)
    assert rows["p1"][10].startswith("k1 ")


def test_a_project_without_room_this_minute_counts_as_able_to_serve(pool, live_home):
    pool("pool", "set", "one", "--create", "--add-project", "p1")
    lease(live_home, tokens=1000, pool="one")
    result = pool("status", "--pool", "one", "--check")
    assert result.code == 0
    assert "one: 1 of 1 projects ready, 1 of them full this minute, next at" in result.out


def test_json_is_the_contract(pool, cool):
    cool("p1")
    status = pool("status", "--json").json
    assert status["schema"] == 1
    [main] = status["pools"]
    states = ("ready", "full", "cooling", "excluded", "disabled", "dead")
    assert [main[state] for state in states] == [2, 0, 1, 0, 0, 0]
    [first, *_] = main["projects"]
    assert first["state"] == "cooling"
    [model] = first["models"]
    assert model["rule"] == "per-day"
    assert model["rpm"] == {"used": 0, "limit": 10, "provenance": "configured"}


def test_a_model_that_nobody_can_serve_is_told_though_projects_are_ready(pool):
    pool("quota", "set", "--model", "other", "--rpm", "0")
    result = pool("status", "--model", "other")
    assert result.out.startswith("main: 3 of 3 projects ready")
    assert result.code == 0
    told, hint = result.err.splitlines()[-2:]
    assert told == "pool 'main': no project is able to serve on other"
    assert hint == "hint: to see why: keypool explain --pool main --model other"
    assert pool("status", "--model", MODEL).err == ""
    assert pool("status").err == ""


def test_rows_can_be_chosen_while_the_headline_stays(pool, cool):
    cool("p2")
    for words in (["--project", "p2"], ["--state", "cooling"]):
        result = pool("status", *words)
        assert result.out.startswith("main: 2 of 3 projects ready")
        assert [row[1] for row in result.rows[1:]] == ["p2"]
    assert pool("status", "--model", "other").rows[1:] == []
    assert pool("status", "--state", "sleepy").code == ExitCode.USAGE
    assert "did you mean 'p1'" in pool("status", "--project", "p11").err
    assert "did you mean 'main'" in pool("status", "--pool", "mian").err


def test_check_fails_when_a_pool_has_no_capacity(pool):
    assert pool("status", "--check").code == 0
    assert pool("status", "--check", "--min-ready", "4").code == ExitCode.NO_CAPACITY
    pool("disable", "k1", "k2", "k3")
    result = pool("status", "--check")
    assert result.code == ExitCode.NO_CAPACITY
    assert result.out.startswith("main: 0 of 3 projects ready, 3 disabled")


def test_an_empty_registry_is_no_failure_unless_capacity_is_checked(keypool):
    result = keypool("status")
    assert (result.code, result.out) == (0, "")
    assert result.err.endswith("hint: to store a key: keypool add NAME --project PROJECT\n")
    assert keypool("status", "--check").code == ExitCode.NO_CAPACITY
    assert keypool("status", "--json").json["pools"] == []


def test_the_hint_is_a_command_that_helps(pool, cool, keypool):
    cool("p2")
    hint = pool("status").err.strip()
    assert hint.endswith(f"keypool reset --project p2 --model {MODEL}")
    assert keypool.line(hint[hint.index("keypool reset") :]).code == 0
    assert pool("status").err == ""
    pool("disable", "k1")
    assert pool("status").err.strip().endswith("keypool enable k1")


def test_each_kind_of_trouble_has_its_command_the_worst_first(pool, cool, kill_key):
    cool("p1")
    cool("p2", whole="account-spend-cap")
    kill_key("k3")
    dead, today, capped, more = pool("status").err.strip().splitlines()
    assert dead.endswith("keypool rotate k3")
    assert today.endswith(f"keypool reset --project p1 --model {MODEL}")
    assert capped.endswith("once the account's spend cap is raised: keypool reset --project p2")
    assert more.endswith("for more room: keypool add NAME --project PROJECT --pool main")
    pool("add", "k4", "--project", "p4", "--from-stdin", stdin="sim-p4-1")
    assert "for more room" not in pool("status").err


def test_rows_of_a_model_are_found_by_its_alias(pool, registry):
    teach(registry, aliases={"gemini-flash-latest": MODEL})
    result = pool("status", "--model", "gemini-flash-latest")
    assert [row[2] for row in result.rows[1:]] == [MODEL] * 3
    assert result.err == ""
    assert "did you mean" not in pool("reset", "k1", "--model", "gemini-flash-latest").err


def test_a_project_that_cools_as_a_whole_says_why_though_no_model_of_it_was_used(pool, cool):
    pool("quota", "unset", "--model", MODEL, "--yes")
    cool("p1", whole="account-spend-cap")
    row = next(row for row in pool("status").rows[1:] if row[1] == "p1")
    assert row[2:8] == ["", "cooling", "", "", "", ""]
    assert 3590 < int(row[8]) <= 3600
    assert row[9] == "the day's requests are used up (account-spend-cap)"
    told = pool("status", "--json").json["pools"][0]
    [project] = [each for each in told["projects"] if each["project"] == "p1"]
    assert project.keys() == {"project", "tier", "state", "models", "keys"}, "as promised"
    assert 3590 < told["next_ready_s"] <= 3600
    pool("project", "set", "p2", "--disable")
    assert "disabled by an operator" in pool("status", "--state", "disabled").out


def test_the_rules_that_stop_whole_projects_are_those_of_refusals():
    rulings = [each for each in vars(refusal_rules).values() if isinstance(each, Ruling)]
    wide = {Scope.PROJECT, Scope.BILLING}
    found = {each.rule for each in rulings if each.scope in wide and each.action is Action.COOL}
    assert found == WHOLE_PROJECT_RULES


@pytest.mark.parametrize("rule", sorted(WHOLE_PROJECT_RULES))
def test_the_hint_lifts_what_stops_a_whole_project(pool, cool, rule):
    cool("p2", whole=rule)
    hint = pool("status").err.strip()
    assert hint.endswith("keypool reset --project p2")
    assert pool.line(hint[hint.index("keypool reset") :]).code == 0
    assert pool("status").out.startswith("main: 3 of 3 projects ready")


def test_a_reset_of_one_model_says_that_a_whole_project_stays_and_what_lifts_it(pool, cool):
    cool("p2", whole="project-spend-cap")
    result = pool("reset", "--project", "p2", "--model", MODEL)
    nothing, stays = result.out.splitlines()
    assert nothing == "nothing was reset in p2"
    assert stays.startswith("p2 stays cooling on every model until 2")
    assert stays.endswith("(project-spend-cap)")
    assert "1 cooling" in pool("status").out
    [held] = pool("reset", "--project", "p2", "--model", MODEL, "--json").json["held"]
    assert result.err.strip().endswith(held["command"])
    assert pool.line(held["command"]).out.startswith("reset cooldown of p2: until 2")
    assert "cooling" not in pool("status").out


def test_a_plain_reset_says_what_takes_failures(pool, cool):
    cool("p2", kind=MarkKind.EXCLUDE)
    result = pool("reset", "k2")
    assert f"p2 stays excluded on {MODEL}: the day's requests" in result.out
    assert "freed" not in result.out
    command = "keypool reset --project p2 --failures"
    assert result.err.strip().endswith(command)
    assert pool.line(command).out.startswith(f"reset exclusion of p2 / {MODEL}")


def test_a_disabled_project_is_enabled_by_the_hint(pool, keypool):
    pool("project", "set", "p1", "--disable")
    hint = pool("status").err.strip()
    assert keypool.line(hint[hint.index("keypool project") :]).code == 0
    assert pool("status").out.startswith("main: 3 of 3 projects ready")


def test_reset_tells_what_was_and_what_is_and_names_the_keys(pool, cool):
    cool("p2")
    result = pool("reset", "k2")
    [cleared, freed] = result.out.splitlines()
    assert cleared.startswith(f"reset cooldown of p2 / {MODEL}: until 2")
    assert cleared.endswith("(per-day) -> none")
    assert freed == "freed keys: k2"
    assert pool("status").out.startswith("main: 3 of 3 projects ready")


def test_nothing_to_reset_is_said_with_the_command_that_tells_what_holds_it(pool):
    result = pool("reset", "k1")
    hint = result.err.strip()
    assert hint.endswith("keypool status --project p1")
    assert pool.line(hint[hint.index("keypool status") :]).code == 0


@pytest.mark.parametrize(
    ("before", "mends"),
    [
        pytest.param(["disable", "k1"], "keypool enable k1", id="a key set aside"),
        pytest.param(
            ["project", "set", "p1", "--disable"], "keypool project set p1 --enable", id="project"
        ),
        pytest.param(
            ["pool", "set", "main", "--remove-project", "p1"],
            "keypool pool set main --add-project p1",
            id="no pool",
        ),
    ],
)
def test_where_no_refusal_holds_a_project_what_does_is_named_with_what_mends_it(
    pool, before, mends
):
    pool(*before)
    hint = pool("reset", "k1").err.strip()
    assert hint.endswith(mends)
    if before[0] != "disable":
        assert pool("enable", "k1").err.strip() == hint
    assert pool.line(mends).code == 0
    assert (
        pool("reset", "k1").err.strip().endswith("whether it is full: keypool status --project p1")
    )
    assert pool("enable", "k1").err == ""


def test_a_reset_of_an_empty_registry_says_how_to_store_a_key(pool):
    for number in (1, 2, 3):
        pool("project", "remove", f"p{number}", "--with-keys", "--yes")
    assert "keypool add NAME --project PROJECT" in pool("reset", "--all", "--yes").err


def test_nothing_to_reset_is_said_and_no_failure(pool):
    result = pool("reset", "k1")
    assert (result.code, result.out) == (0, "nothing to reset in p1\n")
    answer = pool("reset", "k1", "--json").json
    assert (answer["cleared"], answer["freed"]) == ([], [])


def test_a_dry_run_tells_the_same_and_changes_nothing(pool, cool):
    cool("p2")
    dry = pool("reset", "--pool", "main", "--dry-run")
    assert dry.code == 0
    assert pool("status").out.startswith("main: 2 of 3 projects ready")
    real = pool("reset", "--pool", "main", "--yes")
    told = dry.out.replace("would reset", "reset").replace("would free", "freed")
    assert told == real.out


def test_a_cooldown_in_the_live_store_is_cleared_there_too(pool, cool, live_home):
    cool("p1")
    cool("p2")
    lease(live_home, tokens=1)
    pool("reset", "--all", "--yes")
    answer = pool("explain", "--model", MODEL, "--json").json
    assert all("limit" not in each for each in answer["projects"])


@pytest.mark.parametrize("words", [["--pool", "main"], ["--all"], ["k1", "--counters"]])
def test_a_wide_reset_asks_and_without_a_terminal_needs_yes(pool, cool, words):
    cool("p1")
    refused = pool("reset", *words)
    assert (refused.code, refused.out) == (ExitCode.USAGE, "")
    assert "add --yes" in refused.err
    assert "1 cooling" in pool("status").out
    assert pool("reset", *words, "--yes").code == 0
    assert "cooling" not in pool("status").out


@pytest.mark.parametrize("words", [[], ["k1", "--all"], ["--pool", "main", "--project", "p1"]])
def test_a_reset_names_one_kind_of_target(pool, words):
    assert pool("reset", *words, "--yes").code == ExitCode.USAGE


@pytest.mark.parametrize("words", [["nope"], ["--project", "nope"], ["--pool", "nope"]])
def test_unknown_names_are_found_out_before_anything_is_asked(pool, words):
    assert pool("reset", *words, "--counters").code == ExitCode.NOT_FOUND


@pytest.mark.parametrize(
    "words",
    [
        ["status", "--model", "gemini-2.5-falsh"],
        ["reset", "k1", "--model", "gemini-2.5-falsh"],
        ["explain", "--model", "gemini-2.5-falsh"],
    ],
)
def test_a_mistyped_model_gets_the_right_one_suggested(pool, words):
    assert "did you mean gemini-2.5-flash?" in pool(*words).err
    assert "did you mean" not in pool(*words[:-1], MODEL).err


def test_counters_are_emptied_only_where_asked(pool, live_home):
    pool("pool", "set", "one", "--create", "--add-project", "p1")
    lease(live_home, tokens=300, pool="one")
    assert pool("reset", "k1").out == "nothing to reset in p1\n"
    told = pool("reset", "k1", "--counters", "--yes").out
    assert f"reset minute window of p1 / {MODEL}: 1 requests, 300 tokens -> 0" in told
    assert f"reset day count of p1 / {MODEL}: 1 requests -> 0" in told
    assert (
        pool("status", "--pool", "one", "--json").json["pools"][0]["projects"][0]["models"][0][
            "tpm"
        ]["used"]
        == 0
    )


def test_a_dead_key_is_named_with_its_remedy_and_revived_where_asked(pool, kill_key):
    kill_key("k1")
    plain = pool("reset", "k1")
    assert plain.out == "nothing to reset in p1\n"
    assert "k1 stays dead: API key not valid" in plain.err
    assert "keypool rotate k1" in plain.err
    assert plain.err.count("hint: ") == 1
    revived = pool("reset", "k1", "--failures")
    assert "reset dead key of k1: dead (key-invalid) -> ready" in revived.out
    assert pool("show", "k1", "--json").json["key"]["state"] == "ready"


def test_the_remedy_of_a_project_that_upstream_disabled_is_one(pool, cool):
    cool("p1", kind=MarkKind.DISABLE, whole="service-disabled")
    remedy = "keypool reset --project p1 --failures"
    assert f"hint: once upstream accepts the project: {remedy}" in pool("status").err
    assert pool.line(remedy).code == 0
    assert pool("status", "--json").json["pools"][0]["ready"] == 3


def test_a_reset_is_an_event_with_its_reason(pool, cool):
    cool("p1")
    pool("reset", "k1", "--reason", "quota raised")
    [event] = pool("events", "--kind", "reset", "--json").json["events"]
    assert (event["subject"], event["reason"]) == ("p1", "quota raised")


def test_explain_in_an_empty_home_says_where_to_begin(keypool):
    result = keypool("explain", "--model", MODEL)
    assert result.code == ExitCode.NOT_FOUND
    assert "keypool add NAME --project PROJECT" in result.err


def test_explain_names_the_project_and_why_each_other_is_not_chosen(pool, cool):
    cool("p2", seconds=600)
    pool("disable", "k3", "--reason", "leaked")
    result = pool("explain", "--model", MODEL, "--tokens", "500")
    assert (result.code, result.err) == (0, "")
    [answer, *rows] = [line.split("\t") for line in result.out.splitlines()]
    assert answer == [f"main: 500 tokens on {MODEL} would go to p1"]
    why = {row[0]: row[1] for row in rows}
    assert why == {
        "p1": "chosen",
        "p2": "cooling down: the day's requests are used up (per-day)",
        "p3": "cannot be used: leaked",
    }


def test_piped_explain_counts_seconds(pool, cool):
    cool("p2", seconds=7200)
    [row] = [row for row in pool("explain", "--model", MODEL).rows[1:] if row[0] == "p2"]
    assert 7190 < int(row[3]) <= 7200


def test_explain_tells_why_what_fits_comes_second_and_how_much_is_used(pool, live_home):
    pool("pool", "set", "one", "--create", "--add-project", "p1")
    lease(live_home, tokens=300, pool="one")
    pool("project", "set", "p2", "--priority", "5")
    rows = {row[0]: row for row in pool("explain", "--model", MODEL).rows[1:]}
    assert rows["p2"][1] == "chosen"
    assert rows["p1"][1] == "fits, but p2 has priority 5"
    assert rows["p1"][4:] == ["1/10 c", "300/1000 c", "1/20 c", "0"]
    pool("project", "set", "p2", "--priority", "0")
    rows = {row[0]: row for row in pool("explain", "--model", MODEL).rows[1:]}
    assert rows["p1"][1] == "fits, but another has more room"


def test_explain_exits_8_and_tells_when_nothing_has_room(pool, cool):
    for name in ("p1", "p2", "p3"):
        cool(name, seconds=600)
    result = pool("explain", "--model", MODEL, "--json")
    assert result.code == ExitCode.NO_CAPACITY
    assert result.json["chosen"] is None
    assert 590 < result.json["projects"][0]["in_s"] <= 600
    assert json.loads(result.err)["error"]["exit_code"] == ExitCode.NO_CAPACITY
    told = pool("explain", "--model", MODEL)
    assert "the first has room in 10 min" in told.out.replace("9 min", "10 min")


def test_explain_knows_what_is_larger_than_every_limit(pool):
    result = pool("explain", "--model", MODEL, "--tokens", "1001")
    assert result.code == ExitCode.NO_CAPACITY
    assert "larger than its limits" in result.out
    assert "may ever take 1001 tokens" in result.err
    assert "split the request" in result.err


def test_a_name_that_is_read_from_right_to_left_is_shown(pool):
    pool.add("مفتاح", "مشروع", "--pool", "حوض")
    assert pool("status", "--pool", "حوض").rows[1][1] == "مشروع"


def test_rows_can_be_chosen_by_the_labels_of_projects_and_of_keys(pool):
    pool("project", "set", "p1", "--label", "team=a", "--label", "env=live")
    pool.add("k4", "p2", "--label", "team=a")
    both = pool("status", "-l", "team=a")
    assert sorted(row[1] for row in both.rows[1:]) == ["p1", "p2"]
    assert both.out.startswith("main: 3 of 3 projects ready")
    one = pool("status", "-l", "team=a", "-l", "env=live")
    assert [row[1] for row in one.rows[1:]] == ["p1"]
    assert [row[1] for row in pool("status", "-l", "team=a", "--project", "p2").rows[1:]] == ["p2"]
    none = pool("status", "-l", "team=b")
    assert none.rows[1:] == []
    assert none.err.startswith("no row is as asked")
    assert pool("status", "-l", "team").code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("order", "projects"),
    [
        ("project", ["p1", "p2", "p3"]),
        ("problems", ["p3", "p1", "p2"]),
        ("tpm", ["p2", "p1", "p3"]),
        ("leases", ["p2", "p1", "p3"]),
        ("left", ["p3", "p1", "p2"]),
    ],
)
def test_rows_are_sorted_by_what_needs_attention(pool, cool, live_home, order, projects):
    pool("pool", "set", "one", "--create", "--add-project", "p2")
    cool("p3")
    lease(live_home, tokens=600, pool="one")
    rows = pool("status", "--pool", "main", "--sort", order).rows[1:]
    assert [row[1] for row in rows] == projects


def test_an_unknown_order_is_told(pool):
    result = pool("status", "--sort", "size")
    assert result.code == ExitCode.USAGE
    assert "problems, project, model" in result.err


def test_check_fails_when_too_much_is_used_of_what_can_serve(pool, live_home):
    pool("pool", "set", "one", "--create", "--add-project", "p1")
    lease(live_home, tokens=600, pool="one")
    one = ("status", "--check", "--pool", "one", "--max-used")
    assert pool(*one, "60%").code == 0
    told = pool(*one, "59")
    assert told.code == ExitCode.NO_CAPACITY
    assert f"pool 'one' has used 60% of its tpm on {MODEL}" in told.err
    # The pool with all three projects has used a fifth.
    main = ("status", "--check", "--pool", "main", "--max-used")
    assert pool(*main, "20%").code == 0
    assert pool(*main, "19%").code == ExitCode.NO_CAPACITY


@pytest.mark.parametrize("words", [["--max-used", "90%"], ["--check", "--max-used", "a lot"]])
def test_a_threshold_is_a_share_and_belongs_to_check(pool, words):
    assert pool("status", *words).code == ExitCode.USAGE


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["top", "--once"]])
def test_a_look_needs_no_sqlalchemy_once_the_live_store_knows(pool, live_home, words):
    right = pool(*words).out
    program = (
        "import sys\n"
        f"sys.argv = ['keypool', *{words!r}]\n"
        "from keypool_cli.cli.main import main\n"
        "try: main()\n"
        "finally: assert 'sqlalchemy' not in sys.modules\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment(live_home)
    )
    assert (done.returncode, done.stderr) == (0, "")
    instant = re.compile('"at":"[^"]*"')
    assert instant.sub("", done.stdout) == instant.sub("", right)


def test_what_the_live_store_did_not_hear_of_is_shown_all_the_same(pool, registry):
    pool("status")
    registry.keys.disable("k1", by=BY)
    assert "1 disabled" in pool("status").out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["--model", ""], "has 1 to 100 characters", id="no name"),
        pytest.param(["--model", "m" * 101], "not 101", id="a name that is too long"),
        pytest.param(["--model", MODEL, "--tokens", "9" * 23], "10^12", id="too many tokens"),
    ],
)
def test_what_no_request_can_be_is_not_explained(pool, words, says):
    result = pool("explain", *words)
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert says in result.err


def test_a_check_of_a_model_is_not_content_with_others(pool, cool):
    for each in ("p1", "p2", "p3"):
        cool(each, seconds=600)
    assert pool("status", "--check", "--model", "gemini-2.5-pro").code == 0
    result = pool("status", "--check", "--model", MODEL)
    assert result.code == ExitCode.NO_CAPACITY
    assert f"no project is able to serve on {MODEL}" in result.err
