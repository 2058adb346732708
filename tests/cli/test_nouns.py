"""Projects, pools, events, settings and exports on the command line."""

import pytest
from sqlalchemy import update

from keypool_cli.errors import ExitCode
from keypool_cli.registry.tables import keys, pools, projects
from tests.support.command_line import process, secret_of, terminal


@pytest.fixture
def two(keypool):
    """Two projects with a key each, in pool ``main``."""
    keypool.add("k1", "p1")
    keypool.add("k2", "p2", "--priority", "5")
    return keypool


def test_projects_are_listed_with_tier_priority_and_keys(two):
    assert [row[:6] for row in two("project", "list").rows] == [
        ["p1", "", "0", "", "main", "1"],
        ["p2", "", "5", "", "main", "1"],
    ]


def test_a_project_changes_only_in_what_is_named(two):
    two("project", "set", "p1", "--tier", "tier1", "--billing-account", "acme", "-l", "a=b")
    two("project", "set", "p1", "--priority", "7", "--disable")
    project = two("project", "show", "p1", "--json").json["project"]
    assert (project["tier"], project["billing_account"]) == ("tier1", "acme")
    assert (project["priority"], project["enabled"], project["labels"]) == (7, False, {"a": "b"})
    two("project", "set", "p1", "--tier", "none", "--billing-account", "none")
    project = two("project", "show", "p1", "--json").json["project"]
    assert (project["tier"], project["billing_account"]) == (None, None)


def test_a_project_is_made_only_where_that_is_asked(two):
    assert two("project", "set", "p3", "--tier", "free").code == ExitCode.NOT_FOUND
    assert two("project", "set", "p3", "--create").code == 0
    assert two("project", "set", "p3", "--create").code == ExitCode.CONFLICT
    assert two("project", "set", "p3").code == ExitCode.USAGE


def test_a_project_with_keys_is_removed_with_them_only_where_that_is_asked(two):
    assert two("project", "remove", "p1", "--with-keys").code == ExitCode.USAGE
    assert two("project", "remove", "nope").code == ExitCode.NOT_FOUND
    assert two("project", "remove", "p1", "--yes").code == ExitCode.CONFLICT
    assert two("project", "remove", "p1", "--with-keys", "--yes").code == 0
    assert [row[0] for row in two("list").rows] == ["k2"]


def test_a_pool_changes_only_in_what_is_named(two):
    two("pool", "set", "main", "--policy", "pack", "--wait", "2.5")
    two("pool", "set", "main", "--remove-project", "p2")
    pool = two("pool", "show", "main", "--json").json["pool"]
    assert pool == {
        "name": "main",
        "policy": "pack",
        "wait_s": 2.5,
        "projects": ["p1"],
        "keys": 1,
        "shared_resources": False,
    }
    assert two("pool", "list").rows == [["main", "pack", "2.5", "1", "1"]]
    two("pool", "set", "main", "--shared-resources")
    assert two("pool", "show", "main", "--json").json["pool"]["shared_resources"] is True
    assert two("pool", "set", "main", "--own-resources").out.endswith("projects p1\n")


def test_an_egress_proxy_is_set_shown_without_its_password_and_cleared(two):
    said = two("project", "set", "p1", "--egress-proxy", "http://proxy.example:3128")
    assert said.out.endswith("leaves through http://proxy.example:3128\n")
    two("project", "set", "p1", "--egress-proxy", "-", stdin="http://amal:hunter2@proxy:1\n")
    shown = two("project", "show", "p1", "--json")
    assert shown.json["project"]["egress_proxy"] == "http://amal:***@proxy:1"
    for verb in (("project", "show", "p1"), ("project", "list", "--json"), ("events", "--json")):
        assert "hunter2" not in two(*verb).out
    two("project", "set", "p1", "--egress-proxy", "none")
    assert two("project", "show", "p1", "--json").json["project"]["egress_proxy"] is None


@pytest.mark.parametrize(
    "url", ["http://amal:hunter2@proxy:1", "ftp://proxy:1", "proxy:3128", "http://proxy/path"]
)
def test_an_egress_proxy_that_is_none_or_shows_a_password_is_refused(two, url):
    refused = two("project", "set", "p1", "--egress-proxy", url)
    assert refused.code == ExitCode.USAGE
    assert "hunter2" not in refused.err


