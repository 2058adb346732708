"""How runs end: exit codes, one line for each error, no traceback, no secret."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import nullcontext, suppress

import pytest

from keypool_cli.cli import wiring
from keypool_cli.errors import ExitCode, UnreachableError
from keypool_cli.registry.database import errors_as_ours
from tests.support.command_line import COMMAND, environment, process, secret_of
from tests.support.servers import free_port
from tests.support.timing import quickly


def test_without_a_verb_the_help_is_shown(keypool):
    result = keypool()
    assert result.code == 0
    assert "status" in result.out
    assert keypool("quota").out.startswith("Usage: keypool quota")


def test_the_version_is_told(keypool):
    result = keypool("--version")
    assert result.code == 0
    assert result.out.startswith("keypool ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["statsu"], "Did you mean 'status'?", id="a mistyped verb"),
        pytest.param(["quota", "lst"], "Did you mean 'list'", id="a mistyped verb of a noun"),
        pytest.param(["list", "--projct", "p"], "--project", id="a mistyped option"),
        pytest.param(["add", "k1"], "--project", id="a missing option"),
        pytest.param(["reset", "--project"], "see: keypool reset --help", id="a missing value"),
        pytest.param(["status", "--watch", "0"], "--watch", id="a value out of range"),
        pytest.param(["status", "--watch", "soon"], "'--watch'", id="a value of another kind"),
        pytest.param(["status", "--min-ready", "2"], "belongs to --check", id="half of a pair"),
        pytest.param(["completions", "tcsh"], ": 'tcsh' is not one of", id="a value not offered"),
        pytest.param(["status", "--watch", "--check"], "exclude each other", id="two that clash"),
        pytest.param(["status", "--check", "--home"], "needs a folder", id="no home behind it"),
        pytest.param(["list", "--home", ""], "needs a folder", id="a home that is empty"),
        pytest.param(["list", "--home="], "needs a folder", id="an empty home behind ="),
        pytest.param(["list", "--home", "-q"], "needs a folder", id="an option as a home"),
        pytest.param(["quota", "list", "--defaults", "--project", "p"], "by tier", id="no tier"),
    ],
)
def test_a_wrong_command_is_exit_2_with_help_to_mend_it(keypool, words, says):
    result = keypool(*words)
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert says in result.err
    assert result.err.startswith("keypool: ")


def test_verbose_tells_where_it_looks_and_how_long_it_takes(keypool, home):
    home_line, *_, took = keypool("pool", "list", "-v").err.splitlines()
    assert home_line == f"home: {home} (environment KEYPOOL_HOME)"
    assert took.startswith("took ")
    assert keypool("pool", "list", "-v", "-q").err == ""


def test_with_json_an_error_is_one_line_of_json_on_stderr(keypool):
    result = keypool("show", "nope", "--json")
    assert (result.code, result.out) == (ExitCode.NOT_FOUND, "")
    assert result.err.count("\n") == 1
    assert json.loads(result.err) == {
        "schema": 1,
        "error": {"message": "no key named 'nope'", "hint": "see: keypool list", "exit_code": 3},
    }


@pytest.mark.parametrize(
    ("words", "says", "remedy"),
    [
        (["status"], "", "KEYPOOL_REDIS_URL"),
        (["disable", "k1"], "k1 is disabled\n", "keypool doctor"),
        (["reset", "k1"], "", "KEYPOOL_REDIS_URL"),
    ],
)
def test_a_store_that_is_away_is_exit_6_within_3_s_in_one_line(
    keypool, monkeypatch, words, says, remedy
):
    keypool.add("k1", "p1")
    monkeypatch.setenv("KEYPOOL_REDIS_URL", f"redis://:hunter2@127.0.0.1:{free_port()}")
    result = quickly(lambda: keypool(*words), within_s=3)
    assert (result.code, result.out) == (ExitCode.UNREACHABLE, says)
    message, hint = result.err.splitlines()
    assert "cannot be reached: Connection refused" in message
    assert remedy in hint
    assert "hunter2" not in result.err
    assert keypool("show", "k1").code == 0, "reading the registry needs no live store"


def test_help_is_a_short_option_and_a_verb_too(keypool):
    wanted = keypool("quota", "set", "--help").out
    assert keypool("quota", "set", "-h").out == keypool("help", "quota", "set").out == wanted
    assert "keypool quota set --project p1" in wanted


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        pytest.param("disk I/O error", "df -h", id="a full disk, at an open file"),
        pytest.param("database or disk is full", "df -h", id="a full disk"),
        pytest.param("database is locked", "run it again", id="another writer"),
        pytest.param("file is not a database", "a backup", id="a file of another kind"),
        pytest.param("database disk image is malformed", "a backup", id="a damaged file"),
        pytest.param("permission denied for table registry", "grant", id="a role that only reads"),
        pytest.param("cannot execute UPDATE in a", "name the primary", id="a standby"),
        pytest.param("connection refused", "KEYPOOL_DATABASE_URL", id="a server that is away"),
    ],
)
def test_what_the_database_says_comes_with_what_helps(said, remedy):
    with pytest.raises(UnreachableError) as told, errors_as_ours("sqlite:///k.db"):
        raise sqlite3.OperationalError(said)
    assert remedy in str(told.value.hint)


def test_a_damaged_master_key_is_not_answered_with_the_advice_to_make_another(keypool, home):
    keypool.add("k1", "p1")
    (home / "master.key").write_text("torn")
    hint = keypool.add("k2", "p1").err.splitlines()[-1]
    assert hint.startswith("hint: put back the one that the secrets were sealed with")


def test_a_database_that_is_away_is_exit_6(keypool, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KEYPOOL_DATABASE_URL", f"sqlite:///{tmp_path}/file/keypool.db")
    result = keypool("list")
    assert (result.code, result.out) == (ExitCode.UNREACHABLE, "")
    assert result.err.count("\n") <= 2


def test_a_lost_master_key_is_not_replaced_and_what_needs_none_goes_on(keypool, home):
    keypool.add("k1", "p1")
    (home / "master.key").unlink()
    assert keypool("list").code == keypool("disable", "k1").code == 0
    result = keypool.add("k2", "p1")
    assert result.code == ExitCode.NOT_PERMITTED
    assert "restore its file from your backup" in result.err
    assert not (home / "master.key").exists()


def test_a_wrong_master_key_is_exit_4(keypool, monkeypatch):
    keypool.add("k1", "p1")
    monkeypatch.setenv("KEYPOOL_MASTER_KEY", "ab" * 32)
    result = keypool.add("k2", "p2")
    assert (result.code, result.out) == (ExitCode.NOT_PERMITTED, "")


def test_a_home_that_others_may_write_in_is_exit_4(keypool, home):
    home.chmod(0o777)
    assert keypool("list").code == ExitCode.NOT_PERMITTED


def test_what_nobody_foresaw_is_one_line_and_a_traceback_only_where_asked(keypool, monkeypatch):
    def fail(*_args, **_kwargs):
        raise RuntimeError(f"failed with {secret_of('k1')}\nand more")

    monkeypatch.setattr("keypool_cli.config.load", fail)
    result = keypool("list")
    assert result.code == ExitCode.FAILURE
    assert result.err == (
        "keypool: unexpected RuntimeError: failed with [redacted]\nhint: run again with --debug\n"
    )
    with pytest.raises(RuntimeError):
        keypool("--debug", "list")


def test_no_process_prints_a_traceback(home):
    for words, code in (
        (["show", "nope"], 3),
        (["nonsense"], 2),
        (["add", "k", "--project", "p"], 2),
    ):
        result = process(home, *words)
        assert (result.code, result.out) == (code, ""), words
        assert "Traceback" not in result.err


def test_an_interrupt_that_is_forgotten_on_the_way_comes_again():
    """As ``asyncio.wait_for`` forgets one that comes together with the end of what it waits for."""

    async def work(_):
        os.kill(os.getpid(), signal.SIGINT)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        wiring.run(wiring._using(nullcontext(), work))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_reader_that_leaves_early_causes_no_noise(home):
    read_end, write_end = os.pipe()
    os.close(read_end)
    running = subprocess.Popen(
        [*COMMAND, "config", "show"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        env=environment(home, PYTHONUNBUFFERED=""),
    )
    os.close(write_end)
    _, err = running.communicate(timeout=30)
    assert err == b""
    assert running.returncode == 1


def test_a_secret_is_in_no_output_and_in_no_file_of_the_home(keypool, home):
    secret = secret_of("k1")
    keypool.add("k1", "p1")
    printed = [
        keypool(*words)
        for words in (
            ["list"],
            ["show", "k1", "--json"],
            ["events", "--json"],
            ["export"],
            ["status"],
            ["config", "show"],
            ["disable", "k1"],
            ["reset", "k1"],
            ["remove", "k1"],
        )
    ]
    assert all(secret not in each.out + each.err for each in printed)
    files = [path for path in home.rglob("*") if path.is_file()]
    assert files
    assert all(secret.encode() not in path.read_bytes() for path in files)


def test_help_imports_nothing_heavy():
    heavy = (
        *("sqlalchemy", "redis", "rich", "msgspec", "asyncio.events", "cryptography", "uvloop"),
        *("keypool_cli.core.model", "difflib", "csv", "importlib.resources"),
    )
    program = (
        "import sys; sys.argv=['keypool','--help']\n"
        "from keypool_cli.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)\n"
    )
    # typer itself may bring asyncio or rich; what counts is what keypool adds to it.
    bare = f"import sys, typer; print([n for n in {heavy!r} if n in sys.modules], file=sys.stderr)"
    found = [
        subprocess.run([sys.executable, "-c", each], capture_output=True, check=True).stderr
        for each in (program, bare)
    ]
    assert found[0] == found[1]


def test_a_tokenizer_that_is_not_there_is_told_before_anything_is_served(home):
    result = process(home, "serve", "--port", "0", KEYPOOL_TOKENIZER="no.model")
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert "no tokenizer file" in result.err


@pytest.mark.parametrize("verb", ["list", "disable"])
@pytest.mark.parametrize("to", [">/dev/full", ">&-"])
def test_what_cannot_be_printed_is_told_with_what_it_means(keypool, home, verb, to):
    keypool.add("k1", "p1")
    words = [*COMMAND, verb, *(["k1"] if verb == "disable" else [])]
    done = subprocess.run(
        ["sh", "-c", f'"$@" {to}', "sh", *words],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=environment(home),
    )
    told, hint = done.stderr.splitlines()
    assert done.returncode == ExitCode.FAILURE
    assert told.startswith("keypool: what it has to tell cannot be written: ")
    assert hint == "hint: what it was to change is changed"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["list"], 0, id="what reads nothing"),
        pytest.param(["remove", "k1"], ExitCode.USAGE, id="what asks"),
        pytest.param(["rotate", "k1"], ExitCode.USAGE, id="what asks for a secret"),
        pytest.param(["import", "-", "--format", "csv"], ExitCode.USAGE, id="what reads"),
    ],
)
def test_a_closed_stdin_is_an_empty_one(keypool, home, words, code):
    keypool.add("k1", "p1")
    done = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", *COMMAND, *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment(home),
    )
    assert done.returncode == code, done.stderr
    assert "unexpected" not in done.stderr


@pytest.mark.parametrize("words", [["show", "\udcff"], ["list", "--pool", "a\udcfe"]])
def test_a_word_that_is_not_utf_8_is_a_usage_error(keypool, words):
    keypool.add("k1", "p1")
    result = keypool(*words)
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert "is not UTF-8" in result.err


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["show", "nope"]])
def test_names_of_every_script_are_printed_whatever_the_locale(keypool, home, words):
    keypool.add("\u0645\u0641\u062a\u0627\u062d", "p1")
    done = process(home, *words, PYTHONIOENCODING="ascii")
    assert done.code == (ExitCode.NOT_FOUND if words[0] == "show" else 0), done.err
    assert words[0] == "show" or "\u0645\u0641\u062a\u0627\u062d" in done.out
