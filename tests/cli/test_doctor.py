"""``doctor``: what it finds, what it advises, and how it ends."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import redis

from keypool_cli.core.model import Catalog, Event, Project, Provenance, QuotaRow
from keypool_cli.errors import ExitCode
from keypool_cli.registry.values import LearnedLimits
from keypool_cli.service.doctor_failover import failover
from keypool_cli.service.doctor_quota import configured_findings, numbers_told, shared_findings
from keypool_cli.service.doctor_store import clock, persistence
from tests.support.command_line import COMMAND, environment, terminal
from tests.support.raw_upstream import raw_upstream
from tests.support.registry import teach
from tests.support.simulator import simulator
from tests.support.valkey import private_valkey

MODEL = "gemini-2.5-flash"
PASSWORD = "hunter2"
GOOD = {"aof_enabled": "1", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}


@pytest.fixture
def two(keypool):
    """Two projects of a tier, with a key each."""
    keypool("add", "k1", "--project", "p1", "--tier", "free", "--from-stdin", stdin="AQ.first")
    keypool("add", "k2", "--project", "p2", "--tier", "free", "--from-stdin", stdin="AQ.second")
    return keypool


def levels(result):
    """The worst level of each check."""
    order = ("ok", "note", "warning", "problem")
    found: dict[str, str] = {}
    for each in result.json["findings"]:
        before = found.get(each["check"], "ok")
        found[each["check"]] = max(before, each["level"], key=order.index)
    return found


def test_a_home_in_order_is_well(two):
    result = two("doctor", "--offline", "--json")
    assert result.code == 0
    assert result.json["healthy"] is True
    assert set(levels(result).values()) == {"ok"}
    assert {"files", "database", "schema", "master key", "live store", "persistence", "clock"} <= {
        *levels(result)
    }


@pytest.mark.usefixtures("two")
def test_a_database_that_takes_no_writes_is_a_problem(registry, home):
    """Without room for a byte more, as on a full disk; it can be read all the same."""
    assert registry.revision()
    limited = [
        "sh",
        "-c",
        'ulimit -f 0; exec "$@"',
        "sh",
        *COMMAND,
        "doctor",
        "--offline",
        "--json",
    ]
    done = subprocess.run(
        limited, env=environment(home), capture_output=True, text=True, check=False
    )
    found = json.loads(done.stdout)["findings"]
    [told] = [each for each in found if each["check"] == "database"]
    assert told["level"] == "problem"
    assert "cannot be used" in told["text"]
    assert "df -h" in told["remedy"]


def test_an_empty_home_is_no_problem_and_stays_empty(keypool, tmp_path):
    nowhere = tmp_path / "nowhere"
    result = keypool("--home", str(nowhere), "doctor", "--offline")
    assert (result.code, nowhere.exists()) == (0, False)
    assert "keypool add" in result.out


def test_another_master_key_ends_with_not_permitted(two, monkeypatch):
    monkeypatch.setenv("KEYPOOL_MASTER_KEY", "cd" * 32)
    result = two("doctor", "--offline", "--json")
    assert result.code == ExitCode.NOT_PERMITTED
    assert levels(result)["master key"] == "problem"


def test_a_missing_key_file_is_not_made_anew(two, home):
    (home / "master.key").unlink()
    result = two("doctor", "--offline", "--json")
    assert result.code == ExitCode.NOT_PERMITTED
    assert not (home / "master.key").exists()
    assert "backup" in result.err


def test_open_files_are_named_with_the_command_that_closes_them(two, home):
    (home / "keypool.db").chmod(0o644)
    result = two("doctor", "--offline", "--json")
    assert result.code == ExitCode.NOT_PERMITTED
    assert f"chmod 600 '{home}/keypool.db'" in result.err


def test_a_store_that_cannot_be_reached_ends_with_unreachable(two, monkeypatch):
    monkeypatch.setenv("KEYPOOL_REDIS_URL", "redis://127.0.0.1:9/0")
    result = two("doctor", "--offline", "--json")
    assert result.code == ExitCode.UNREACHABLE
    assert levels(result)["live store"] == "problem"
    assert levels(result)["master key"] == "ok", "one part's trouble hides no other's"


def test_an_upstream_that_cannot_be_reached_ends_with_unreachable(two, monkeypatch):
    monkeypatch.setenv("KEYPOOL_UPSTREAM_URL", "http://127.0.0.1:9")
    assert two("doctor", "--json").code == ExitCode.UNREACHABLE
    assert two("doctor", "--offline").code == 0


def test_upstream_is_asked_the_time_without_any_key(two, monkeypatch):
    with simulator({"projects": {"p1": {"keys": ["AQ.first"]}}}) as gemini:
        monkeypatch.setenv("KEYPOOL_UPSTREAM_URL", gemini.url)
        result = two("doctor", "--json")
    assert result.code == 0
    assert "Gemini's clock is within 2 s" in result.out


def test_standard_keys_are_named(two):
    two.add("old", "p1")
    result = two("doctor", "--offline", "--json")
    assert levels(result)["key kind"] == "warning"
    assert "keypool rotate old" in result.out


def test_a_limit_above_what_google_said_is_named_with_the_repair(two, registry):
    two("quota", "set", "--project", "p1", "--model", MODEL, "--rpm", "10")
    learned = LearnedLimits(registry.projects.find("p1").id, MODEL, {"rpm": 5}, at_ms=1)
    teach(registry, [learned])
    result = two("doctor", "--offline", "--json")
    assert f"keypool quota set --project p1 --model {MODEL} --rpm 5" in result.out


def test_a_variable_that_sets_nothing_is_told_with_the_one_it_is_like(keypool, monkeypatch):
    monkeypatch.setenv("KEYPOOL_REDISURL", "redis://:hidden@h")
    result = keypool("doctor", "--offline")
    assert "KEYPOOL_REDISURL is set, and sets nothing\tif KEYPOOL_REDIS_URL is meant" in result.out
    assert "hidden" not in result.out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["quota", "set", "--project", "p1", "--tpm", "20"], "larger requests never fit"),
        (["quota", "set", "--tier", "free", "--model", MODEL, "--rpm", "500"], "over 10 times"),
        (["quota", "set", "--tier", "mine", "--rpm", "5"], "which no project has"),
        (["pool", "set", "main", "--remove-project", "p2"], "in no pool"),
        (["pool", "set", "b", "--create"], "pool b has no project"),
        (["disable", "k1"], "without a key that may be used: p1"),
        (["project", "set", "p1", "--tier", "none"], "only refusals hold them back: p1"),
        (["project", "set", "p1", "--tier", "tier9"], "so only refusals hold them back: p1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_together_is_told(two, words, text):
    assert text not in two("doctor", "--offline").out
    assert two(*words).code == 0
    result = two("doctor", "--offline")
    assert text in result.out
    assert result.code == 0, "what merely is odd breaks nothing"


def test_a_default_for_everything_is_a_limit(two):
    two("project", "set", "p1", "--tier", "none")
    two("quota", "set", "--rpm", "5")
    assert "only refusals" not in two("doctor", "--offline").out


@pytest.mark.usefixtures("two")
def test_on_a_terminal_problems_come_first_and_no_line_is_cut(home):
    (home / "keypool.db").chmod(0o644)
    with terminal(home, "doctor", "--offline") as screen:
        screen.end()
    assert screen.text.replace("\x1b[1;31m", "").startswith("problem")
    assert "…" not in screen.text


@pytest.mark.parametrize(
    ("changed", "level"),
    [
        ({}, "ok"),
        ({"aof_enabled": "0"}, "warning"),
        ({"aof_enabled": "0", "save": "3600 1"}, "warning"),
        ({"appendfsync": "no"}, "warning"),
        ({"maxmemory-policy": "allkeys-lru"}, "problem"),
        ({"aof_last_write_status": "err"}, "problem"),
        ({"rdb_last_bgsave_status": "err"}, "problem"),
    ],
)
def test_a_server_that_forgets_is_found(changed, level):
    found = persistence({**GOOD, **changed})
    order = ("ok", "note", "warning", "problem")
    assert max((each.level for each in found), key=order.index) == level
    assert all(each.remedy for each in found if each.level != "ok")


def test_an_embedded_server_need_not_flush_every_second():
    found = persistence({**GOOD, "appendfsync": "no"}, embedded=True)
    assert [each.level for each in found] == ["ok"]


ALONE = {"min-replicas-to-write": "0", "connected_slaves": "1"}
WAITS = {"min-replicas-to-write": "1", "connected_slaves": "1"}


@pytest.mark.parametrize(
    ("url", "info", "said"),
    [
        pytest.param("redis://h", ALONE, None, id="one server"),
        pytest.param("redis+sentinel://a,b/main", ALONE, "was replaced", id="two may grant"),
        pytest.param("redis+sentinel://a,b,c/main", ALONE, "ok", id="most Sentinels decide"),
        pytest.param("rediss+sentinel://a,b,c/main", WAITS, "until it is back", id="none grants"),
        pytest.param(
            "redis+sentinel://a/main",
            {**WAITS, "connected_slaves": "2"},
            "ok",
            id="replicas decide",
        ),
        pytest.param("redis+sentinel://a/main", {}, None, id="CONFIG is forbidden"),
        pytest.param(
            "redis+cluster://h", {"cluster-require-full-coverage": "yes"}, "every model", id="all"
        ),
        pytest.param("redis+cluster://h", {"cluster-require-full-coverage": "no"}, None, id="rest"),
    ],
)
def test_what_a_server_that_is_cut_off_would_do_is_told(url, info, said):
    found = failover(url, info)
    assert len(found) == (said is not None)
    for each in found:
        assert said in (each.text if each.level == "warning" else each.level)
        assert bool(each.remedy) is (each.level == "warning")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        pytest.param("~* &* +@all -@scripting", "'fcall'", id="no functions"),
        pytest.param("~other* &* +@all", "key", id="other keys"),
        pytest.param("~* resetchannels +@all", "channel", id="no channels"),
        pytest.param("~* &* +@all -set", "'set'", id="no writes"),
        pytest.param("~kp:* ~{kp:* &kp:* +@all -@dangerous +info", None, id="all it needs"),
    ],
)
def test_a_user_who_may_not_do_all_that_daemons_do_is_found(
    two, monkeypatch, valkey_url, rules, said
):
    with redis.Redis.from_url(valkey_url) as admin:
        admin.execute_command("ACL", "SETUSER", "u", "reset", "on", f">{PASSWORD}", *rules.split())
    monkeypatch.setenv("KEYPOOL_REDIS_URL", f"{valkey_url}?username=u&password={PASSWORD}")
    result = two("doctor", "--offline", "--json")
    told = [each for each in result.json["findings"] if each["level"] == "problem"]
    assert PASSWORD not in result.out
    if said is None:
        assert not told
    else:
        assert result.code == ExitCode.UNREACHABLE
        assert "permits this user too little" in told[0]["text"]
        assert said in told[0]["text"]


def test_a_store_that_is_full_is_a_problem(two, monkeypatch, valkey_url):
    monkeypatch.setenv("KEYPOOL_REDIS_URL", valkey_url)
    with redis.Redis.from_url(valkey_url) as admin:
        admin.config_set("maxmemory", 1)
        result = two("doctor", "--offline", "--json")
        admin.config_set("maxmemory", 0)
    assert result.code == ExitCode.UNREACHABLE
    assert levels(result)["live store"] == "problem"
    assert "takes no writes" in result.out


@pytest.fixture
def valkey_url(tmp_path):
    """A server of the test's own."""
    with private_valkey(tmp_path) as url:
        yield url