def test_a_pool_takes_known_projects_only_and_is_made_only_where_that_is_asked(two):
    assert two("pool", "set", "batch", "--wait", "1").code == ExitCode.NOT_FOUND
    unknown = two("pool", "set", "batch", "--create", "--add-project", "p11")
    assert unknown.code == ExitCode.NOT_FOUND
    assert "batch" not in two("pool", "list").out
    assert two("pool", "set", "batch", "--create", "--add-project", "p1").code == 0
    assert two("pool", "set", "main", "--policy", "random").code == ExitCode.USAGE
    assert two("pool", "set", "main", "--wait", "301").code == ExitCode.USAGE


def test_removing_a_pool_asks_and_leaves_its_projects(two):
    assert two("pool", "remove", "main").code == ExitCode.USAGE
    assert two("pool", "remove", "mian").code == ExitCode.NOT_FOUND
    assert two("pool", "remove", "main", "--yes").code == 0
    assert [row[4] for row in two("project", "list").rows] == ["", ""]


def test_empty_nouns_say_what_to_do_next(keypool):
    for noun in ("project", "pool", "client", "quota"):
        result = keypool(noun, "list")
        assert (result.code, result.out) == (0, ""), noun
        assert "hint: " in result.err, noun


def test_events_tell_who_did_what_and_why(two):
    two("disable", "k1", "--reason", "leaked")
    [event] = two("events", "--kind", "key.disabled", "--json").json["events"]
    assert (event["subject"], event["reason"]) == ("k1", "leaked")
    assert event["actor"]
    assert event["host"]
    assert event["at"].endswith("Z")
    assert {row[1] for row in two("events", "--kind", "key.").rows} == {"key.added", "key.disabled"}
    assert len(two("events", "-n", "1").rows) == 1
    assert {row[2] for row in two("events", "--subject", "k2").rows} == {"k2"}


def test_events_are_followed_as_they_happen(two, home):
    with terminal(home, "events", "--follow", "--kind", "key.disabled") as followed:
        two("disable", "k1")
        followed.read_until(lambda text: "key.disabled" in text and "k1" in text)
        two("disable", "k2")
        followed.read_until(lambda text: "k2" in text)
        followed.type("\x03")
        assert followed.end() == ExitCode.INTERRUPTED
    assert "Traceback" not in followed.text


def test_settings_are_shown_with_their_origin_and_without_passwords(keypool, monkeypatch):
    monkeypatch.setenv("KEYPOOL_REDIS_URL", "redis://user:hunter2@localhost:1/0")
    rows = {row[0]: row[1:] for row in keypool("config", "show").rows}
    assert rows["redis_url"] == [
        "redis://user:***@localhost:1/0",
        "environment KEYPOOL_REDIS_URL",
    ]
    assert rows["port"] == ["8787", "default"]
    settings = keypool("config", "show", "--json").json["settings"]
    assert {"name": "port", "value": "8787", "origin": "default"} in settings


def test_home_before_the_verb_wins_over_the_environment(keypool, tmp_path):
    keypool.add("k1", "p1")
    other = keypool("--home", str(tmp_path / "other"), "list")
    assert (other.code, other.out) == (0, "")


def test_exports_name_the_token_without_showing_it(keypool):
    assert keypool("env").out == (
        'export GOOGLE_GEMINI_BASE_URL="http://127.0.0.1:8787"\n'
        'export GEMINI_API_KEY="$KEYPOOL_TOKEN"\n'
        'export GOOGLE_API_KEY="$KEYPOOL_TOKEN"\n'
    )
    assert keypool("env", "--json").json["env"]["GEMINI_API_KEY"] == "$KEYPOOL_TOKEN"


def test_a_token_that_is_not_set_is_told_beside_the_exports(keypool, monkeypatch):
    monkeypatch.delenv("KEYPOOL_TOKEN", raising=False)
    assert "KEYPOOL_TOKEN is not set" in keypool("env").err
    monkeypatch.setenv("KEYPOOL_TOKEN", "kp_x")
    assert keypool("env").err == ""


def test_exports_can_name_a_daemon_that_is_elsewhere_and_nothing_a_shell_would_run(keypool):
    url = "https://pool.example:8787"
    assert keypool("env", "--url", url).rows[0] == [f'export GOOGLE_GEMINI_BASE_URL="{url}"']
    for wrong in (
        "pool.example",
        'http://x"; true "',
        "http://$(true)",
        "http://`true`",
        "http://",
    ):
        assert keypool("env", "--url", wrong).code == ExitCode.USAGE, wrong
    secret = keypool("env", "--url", "https://me:hunter2@pool.example")
    assert secret.code == ExitCode.USAGE
    assert "hunter2" not in secret.err


