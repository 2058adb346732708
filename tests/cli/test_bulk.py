"""``import`` and ``export``."""

import json
import re

import pytest

from keypool_cli.errors import ExitCode
from tests.support.command_line import secret_of, terminal


def csv_of(*names):
    lines = [f"{name},p1,{secret_of(name)}" for name in names]
    return "\n".join(["name,project,secret", *lines]) + "\n"


def test_a_csv_file_brings_all_that_add_can_say(keypool, tmp_path):
    (tmp_path / "keys.csv").write_text(
        "Name,project,secret,pool,tier,priority,labels\r\n"
        f'k1,p1,{secret_of("k1")},batch,Tier 1,7,"team=a,env=b"\r\n'
        f"k2,p2,{secret_of('k2')},,,,\r\n"
    )
    result = keypool("import", "keys.csv")
    assert result.code == 0, result.err
    assert result.rows == [["2", "k1", "added", ""], ["3", "k2", "added", ""]]
    key = keypool("show", "k1", "--json").json["key"]
    assert (key["pools"], key["tier"], key["priority"]) == (["batch"], "tier1", 7)
    assert key["labels"] == {"team": "a", "env": "b"}


def test_json_lines_are_read_from_stdin(keypool):
    lines = [
        json.dumps({"name": "k1", "secret": secret_of("k1"), "labels": {"a": "b"}}),
        "# a comment",
        json.dumps({"name": "k2", "secret": secret_of("k2"), "project": "p2"}),
    ]
    result = keypool("import", "-", "--format", "jsonl", "--project", "p1", stdin="\n".join(lines))
    assert [row[1:3] for row in result.rows] == [["k1", "added"], ["k2", "added"]]
    assert [row[:2] for row in keypool("list").rows] == [["k1", "p1"], ["k2", "p2"]]


def test_an_env_file_has_names_and_secrets(keypool, tmp_path):
    (tmp_path / ".env.production").write_text(
        f"# keys\nexport KEY_1=\"{secret_of('a')}\"\nKEY_2='{secret_of('b')}'\n\n"
    )
    assert keypool("import", ".env.production", "--project", "p1", "--pool", "x").code == 0
    assert [row[:4] for row in keypool("list").rows] == [
        ["KEY_1", "p1", "ready", "x"],
        ["KEY_2", "p1", "ready", "x"],
    ]
    without = keypool("import", ".env.production")
    assert without.code == ExitCode.FAILURE
    assert "it has no project (or say --project)" in without.out


def test_what_cannot_be_stored_is_told_by_line_and_the_rest_is_stored(keypool, tmp_path):
    keypool.add("k1", "p1")
    (tmp_path / "keys.csv").write_text(csv_of("k1", "k2") + "k3,p1\nk4,p1,s4,extra\n")
    result = keypool("import", "keys.csv", "--json")
    assert result.code == ExitCode.PARTLY_DONE
    answer = result.json
    counts = [answer[each] for each in ("added", "stored_already", "refused", "dry_run")]
    assert counts == [1, 1, 2, False]
    outcomes = [(each["line"], each["name"], each["outcome"]) for each in answer["lines"]]
    assert outcomes[:3] == [(2, "k1", "stored already"), (3, "k2", "added"), (4, "k3", "refused")]
    assert [row[0] for row in keypool("list").rows] == ["k1", "k2"]


def test_a_dry_run_shows_the_same_plan_and_keeps_nothing(keypool, tmp_path):
    (tmp_path / "keys.csv").write_text(csv_of("k1", "k1") + f"k2,p1,{secret_of('k1')}\n")
    dry = keypool("import", "keys.csv", "--dry-run")
    assert dry.code == ExitCode.PARTLY_DONE
    assert [row[2] for row in dry.rows] == ["would add", "stored already", "refused"]
    assert keypool("list").out == ""
    assert keypool("events").out == ""


def test_refusing_every_line_is_a_failure(keypool, tmp_path):
    (tmp_path / "keys.csv").write_text("name,project,secret\nk1,p1,\nk2,,s\n")
    result = keypool("import", "keys.csv")
    assert result.code == ExitCode.FAILURE
    assert "every line was refused (2)" in result.err


