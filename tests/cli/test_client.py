"""Clients on the command line."""

import subprocess

import pytest
import redis

from keypool_cli.errors import ExitCode
from keypool_cli.registry.values import NewClient
from tests.support.command_line import COMMAND, environment
from tests.support.registry import BY, client_of
from tests.support.valkey import private_valkey


@pytest.fixture
def pooled(keypool):
    keypool.add("k1", "p1", "--pool", "main")
    return keypool


def test_the_token_is_shown_once_and_works(pooled, registry):
    result = pooled("client", "add", "app", "--pool", "main", "--rpm", "60")
    token = result.out.strip()
    client = client_of(registry, token)
    assert (client.name, client.pools, client.rpm) == ("app", ("main",), 60)
    assert token not in result.err
    assert "this token is not shown again" in result.err
    for words in (["client", "list"], ["client", "list", "--json"], ["events", "--json"]):
        assert token not in pooled(*words).out


def test_a_new_client_is_told_how_to_get_a_first_lease(pooled):
    [_, sdk, lease] = pooled("client", "add", "app2").err.splitlines()
    assert sdk.endswith('eval "$(keypool env)"')
    assert "curl -s http://127.0.0.1:8787/keypool/v1/leases" in lease
    assert '{"model": "gemini-2.5-flash", "tokens": 100}' in lease


def test_only_what_the_token_may_do_is_advised(pooled):
    assert len(pooled("client", "add", "reader", "--scope", "read").err.splitlines()) == 1
    assert "SDK" not in pooled("client", "add", "leaser", "--scope", "lease").err


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("to", [">/dev/full", ">&-", "| true"])
def test_a_client_whose_token_cannot_be_printed_is_revoked_again(keypool, home, to, form):
    done = subprocess.run(
        ["sh", "-c", f'"$@" {to}', "sh", *COMMAND, "client", "add", "app", *form],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=environment(home),
    )
    assert "the token of app cannot be printed, so it is revoked again" in done.stderr
    assert "never used again" in done.stderr
    assert "unexpected" not in done.stderr
    assert [each["state"] for each in keypool("client", "list", "--json").json["clients"]] == [
        "revoked"
    ]


def test_the_answer_in_json_is_name_and_token_alone(pooled):
    answer = pooled("client", "add", "app", "--json").json
    assert answer.keys() == {"schema", "name", "token"}
    assert (answer["schema"], answer["name"]) == (1, "app")


def test_a_client_of_an_unknown_pool_is_not_added(pooled):
    result = pooled("client", "add", "app", "--pool", "mian")
    assert result.code == ExitCode.NOT_FOUND
    assert "did you mean 'main'?" in result.err
    assert pooled("client", "list").out == ""


def test_a_name_taken_is_a_conflict(pooled):
    pooled("client", "add", "app")
    assert pooled("client", "add", "app").code == ExitCode.CONFLICT


def test_an_unknown_scope_is_refused(pooled):
    assert pooled("client", "add", "app", "--scope", "root").code == ExitCode.USAGE


@pytest.mark.parametrize("text", ["90d", "12h", "2099-01-01"])
def test_a_token_ends_after_days_hours_or_at_a_date(pooled, text):
    pooled("client", "add", "app", "--expires", text)
    [client] = pooled("client", "list", "--json").json["clients"]
    assert (client["state"], client["expires_at"] > client["created_at"]) == ("active", True)


def test_a_token_that_has_ended_is_listed_as_such(pooled, registry):
    registry.clients.add(NewClient("app", expires_at_ms=1), by=BY)
    assert pooled("client", "list").rows[0][:2] == ["app", "expired"]


@pytest.mark.parametrize("text", ["soon", "d", "1.5d", "2020-13-01", "9" * 30 + "d"])
def test_an_end_that_is_no_date_is_refused(pooled, text):
    assert pooled("client", "add", "app", "--expires", text).code == ExitCode.USAGE


def test_revoking_asks_after_it_looked_the_client_up(pooled, registry):
    token = pooled("client", "add", "app").out.strip()
    assert pooled("client", "revoke", "app").code == ExitCode.USAGE
    assert pooled("client", "revoke", "nope").code == ExitCode.NOT_FOUND
    assert client_of(registry, token) is not None
    assert pooled("client", "revoke", "app", "--yes").code == 0
    assert client_of(registry, token) is None
    assert pooled("client", "list").rows[0][1] == "revoked"


@pytest.mark.parametrize("text", ["0d", "-1h", "2020-01-01"])
def test_a_token_that_would_be_over_already_is_not_made(pooled, text):
    result = pooled("client", "add", "app", f"--expires={text}")
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert "is over already" in result.err
    assert pooled("client", "list").out == ""


@pytest.mark.parametrize("limit", ["--rpm", "--tpm"])
def test_a_clients_limit_is_at_most_what_any_limit_may_be(pooled, limit):
    result = pooled("client", "add", "app", limit, "9" * 20)
    assert result.code == ExitCode.USAGE
    assert "10^12" in result.err
    assert pooled("client", "add", "app", limit, str(10**12)).code == 0


def test_a_token_is_shown_although_the_live_store_could_not_be_told(
    pooled, registry, tmp_path, monkeypatch
):
    with private_valkey(tmp_path) as url, redis.Redis.from_url(url) as live:
        monkeypatch.setenv("KEYPOOL_REDIS_URL", url)
        pooled("explain", "--model", "gemini-2.5-flash", "--tokens", "1")
        live.config_set("maxmemory", 1)
        plain, as_json = pooled("client", "add", "app"), pooled("client", "add", "app2", "--json")
    assert (plain.code, as_json.code) == (ExitCode.UNREACHABLE, ExitCode.UNREACHABLE)
    assert client_of(registry, plain.out.strip()).name == "app"
    assert client_of(registry, as_json.json["token"]).name == "app2"
    assert "the change is made, but daemons have not all heard of it" in plain.err
    assert "exit_code" in as_json.err