def test_a_simulator_that_cannot_start_says_why(home):
    result = process(home, "simulate", "--config", "nowhere.toml")
    assert result.code == ExitCode.USAGE
    assert "nowhere.toml" in result.err


def test_a_simulator_prints_its_url_and_ends_with_ctrl_c(home):
    with terminal(home, "simulate", "--port", "0") as running:
        running.read_until(lambda text: "http://127.0.0.1:" in text and "hint" in text)
        running.type("\x03")
        assert running.end() in {ExitCode.OK, ExitCode.INTERRUPTED}
    assert "Traceback" not in running.text


IN_ORDER = ["n1", "n2", "n10", "مشروع 2", "مشروع 10"]


@pytest.mark.usefixtures("live_home")
def test_numbers_in_names_stand_by_their_value(keypool):
    for name in sorted(IN_ORDER):
        keypool.add(name, name, "--pool", name, *(["--priority", "9"] if name == "n1" else []))
        keypool("quota", "set", "--project", name, "--rpm", "5")
        keypool("client", "add", name)
    words = [word for name in IN_ORDER for word in ("--add-project", name)]
    keypool("pool", "set", "all", "--create", *words)
    for line, column in (
        ("list", 0),
        ("project list", 0),
        ("pool list", 0),
        ("client list", 0),
        ("quota list", 0),
        ("status --pool all", 1),
        ("status --sort project", 1),
        ("explain --pool all --model gemini-2.5-flash --tokens 1", 0),
    ):
        shown = dict.fromkeys(row[column] for row in keypool(*line.split()).rows if row[column:])
        assert [name for name in shown if name in IN_ORDER] == IN_ORDER, line
    assert keypool("pool", "show", "all", "--json").json["pool"]["projects"] == IN_ORDER


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["add", "--project", "p1", "--from-stdin", "--", "-k"], id="a key"),
        pytest.param(["add", "k9", "--project", "-p", "--from-stdin"], id="a key's project"),
        pytest.param(
            ["add", "k9", "--project", "p1", "--pool", "-x", "--from-stdin"], id="a key's pool"
        ),
        pytest.param(["project", "set", "--create", "--", "-p"], id="a project"),
        pytest.param(["pool", "set", "--create", "--", "-x"], id="a pool"),
        pytest.param(["client", "add", "--", "-c"], id="a client"),
    ],
)
def test_nothing_new_is_named_like_an_option(keypool, words):
    keypool.add("k1", "p1")
    result = keypool(*words, stdin="another-secret")
    assert result.code == ExitCode.USAGE
    assert "cannot begin with a hyphen" in result.err
    assert [row[0] for row in keypool("project", "list").rows] == ["p1"]


def test_what_was_named_like_an_option_before_stays_in_use(keypool, registry, tmp_path):
    keypool.add("k1", "p1")
    with registry.keys._database.write() as connection:
        for table in (keys, projects, pools):
            connection.execute(update(table).values(name="-old"))
    assert keypool("disable", "--", "-old").code == 0
    assert keypool("rotate", "--from-stdin", "--", "-old", stdin=secret_of("new")).code == 0
    assert keypool("project", "set", "--tier", "free", "--", "-old").code == 0
    assert keypool.add("k2", "-old", "--pool", "-old").code == 0
    (tmp_path / "keys.csv").write_text(
        f"name,project,pool,secret\n-old,-old,-old,{secret_of('new')}\n"
    )
    assert keypool("import", "keys.csv").rows == [["2", "-old", "stored already", ""]]
    assert keypool("remove", "--yes", "--", "-old").code == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        pytest.param(
            ["project", "remove", "p1"], ExitCode.CONFLICT, "still has 1 key", id="a project's keys"
        ),
        pytest.param(
            ["quota", "unset", "--project", "p1"], ExitCode.NOT_FOUND, "no limit is set", id="limit"
        ),
        pytest.param(["quota", "unset", "--learned"], 0, "nothing to unset", id="learned limit"),
        pytest.param(["client", "revoke", "gone"], 0, "", id="a client that is revoked"),
    ],
)
def test_what_cannot_be_or_is_done_already_is_said_before_anything_is_asked(two, words, code, says):
    two("client", "add", "gone")
    two("client", "revoke", "gone", "--yes")
    result = two(*words)  # no terminal: a question would be exit 2
    assert result.code == code, result.err
    assert says in result.err