def test_a_file_that_was_stored_in_part_can_be_imported_again(keypool, tmp_path):
    file = tmp_path / "keys.csv"
    file.write_text(csv_of("k1", "k2") + "k3,p1,\n")
    assert keypool("import", "keys.csv").code == ExitCode.PARTLY_DONE
    before = keypool("list").out
    file.write_text(csv_of("k1", "k2", "k3"))
    again = keypool("import", "keys.csv")
    assert again.code == 0
    assert [row[2] for row in again.rows] == ["stored already", "stored already", "added"]
    assert "added: 1, stored already: 2, refused: 0" in again.err
    assert keypool("list").out.startswith(before)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(f"k2,p1,{secret_of('k1')}", id="under another name"),
        pytest.param(f"k1,p2,{secret_of('k1')}", id="in another project"),
        pytest.param(f"k1,p1,{secret_of('k2')}", id="with another secret"),
    ],
)
def test_a_key_that_differs_from_the_one_stored_is_refused(keypool, tmp_path, line):
    keypool.add("k1", "p1")
    (tmp_path / "keys.csv").write_text(f"name,project,secret\n{line}\n")
    result = keypool("import", "keys.csv")
    assert (result.code, result.rows[0][2]) == (ExitCode.FAILURE, "refused")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        pytest.param("name,project,secret,labls", "did you mean 'labels'?", id="a mistyped one"),
        pytest.param("name,secret,xyz", "column 3 has no known name", id="one of another kind"),
        pytest.param("name,project,secret,name", "'name' is there twice", id="one twice"),
        pytest.param("name;project;secret", "must name the columns", id="other separators"),
        pytest.param("name,project,fingerprint", "holds no secrets", id="an export's"),
    ],
)
def test_a_header_that_is_wrong_is_told_by_its_column(keypool, tmp_path, header, says):
    (tmp_path / "keys.csv").write_text(f"{header}\nk1,p1,s,x\n")
    result = keypool("import", "keys.csv")
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert says in result.err


def test_json_that_is_nested_without_end_is_a_line_refused(keypool, tmp_path):
    (tmp_path / "keys.jsonl").write_text("[" * 100_000)
    result = keypool("import", "keys.jsonl")
    assert (result.code, result.rows[0][2]) == (ExitCode.FAILURE, "refused")


def test_an_import_that_is_interrupted_ends_soon_and_can_be_taken_up(home, keypool, tmp_path):
    (tmp_path / "keys.csv").write_text(csv_of(*(f"k{number}" for number in range(20_000))))
    with terminal(home, "import", "keys.csv", size=(200, 50)) as importing:
        importing.read_until(lambda text: re.search(r"\b[1-9]\d?%", text) is not None)
        importing.type("\x03")
        assert importing.end() == 130
    assert "what was stored by then stays" in importing.text
    stored = len(keypool("list").rows)
    assert 0 < stored < 20_000
    assert stored % 2000 == 0, "a part is stored whole"
    again = keypool("import", "keys.csv")
    assert again.err == f"added: {20_000 - stored}, stored already: {stored}, refused: 0\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("keys.csv", f"k1,p1,{secret_of('k1')}\n", id="a CSV file without a header"),
        pytest.param("keys.csv", f"name,secret\n{secret_of('k')},x\n", id="a secret as a name"),
        pytest.param(
            "keys.csv", f"name,secret\nk1,{secret_of('k')},{secret_of('k')}\n", id="extra"
        ),
        pytest.param(
            "keys.csv", f"name,project,secret\nk,p,{secret_of('k')} x y\n", id="space in it"
        ),
        pytest.param("keys.jsonl", f'["{secret_of("k1")}"]\n', id="JSON that is no object"),
        pytest.param("keys.jsonl", f'{{"secret": "{secret_of("k1")}"\n', id="broken JSON"),
        pytest.param("keys.env", f"{secret_of('k1')}\n", id="an .env line without a name"),
    ],
)
def test_no_error_repeats_what_a_file_holds(keypool, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    for more in ([], ["--json"]):
        result = keypool("import", name, *more)
        assert result.code in {ExitCode.USAGE, ExitCode.FAILURE}
        assert "AIza" not in result.out + result.err
    assert keypool("list").out == ""


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('Project,"name",Secret\np1,k1,s1\n', id="csv"),
        pytest.param('\n{"name": "k1", "project": "p1", "secret": "s1"}\n', id="json lines"),
        pytest.param("# ours\nexport k1=s1\n", id="env"),
    ],
)
@pytest.mark.parametrize("file", ["-", "keys.txt"])
def test_the_first_line_tells_the_format_where_the_name_does_not(keypool, tmp_path, text, file):
    (tmp_path / "keys.txt").write_text(text)
    result = keypool("import", file, "--project", "p1", stdin=text)
    assert result.code == 0, result.err
    assert keypool("list", "--json").json["keys"][0]["name"] == "k1"


