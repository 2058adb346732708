"""``apply``: the registry as a file declares it, and nothing more."""

import os
import re
from pathlib import Path

import pytest

from keypool_cli.cli.declaration_text import parsed
from keypool_cli.errors import ExitCode, UsageError
from keypool_cli.registry.values import DeadKey, Refusal
from tests.support.command_line import Keypool, Result, secret_of, terminal
from tests.support.registry import BY, client_of

WHOLE = """
[pools.main]
policy = "pack"
wait_s = 2
shared_resources = true

[projects.p1]
tier = "Tier 1"
priority = 3
billing_account = "acme"
labels = { team = "web" }
pools = ["main", "batch"]

[projects.p2]
enabled = false
egress_proxy = "http://proxy.example:3128"

[keys.k1]
project = "p1"
secret_env = "K1"
labels = { env = "prod" }

[keys.k2]
project = "p1"
secret_file = "secrets/k2"
enabled = false

[[quotas]]
project = "p1"
model = "models/gemini-2.5-flash"
rpm = 10
tpm = 250_000
rpd = "unlimited"

[[quotas]]
tier = "tier1"
in_flight = 4

[clients.web]
pools = ["main"]
rpm = 60
expires = 2099-01-31
token_file = "web.token"
"""


WHOLE_YAML = """
pools:
  main: {policy: pack, wait_s: 2, shared_resources: true}

projects:
  p1:
    tier: Tier 1
    priority: 3
    billing_account: acme
    labels: {team: web}
    pools: [main, batch]
  p2:
    enabled: false
    egress_proxy: http://proxy.example:3128

keys:
  k1:
    project: p1
    secret_env: K1
    labels: {env: prod}
  k2: {project: p1, secret_file: secrets/k2, enabled: false}

quotas:
  - project: p1
    model: models/gemini-2.5-flash
    rpm: 10
    tpm: 250_000
    rpd: unlimited
  - {tier: tier1, in_flight: 4}

clients:
  web: {pools: [main], rpm: 60, expires: 2099-01-31, token_file: web.token}
"""


class Applying:
    """``apply`` on a file that a test changes."""

    def __init__(self, keypool, folder) -> None:
        self.keypool: Keypool = keypool
        self.file = folder / "pool.toml"

    def __call__(self, text: str, *words: str) -> Result:
        self.file.write_text(text)
        return self.keypool("apply", "-f", str(self.file), "--json", *words)

    def changes(self, text: str, *words: str) -> list[tuple[str, str, str]]:
        found = self(text, *words).json["changes"]
        return [(each["action"], each["kind"], each["name"]) for each in found]


@pytest.fixture
def apply(keypool, tmp_path, monkeypatch):
    """The verb, with the secrets that the file names."""
    monkeypatch.setenv("K1", secret_of("k1"))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "k2").write_text(secret_of("k2") + "\n")
    return Applying(keypool, tmp_path)


def test_an_empty_registry_becomes_what_is_declared(apply, keypool, registry, tmp_path):
    result = apply(WHOLE)
    assert (result.code, result.json["refused"]) == (0, 0)
    pool = keypool("pool", "show", "main", "--json").json["pool"]
    assert (pool["policy"], pool["wait_s"], pool["projects"]) == ("pack", 2.0, ["p1"])
    p1 = keypool("project", "show", "p1", "--json").json["project"]
    assert (p1["tier"], p1["priority"], p1["billing_account"]) == ("tier1", 3, "acme")
    assert (sorted(p1["pools"]), p1["labels"]) == (["batch", "main"], {"team": "web"})
    assert pool["shared_resources"] is True
    p2 = keypool("project", "show", "p2", "--json").json["project"]
    assert (p2["enabled"], p2["egress_proxy"]) == (False, "http://proxy.example:3128")
    k1, k2 = keypool("list", "--json").json["keys"]
    assert (k1["state"], k1["labels"], k2["state"]) == ("ready", {"env": "prod"}, "disabled")
    assert client_of(registry, (tmp_path / "web.token").read_text().strip()).rpm == 60
    assert (tmp_path / "web.token").stat().st_mode & 0o777 == 0o600
    rows = {tuple(row[:2]): row[2:6] for row in keypool("quota", "list").rows}
    assert rows == {
        ("p1", "gemini-2.5-flash"): ["10", "250000", "unlimited", ""],
        ("tier tier1", "every model"): ["", "", "", "4"],
    }


def test_twice_changes_nothing(apply, keypool):
    apply(WHOLE)
    before = keypool("events", "--json").json
    again = apply(WHOLE, "--prune")
    assert (again.code, again.json["changes"]) == (0, [])
    assert keypool("events", "--json").json == before