@pytest.mark.parametrize(
    ("skew_ms", "level", "told"),
    [
        (0, "ok", "within 2 s"),
        (2000, "ok", "within 2 s"),
        (-2000, "ok", "within 2 s"),
        (2001, "warning", "2.0 s ahead of"),
        (-2001, "warning", "2.0 s behind"),
    ],
)
def test_a_clock_is_off_by_more_than_two_seconds(skew_ms, level, told):
    found = clock(skew_ms, "it")
    assert found.level == level
    assert told in found.text


def test_a_clock_says_which_way_it_is_off():
    assert "3.5 s ahead of" in clock(3500, "it").text
    assert "3.5 s behind" in clock(-3500, "it").text


def catalog(*quotas):
    """A catalog with one project and these limits."""
    projects = {1: Project(1, "p1")}
    return Catalog(1, projects, {}, {}, quotas, (), {}, {})


def test_unlimited_is_above_what_google_said():
    rows = [
        QuotaRow(Provenance.CONFIGURED, project_id=1, model=MODEL, rpd=-1),
        QuotaRow(Provenance.LEARNED, project_id=1, model=MODEL, rpd=20),
    ]
    assert "rpd unlimited is set" in configured_findings(catalog(*rows))[0].text


def test_a_project_number_in_two_projects_refusals_makes_them_suspect():
    reason = "The API is off: “has not been used in project 123456789 before”."
    events = [Event(n, 0, "refusal", "d", "h", f"p{n}", reason) for n in (1, 2, 3)]
    known = Catalog(1, {n: Project(n, f"p{n}") for n in (1, 2)}, {}, {}, (), (), {}, {})
    proofs = numbers_told(known, events)
    assert proofs == {"p1": {"123456789"}, "p2": {"123456789"}}
    [found] = shared_findings(proofs)
    assert "p1, p2 seem to be one Google project" in found.text
    assert shared_findings({"p1": {"1"}, "p2": {"2"}}) == []