@pytest.mark.parametrize("text", ["", "name;project;secret\nk1;p1;s1\n", "AIza-only-a-secret\n"])
def test_the_format_is_asked_for_where_nothing_tells_it(keypool, text):
    unclear = keypool("import", "-", stdin=text)
    assert unclear.code == ExitCode.USAGE
    assert "--format csv|jsonl|env" in unclear.err
    assert "AIza" not in unclear.err


def test_a_file_that_is_not_there_is_named(keypool):
    result = keypool("import", "nowhere.csv")
    assert result.code == ExitCode.USAGE
    assert "nowhere.csv" in result.err


def test_an_export_has_everything_but_secrets(keypool):
    keypool.add("k1", "p1", "--pool", "main", "--label", "a=b", "--label", "c=d")
    for words in ([], ["--format", "jsonl"], ["--json"]):
        result = keypool("export", *words)
        assert "k1" in result.out
        assert secret_of("k1") not in result.out
    header, line = keypool("export").out.splitlines()
    assert header == (
        "name,project,pool,tier,priority,labels,fingerprint,state"
        ",pools,billing_account,egress_proxy,project_state"
    )
    assert line.startswith('k1,p1,main,,0,"a=b,c=d",')


def test_secrets_are_exported_to_a_terminal_only_and_that_is_logged(keypool, home):
    keypool.add("k1", "p1")
    refused = keypool("export", "--reveal")
    assert (refused.code, refused.out) == (ExitCode.NOT_PERMITTED, "")
    with terminal(home, "export", "--reveal") as shown:
        assert shown.end() == 0
    assert secret_of("k1") in shown.text
    [event] = keypool("events", "--kind", "secrets.revealed", "--json").json["events"]
    assert event["actor"]


