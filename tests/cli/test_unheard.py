"""What a verb does, and says, when the live store cannot be told of a change that is made."""

import os
import re
import signal
import time

import pytest
import redis

from keypool_cli.core.model import Mark, MarkKind, MarkScope
from keypool_cli.errors import ExitCode
from keypool_cli.registry.values import Refusal
from tests.support.command_line import secret_of, terminal
from tests.support.daemon import eventually
from tests.support.registry import BY, client_of
from tests.support.valkey import private_valkey

ASK = ["explain", "--model", "gemini-2.5-flash", "--tokens", "1"]


@pytest.fixture
def deaf(keypool, tmp_path, monkeypatch):
    """A key, and a live store in which nothing may be published."""
    keypool.add("k1", "p1")
    with private_valkey(tmp_path) as url, redis.Redis.from_url(url) as live:
        monkeypatch.setenv("KEYPOOL_REDIS_URL", url)
        assert keypool(*ASK).code == 0
        live.execute_command("ACL", "SETUSER", "default", "resetchannels")
        yield keypool


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["disable", "k1"], "k1 is disabled", id="disable"),
        pytest.param(["enable", "k1"], "k1 is ready", id="enable"),
        pytest.param(["rotate", "k1", "--from-stdin"], "k1 rotated", id="rotate"),
        pytest.param(["add", "k2", "--project", "p1", "--from-stdin"], "k2 (", id="add"),
        pytest.param(["remove", "k1", "--yes"], "k1 is removed", id="remove"),
        pytest.param(["reset", "k1", "--counters", "--yes"], "nothing to reset", id="reset"),
        pytest.param(["drain", "k1"], "k1 drained", id="drain"),
        pytest.param(["project", "set", "p1", "--tier", "free"], "p1: tier free", id="project"),
        pytest.param(["pool", "set", "main", "--wait", "5"], "main: policy", id="pool"),
        pytest.param(["quota", "set", "--rpm", "5"], "rpm 5", id="quota"),
        pytest.param(["import", "-", "--format", "csv"], "k2\tadded", id="import"),
        pytest.param(["client", "add", "app"], "kp_", id="client"),
    ],
)
def test_what_was_done_is_told_although_it_could_not_be_announced(deaf, words, says):
    stdin = secret_of("new")
    if words[0] == "import":
        stdin = f"name,project,secret\nk2,p1,{stdin}\n"
    result = deaf(*words, stdin=stdin)
    assert result.code == (0 if words[0] == "enable" else ExitCode.UNREACHABLE), result.err
    assert says in result.out
    if result.code:
        assert "the change is made, but daemons have not all heard of it" in result.err


def test_a_change_is_made_while_the_store_does_not_answer_and_holds_when_it_does(
    keypool, tmp_path, monkeypatch
):
    keypool.add("k1", "p1")
    with private_valkey(tmp_path) as url, redis.Redis.from_url(url) as live:
        monkeypatch.setenv("KEYPOOL_REDIS_URL", url)
        assert keypool(*ASK).code == 0
        pid = live.info("server")["process_id"]
        os.kill(pid, signal.SIGSTOP)
        unknown, result = keypool("disable", "k2"), keypool("disable", "k1")
        drained = keypool("drain", "k1")
        os.kill(pid, signal.SIGCONT)
        assert (unknown.code, unknown.out) == (ExitCode.NOT_FOUND, "")
        assert (result.code, result.out) == (ExitCode.UNREACHABLE, "k1 is disabled\n")
        assert "the change is made, but daemons have not all heard of it" in result.err
        assert (drained.code, drained.out) == (ExitCode.UNREACHABLE, "")
        assert keypool(*ASK).code == ExitCode.NO_CAPACITY


def test_a_reset_that_cannot_be_announced_is_whole_and_told(deaf, registry):
    now = time.time_ns() // 1_000_000
    mark = Mark(
        scope=MarkScope.PROJECT,
        kind=MarkKind.COOL,
        rule="project-spend-cap",
        reason="the cap is reached",
        at_ms=now,
        granted_at_ms=now,
        project_id=registry.projects.find("p1").id,
        until_at_ms=now + 3_600_000,
    )
    registry.marks.record([Refusal(subject="p1", marks=(mark,))], by=BY)
    assert deaf(*ASK).code == ExitCode.NO_CAPACITY
    result = deaf("reset", "k1")
    assert result.code == ExitCode.UNREACHABLE
    assert result.out.endswith("-> none\nfreed keys: k1\n")
    assert deaf(*ASK).code == 0
    assert deaf("reset", "k1", "--json").json["cleared"] == []


@pytest.mark.usefixtures("deaf")
def test_ctrl_c_while_the_store_stands_still_does_not_lose_a_token(home, registry):
    url = os.environ["KEYPOOL_REDIS_URL"]
    with redis.Redis.from_url(url) as live, terminal(home, "client", "add", "app") as adding:
        live.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
        eventually(lambda: "app" in {each.name for each in registry.catalog().clients.values()})
        adding.type("\x03")
        assert adding.end() == ExitCode.INTERRUPTED
        live.execute_command("CLIENT", "UNPAUSE")
    token = re.search(r"kp_\S+", adding.text)
    assert token is not None, adding.text
    assert client_of(registry, token[0]).name == "app"
    assert "interrupted: the change is made" in adding.text