def test_projects_whose_keys_list_the_same_file_are_suspect(two, monkeypatch):
    with raw_upstream() as upstream:
        upstream.play = lambda line: line.answer(b'{"files":[{"name":"files/abc"}]}')
        monkeypatch.setenv("KEYPOOL_UPSTREAM_URL", upstream.url)
        result = two("doctor", "--json")
        asked = [line.head.split(b" ")[1] for line in upstream.seen]
    assert levels(result)["siblings"] == "warning"
    assert "p1, p2 seem to be one Google project" in result.out
    assert not any(b"AQ." in each for each in asked), "no secret stands in a URL"


@pytest.fixture
def barred(monkeypatch):
    """Takes a right from this user, who may be root and have them all."""

    def bar(folder, right):
        allowed = os.access
        monkeypatch.setattr(
            os,
            "access",
            lambda path, mode: path != folder or (not mode & right and allowed(path, mode)),
        )

    return bar


@pytest.mark.parametrize(
    ("right", "told"),
    [
        pytest.param(os.X_OK, "may not use", id="another user's"),
        pytest.param(os.W_OK, "may not write in", id="one that is read-only"),
    ],
)
def test_a_home_that_this_user_may_not_use_is_a_problem(two, home, barred, right, told):
    barred(home, right)
    result = two("doctor", "--offline", "--json")
    assert result.code == ExitCode.NOT_PERMITTED
    assert f"this user {told} {home}" in result.out
    assert "as the user who owns it" in result.err