def test_an_export_as_toml_declares_what_there_is(apply, keypool):
    apply(WHOLE)
    exported = keypool("export", "--format", "toml")
    assert exported.code == 0
    assert secret_of("k1") not in exported.out
    assert (apply(exported.out, "--prune").code, apply(exported.out).json["changes"]) == (0, [])
    changed = exported.out.replace("rpm = 10,", "rpm = 11,")
    [change] = apply(changed, "--dry-run").json["changes"]
    assert change["before"] | change["after"] == {"rpm": 11}
    assert change["before"] == {"rpm": 10}


def test_an_export_as_toml_makes_another_registry_alike(apply, keypool, tmp_path, monkeypatch):
    apply(WHOLE)
    keypool("pool", "set", 'b "too", \\ الإنتاج', "--create", "--add-project", "p1")
    keypool("client", "add", "a/b", "--scope", "read", "--expires", "2099-01-31T10:11:12.345")
    keypool("project", "set", "p2", "--egress-proxy", "-", stdin="http://me:word@h:3128")
    declared = keypool("export", "--format", "toml").out
    assert "word" not in declared
    assert "***" not in declared
    monkeypatch.setenv("KEYPOOL_HOME", str(tmp_path / "other"))
    (tmp_path / "web.token").unlink()
    bare = apply(declared)
    assert bare.code == ExitCode.PARTLY_DONE, "keys need their secrets"
    assert {each["kind"] for each in bare.json["changes"] if each["reason"]} == {"key"}
    for name in ("k1", "k2"):
        head = f'[keys.{name}]\nproject = "p1"\n'
        declared = declared.replace(head, f'{head}secret_env = "{name.upper()}"\n')
    monkeypatch.setenv("K2", secret_of("k2"))
    assert apply(declared).code == 0
    again = keypool("export", "--format", "toml").out
    assert re.sub("secret_env.*\n", "", declared) == again


def test_a_dead_key_is_declared_neither_enabled_nor_disabled(apply, keypool, registry):
    apply(WHOLE)
    dead = DeadKey(registry.keys.find("k1").id, "key-invalid", "API key not valid")
    registry.marks.record([Refusal(subject="k1", dead_keys=(dead,))], by=BY)
    declared = keypool("export", "--format", "toml").out
    assert '[keys.k1]\nproject = "p1"\n\n[keys.k1.labels]' in declared
    assert apply(declared, "--prune").json["changes"] == []


@pytest.mark.parametrize("more", ["--json", "--reveal"])
def test_an_export_as_toml_is_no_json_and_holds_no_secret(keypool, more):
    assert keypool("export", "--format", "toml", more).code == ExitCode.USAGE


def test_a_dry_run_shows_the_same_and_changes_nothing(apply, keypool, tmp_path):
    dry = apply(WHOLE, "--dry-run")
    assert {each["outcome"] for each in dry.json["changes"]} == {"planned"}
    assert keypool("events", "--json").json["events"] == []
    assert not (tmp_path / "web.token").exists()
    wet = apply(WHOLE)
    plain = [{**each, "outcome": ""} for each in dry.json["changes"]]
    assert [{**each, "outcome": ""} for each in wet.json["changes"]] == plain


def test_only_what_differs_changes(apply, keypool):
    apply(WHOLE)
    text = WHOLE.replace("priority = 3", "priority = 4").replace("wait_s = 2", "wait_s = 5")
    found = apply(text).json["changes"]
    assert [(each["name"], each["before"], each["after"]) for each in found] == [
        ("main", {"wait_s": 2.0}, {"wait_s": 5.0}),
        ("p1", {"priority": 3}, {"priority": 4}),
    ]
    text = text.replace('pools = ["main", "batch"]', 'pools = ["batch"]')
    [change] = apply(text).json["changes"]
    assert change["after"] == {"pools": ["batch"]}
    assert keypool("project", "show", "p1", "--json").json["project"]["pools"] == ["batch"]


def test_what_is_not_named_stays(apply, keypool):
    apply(WHOLE)
    assert apply("[projects.p1]\n").json["changes"] == []
    assert apply("[keys.k1]\nproject = 'p1'\n").json["changes"] == []
    assert len(keypool("list").rows) == 2


def test_a_limit_that_is_no_longer_in_its_row_is_unset(apply, keypool):
    apply(WHOLE)
    [change] = apply(WHOLE.replace("tpm = 250_000\n", "")).json["changes"]
    assert (change["before"], change["after"]) == ({"tpm": 250_000}, {"tpm": None})
    assert keypool("quota", "list").rows[-1][2:5] == ["10", "", "unlimited"]