def test_an_export_can_be_imported_once_secrets_are_filled_in(keypool, tmp_path):
    keypool.add("k1", "p1", "--pool", "batch", "--tier", "free", "--label", "a=b")
    record = json.loads(keypool("export", "--format", "jsonl").out)
    before = keypool("show", "k1", "--json").json["key"]
    keypool("project", "remove", "p1", "--with-keys", "--yes")
    (tmp_path / "keys.jsonl").write_text(json.dumps(record | {"secret": secret_of("k1")}))
    assert keypool("import", "keys.jsonl").code == 0
    after = keypool("show", "k1", "--json").json["key"]
    assert after | {"created_at": ""} == before | {"created_at": ""}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_labels_of_any_kind_come_back_from_an_export(keypool, home, tmp_path, kind):
    labels = {"team": "a,b", "x": "y=z", "\u0641\u0631\u064a\u0642": "{1}"}
    words = [word for name, value in labels.items() for word in ("-l", f"{name}={value}")]
    keypool.add("k1", "p1", *words)
    keypool.add("k2", "p1", "-l", "plain=1")
    with terminal(home, "export", "--reveal", "--format", kind, size=(400, 24)) as shown:
        shown.end()
    (tmp_path / f"keys.{kind}").write_text(shown.text.replace("\r\n", "\n"))
    keypool("project", "remove", "p1", "--with-keys", "--yes")
    assert keypool("import", f"keys.{kind}").code == 0
    found = {each["name"]: each["labels"] for each in keypool("list", "--json").json["keys"]}
    assert found == {"k1": labels, "k2": {"plain": "1"}}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_export_comes_back_without_loss_and_twice_changes_nothing(keypool, home, tmp_path, kind):
    keypool.add("k1", "p1", "--pool", "a", "--tier", "tier1", "--priority", "7")
    keypool("pool", "set", "b, too", "--create", "--add-project", "p1")
    keypool(
        *["project", "set", "p1", "--billing-account", "acme", "--disable", "--egress-proxy", "-"],
        stdin="http://me:secret-word@proxy.example:3128",
    )
    keypool("disable", keypool.add("k2", "p2").out.split()[0])
    before = [keypool(verb, "--json").json for verb in ("export", "list")]
    with terminal(home, "export", "--reveal", "--format", kind, size=(400, 24)) as shown:
        shown.end()
    (tmp_path / f"keys.{kind}").write_text(shown.text.replace("\r\n", "\n"))
    for project in ("p1", "p2"):
        keypool("project", "remove", project, "--with-keys", "--yes")
    for pool in ("a", "b, too", "main"):
        keypool("pool", "remove", pool, "--yes")
    assert keypool("import", f"keys.{kind}").code == 0
    for again in ("added", "stored already"):
        after = [keypool(verb, "--json").json for verb in ("export", "list")]
        assert [_undated(each) for each in after] == [_undated(each) for each in before], again
        assert {row[2] for row in keypool("import", f"keys.{kind}").rows} == {"stored already"}


def _undated(listed):
    return [each | {"created_at": ""} for each in listed["keys"]]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        pytest.param({"state": "off"}, "state is one of ready, disabled, dead", id="no state"),
        pytest.param({"project_state": "dead"}, "project_state is one of", id="no project's state"),
        pytest.param({"pools": 7}, "pools are names", id="no pools"),
        pytest.param({"pools": ["a", 7]}, "pools are names", id="no pool's name"),
        pytest.param({"egress_proxy": "nope"}, "is no proxy's URL", id="no proxy"),
        pytest.param(
            {"egress_proxy": "http://u:***@h:1"}, "password of the egress proxy", id="hidden"
        ),
        pytest.param({"billing_account": "b2"}, "billing account b1, not b2", id="another account"),
        pytest.param({"project_state": "disabled"}, "it is enabled, not disabled", id="enabled"),
        pytest.param({"egress_proxy": "http://h:1"}, "egress proxy none, not http", id="a proxy"),
    ],
)
def test_a_line_that_cannot_hold_is_refused_and_says_why(keypool, members, says):
    keypool.add("k1", "p1")
    keypool("project", "set", "p1", "--billing-account", "b1")
    line = json.dumps({"name": "k2", "project": "p1", "secret": secret_of("k2"), **members})
    result = keypool("import", "-", "--format", "jsonl", stdin=line)
    assert result.code == ExitCode.FAILURE
    assert result.rows[0][2] == "refused"
    assert says in result.rows[0][3]


def test_many_lines_have_a_progress_bar_on_a_terminal(home, tmp_path):
    (tmp_path / "keys.csv").write_text(csv_of(*(f"k{number}" for number in range(201))))
    with terminal(home, "import", "keys.csv") as importing:
        assert importing.end() == 0
    assert "storing keys" in importing.text
    assert "added: 201, refused: 0" in importing.text


def test_after_many_lines_the_first_status_does_not_read_them_from_sql(
    keypool, tmp_path, monkeypatch
):
    (tmp_path / "keys.csv").write_text(csv_of(*(f"k{number}" for number in range(200))))
    assert keypool("import", "keys.csv").code == 0
    monkeypatch.setattr("keypool_cli.service.mirror.Look.registry", None)
    assert "1 of 1 projects ready" in keypool("status").out