@pytest.mark.parametrize(
    "refused", [PermissionError(13, "Permission denied"), OSError(36, "too long")]
)
def test_a_home_that_cannot_even_be_looked_at_is_a_problem(two, home, monkeypatch, refused):
    looked = Path.stat

    def stat(path, **how):
        if path == home or home in path.parents:
            raise refused
        return looked(path, **how)

    monkeypatch.setattr(Path, "stat", stat)
    result = two("doctor", "--offline", "--json")
    assert result.code == ExitCode.NOT_PERMITTED
    assert f"{home} cannot be looked at: {refused.strerror}" in result.out


def test_a_master_key_that_is_none_ends_with_not_permitted(two, home):
    (home / "master.key").write_text("hello\n")
    assert two("doctor", "--offline").code == ExitCode.NOT_PERMITTED


def test_a_pool_in_which_no_key_may_be_used_is_a_problem(two):
    two("disable", "k1")
    assert two("doctor", "--offline").code == 0
    two("disable", "k2")
    result = two("doctor", "--offline", "--json")
    assert result.code == ExitCode.FAILURE
    assert "keypool status --pool main" in result.err
    two("project", "set", "p1", "--disable")
    two("project", "set", "p2", "--disable")
    assert two("doctor", "--offline").code == 0, "an operator wants it so"