def test_another_secret_rotates_the_key(apply, keypool, registry, monkeypatch):
    apply(WHOLE)
    monkeypatch.setenv("K1", secret_of("other"))
    assert apply.changes(WHOLE) == [("change", "key", "k1")]
    key = registry.keys.find("k1")
    assert keypool("events", "--kind", "key.rotated").rows[0][2] == "k1"
    assert key.fingerprint != secret_of("other")


def test_keys_are_disabled_and_enabled_as_declared(apply, keypool):
    apply(WHOLE)
    apply(WHOLE.replace("enabled = false\n\n[[", "enabled = true\n\n[[", 1))
    assert keypool("show", "k2", "--json").json["key"]["state"] == "ready"
    [change] = apply(WHOLE).json["changes"]
    assert change["after"] == {"state": "disabled"}


def test_pruning_removes_what_sections_that_are_there_do_not_name(apply, keypool):
    apply(WHOLE)
    keypool.add("extra", "px", "--pool", "spare")
    keypool("client", "add", "old")
    keypool("quota", "set", "--rpm", "3")
    assert apply(WHOLE).json["changes"] == [], "nothing is removed unasked"
    assert apply(WHOLE, "--prune").code == ExitCode.USAGE, "nobody there to ask"
    assert apply.changes(WHOLE, "--prune", "--dry-run") == [
        ("remove", "quota", "every project / every model"),
        ("remove", "key", "extra"),
        ("remove", "project", "px"),
        ("remove", "pool", "spare"),
        ("remove", "client", "old"),
    ]
    assert apply(WHOLE, "--prune", "--yes").code == 0
    assert apply(WHOLE, "--prune").json["changes"] == []
    assert [row[0] for row in keypool("project", "list").rows] == ["p1", "p2"]


ALIKE = """
[projects."tier free"]
[projects."every project"]
[projects."a / b"]

[[quotas]]
project = "tier free"
rpm = 1
[[quotas]]
tier = "free"
rpm = 2
[[quotas]]
project = "every project"
rpm = 3
[[quotas]]
rpm = 4
[[quotas]]
project = "a / b"
rpm = 5
"""


def test_limits_of_projects_whose_names_are_the_words_of_others_are_told_apart(apply, registry):
    assert apply(ALIKE).json["refused"] == 0
    assert limits(registry) == {
        ("tier free", None): 1, (None, "free"): 2, ("every project", None): 3,
        (None, None): 4, ("a / b", None): 5,
    }  # fmt: skip
    assert apply(ALIKE, "--prune").json["changes"] == []


@pytest.mark.parametrize("gone", [("tier free", None), (None, "free"), (None, None)])
def test_pruning_a_limit_leaves_those_told_in_the_same_words(apply, registry, gone):
    apply(ALIKE)
    left = limits(registry)
    value = left.pop(gone)
    [row] = [each for each in ALIKE.split("[[quotas]]") if f"rpm = {value}\n" in each]
    assert apply(ALIKE.replace(f"[[quotas]]{row}", ""), "--prune", "--yes").code == 0
    assert limits(registry) == left


def limits(registry):
    """Requests a minute by project and tier."""
    catalog = registry.catalog()
    names = {None: None} | {each.id: each.name for each in catalog.projects.values()}
    return {(names[row.project_id], row.tier): row.rpm for row in catalog.quotas}


def test_sections_that_are_missing_are_not_pruned(apply):
    apply(WHOLE)
    assert apply("[pools.main]\n[pools.batch]\n", "--prune").json["changes"] == []
    assert apply.changes("[clients]\n", "--prune", "--yes") == [("remove", "client", "web")]


def test_what_is_in_the_way_of_pruning_is_planned_as_refused_and_not_asked_about(apply, keypool):
    apply(WHOLE)
    keypool.add("extra", "px")
    for words in (["--dry-run"], ["--yes"], []):  # without a terminal, a question would be exit 2
        result = apply("[projects.p1]\n[projects.p2]\n", "--prune", *words)
        [change] = result.json["changes"]
        assert (change["name"], change["outcome"]) == ("px", "refused"), words
        assert change["reason"] == "project 'px' still has 1 key"


def test_a_new_name_that_begins_with_a_hyphen_is_planned_as_refused(apply):
    result = apply('[projects."-p"]\n', "--dry-run")
    assert "cannot begin with a hyphen" in result.json["changes"][0]["reason"]


def test_a_key_with_a_mistake_is_not_pruned_for_it(apply, keypool, monkeypatch):
    apply(WHOLE)
    monkeypatch.delenv("K1")
    result = apply(WHOLE, "--prune", "--yes")
    assert result.code == ExitCode.FAILURE
    assert [row[0] for row in keypool("list").rows] == ["k1", "k2"]
    assert "K1 is not set" in result.json["changes"][0]["reason"]


def test_an_apply_that_is_interrupted_ends_soon_and_can_be_taken_up(apply, home, keypool):
    apply.file.write_text("".join(f"[projects.p{number}]\n" for number in range(400)))
    with terminal(home, "apply", "-f", str(apply.file)) as applying:
        applying.read_until(lambda text: re.search(r"\b[1-9]\d?%", text) is not None)
        applying.type("\x03")
        assert applying.end() == 130
    assert "what was changed by then stays" in applying.text
    made = len(keypool("project", "list").rows)
    assert 0 < made < 400
    again = keypool("apply", "-f", str(apply.file), "--json").json
    assert (again["changed"], again["refused"]) == (400 - made, 0)


def test_a_file_that_is_nested_without_end_is_not_understood(apply):
    result = apply("a = " + "[" * 100_000)
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert "nested too deeply" in result.err


def test_pruning_asks_on_a_terminal(apply, home, keypool):
    keypool.add("extra", "px")
    apply.file.write_text("[keys]\n")
    with terminal(home, "apply", "-f", str(apply.file), "--prune") as asking:
        asking.read_until(lambda text: "[y/N]" in text)
        assert "key extra" in asking.text
        asking.type("n\n")
        assert asking.end() == ExitCode.FAILURE
    assert len(keypool("list").rows) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[keys.x]\nproject='p'\nsecret='AIzaSyAAAAAAAAAAAAAAAAAAAA'", "never stands in this file"),
        ("[keys.x]\nproject='p'", "neither secret_env nor secret_file"),
        ("[keys.x]\nproject='p'\nsecret_env='K1'\nsecret_file='y'", "both secret_env"),
        ("[keys.x]\nsecret_env='K1'", "names no project"),
        ("[keys.x]\nproject='p'\nsecret_file='nowhere'", "cannot be read"),
        ("[keys.x]\nprojct='p'", "did you mean 'project'?"),
        ("[pools.x]\npolicy='random'", "policy is one of"),
        ("[pools.x]\nwait_s=true", "a number of seconds"),
        ("[pools.x]\nwait_s=301", "between 0 and 300"),
        ("[projects.x]\npriority='high'", "a whole number"),
        ("[projects.x]\nenabled=1", "true or false"),
        ("[projects.x]\negress_proxy='http://me:hunter2@h:1'", "a password does not stand"),
        ("[projects.x]\negress_proxy='nonsense'", "no proxy's URL"),
        ("[pools.x]\nshared_resources=1", "true or false"),
        ("[[quotas]]\nproject='p'\ntier='t'\nrpm=1", "not for both"),
        ("[[quotas]]\nproject='p'", "names none of"),
        ("[[quotas]]\nproject='p'\nrpm=1", "no project named 'p'"),
        ("[[quotas]]\nrpm=-1", "0 to 10^12"),
        ("[[quotas]]\nrpm=1.5", "0 to 10^12"),
        ("[[quotas]]\nrpm=1\n[[quotas]]\nrpm=2", "stands there twice"),
        ("[clients.x]", "token_file"),
        ("[clients.x]\nexpires='soon'\ntoken_file='t'", "is a date"),
        ("[clients.x]\npools=['nope']\ntoken_file='t'", "no pool named"),
        ("[clients.x]\nscopes=['root']\ntoken_file='t'", "scopes are some of"),
        ("[clients.x]\ntoken_file='pool.toml'", "cannot be made"),
    ],
)
def test_each_mistake_is_told_where_it_stands(apply, keypool, text, why):
    result = apply(text + "\n[projects.good]\n")
    assert result.code == ExitCode.PARTLY_DONE, result.err
    reasons = [each["reason"] for each in result.json["changes"] if each["outcome"] == "refused"]
    assert any(why in reason for reason in reasons), reasons
    assert [row[0] for row in keypool("project", "list").rows][:1] == ["good"]
    assert not re.search("AIzaSy|hunter2", result.out + result.err)


def test_a_client_whose_token_cannot_be_written_is_revoked_again(
    apply, keypool, monkeypatch, tmp_path
):
    """A full disk takes a new file, and nothing in it."""
    opened = os.fdopen

    def full(handle, mode, **options):
        if mode == "w":
            with Path("/dev/full").open("w") as disk:
                os.dup2(disk.fileno(), handle)
        return opened(handle, mode, **options)

    monkeypatch.setattr(os, "fdopen", full)
    result = apply("[clients.x]\ntoken_file='t'\n[projects.good]\n")
    assert result.code == ExitCode.PARTLY_DONE, result.err
    assert "t cannot be written, so it is revoked again: No space left" in result.out
    assert [each["state"] for each in keypool("client", "list", "--json").json["clients"]] == [
        "revoked"
    ]
    assert not [*tmp_path.rglob("t")]


def test_a_secret_that_two_keys_have_is_refused_once(apply, keypool):
    text = "[keys.a]\nproject='p'\nsecret_env='K1'\n[keys.b]\nproject='p'\nsecret_env='K1'\n"
    result = apply(text)
    assert result.code == ExitCode.PARTLY_DONE
    assert "key 'a' has the same secret" in result.out
    assert [row[0] for row in keypool("list").rows] == ["a"]


def test_what_cannot_change_says_what_to_do(apply, keypool):
    apply(WHOLE)
    moved = WHOLE.replace('[keys.k1]\nproject = "p1"', '[keys.k1]\nproject = "p2"')
    assert "a key never moves" in apply(moved).out
    assert "revoke it" in apply(WHOLE.replace("rpm = 60", "rpm = 61")).out
    keypool("client", "revoke", "web", "--yes")
    assert "was revoked" in apply(WHOLE).out


@pytest.mark.parametrize(
    "text", ["[keys", "[kyes.k1]", "keys = 3", "quotas = 3", "[projects]\np1 = 3\n[x]"]
)
def test_a_file_that_is_not_understood_changes_nothing(apply, text):
    result = apply(text + "\n")
    assert result.code == ExitCode.USAGE
    assert "keypool guide apply" in result.err


def test_a_declaration_may_be_yaml(apply, keypool, tmp_path):
    assert apply.changes(WHOLE)
    (tmp_path / "pool.yml").write_text(WHOLE_YAML)
    assert "everything is as declared" in keypool("apply", "-f", str(tmp_path / "pool.yml")).err
    piped = keypool("apply", "-f", "-", "--format", "yaml", stdin="projects:\n  p3:\n")
    assert piped.rows == [["add", "project", "p3", "", "done"]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("010", 10),
        ("-1_000", -1000),
        ("1.5", 1.5),
        ("12:30", "12:30"),
        ("2099-01-31", "2099-01-31"),
        ("~", None),
        ("[true, False]", [True, False]),
        ("{7: x}", {"7": "x"}),
    ],
)
def test_yaml_is_read_without_surprises(text, value):
    assert parsed(f"pools: {{a: {{b: {text}}}}}", "yaml") == {"pools": {"a": {"b": value}}}


def test_an_empty_section_of_yaml_says_nothing():
    assert parsed("", "yaml") == {}
    assert parsed("keys:\npools: {main: }\nclients: {}", "yaml") == {
        "pools": {"main": {}},
        "clients": {},
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("- a", "a declaration has sections", id="a list"),
        pytest.param("a: 1\na: 2", "stands there twice (at line 2)", id="a name given twice"),
        pytest.param("a: [1\nb: SECRET", "not valid YAML (at line 2", id="no YAML"),
        pytest.param("a: \0SECRET", "not valid YAML", id="a character of no text"),
        pytest.param("a: !!python/object:os.x SECRET", "not a plain value", id="an object"),
        pytest.param("a: &a [*a]", "nested too deeply", id="a value that holds itself"),
        pytest.param("? [SECRET]\n: 1", "not a name (at line 1)", id="a list as a name"),
        pytest.param("a: 1\n---\nb: 2", "not valid YAML", id="two documents"),
    ],
)
def test_yaml_that_is_not_understood_tells_where_and_never_what(text, why):
    with pytest.raises(UsageError) as caught:
        parsed(text, "yaml")
    assert why in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_a_secret_in_broken_toml_is_not_shown(apply):
    result = apply("[keys.x]\nsecret = AIzaSyAAAAAAAAAAAAAAAAAAAA\n")
    assert result.code == ExitCode.USAGE
    assert "AIza" not in result.err


def test_a_thousand_keys_are_one_step(apply, tmp_path):
    for number in range(1000):
        (tmp_path / "secrets" / f"s{number}").write_text(secret_of(f"s{number}"))
    text = "".join(
        f"[keys.s{n}]\nproject='p{n // 10}'\nsecret_file='secrets/s{n}'\n" for n in range(1000)
    )
    assert apply(text).json["changed"] == 1000
    assert apply(text).json["changes"] == []
