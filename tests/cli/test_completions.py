"""Completion scripts: current, and right in the shells themselves."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keypool_cli.cli.command_tree import NAMES, NOTHING, entries
from keypool_cli.cli.completions import FILES, script_of
from keypool_cli.cli.verbs import whole
from tests.support.command_line import ROOT, environment, secret_of

SCRIPTS = ROOT / "completions"
MOST_MS = 20

BASH = r"""
source "$SCRIPT"
COMP_WORDS=("$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_keypool
printf '%s\n' "${COMPREPLY[@]}"
"""

# What zsh would be offered: its own functions are asked instead of shown.
ZSH = r"""
compdef() { : }
compset() { PREFIX="${PREFIX#*=}" }
_describe() { [[ $1 == -o ]] && shift; print -rl -- ${(P)2} }
compadd() {
  if [[ $1 == -a ]] { local -a all=(${(P)2}) } else { local -a all=(${@[2,-1]}) }
  print -rl -- ${(M)all:#${PREFIX}*}
}
_files() { print -r -- files $1 }
source "$SCRIPT"
words=("$@") CURRENT=$# PREFIX="${@[-1]}"
_keypool
"""

FISH = r"""
source $SCRIPT
complete -C (string join ' ' -- $argv)
"""

CASES = [
    pytest.param(["comple"], ["completions"], id="a verb"),
    pytest.param(["quota", "im"], ["import"], id="a verb of a noun"),
    pytest.param(["add", "--prio"], ["--priority"], id="an option"),
    pytest.param(["--ho"], ["--home"], id="an option before the verb"),
    pytest.param(["show", "we"], ["web-1", "web-2"], id="a key"),
    pytest.param(["disable", "web-1", "we"], ["web-1", "web-2"], id="one more key"),
    pytest.param(["add", "x", "--project", "sh"], ["shop"], id="a project"),
    pytest.param(["--quiet", "status", "--pool", "ba"], ["batch"], id="a pool"),
    pytest.param(["quota", "set", "--model", "gemini-2.5-pr"], ["gemini-2.5-pro"], id="a model"),
    pytest.param(["client", "revoke", "a"], ["app"], id="a client"),
    pytest.param(["pool", "set", "main", "--policy", "pa"], ["pack"], id="a word of few"),
    pytest.param(["guide", "quo"], ["quotas"], id="a guide"),
    pytest.param(["add", "x", "--label", "a"], [], id="what nobody can guess"),
    pytest.param(["--home", "HOME", "show", "we"], ["web-1", "web-2"], id="another home"),
    pytest.param(["--home", "/nowhere", "show", "we"], [], id="a home that is not there"),
]


def shell(name):
    """A shell's path; skips where it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory, module_keypool):
    """A home with names to complete, and a ``keypool`` on the path."""
    folder = tmp_path_factory.mktemp("completions")
    return module_keypool(folder)


@pytest.fixture(scope="module")
def module_keypool():
    def make(folder):
        path = folder / "home"
        env = environment(path)
        for words in (
            ("add", "web-1", "--project", "shop", "--pool", "batch", "--from-stdin"),
            ("add", "web-2", "--project", "shop", "--from-stdin"),
            ("add", "other", "--project", "lab", "--from-stdin"),
            ("client", "add", "app"),
        ):
            command = [sys.executable, "-m", "keypool_cli", *words]
            secret = secret_of(words[1])
            subprocess.run(command, input=secret, text=True, env=env, check=True, stdout=-3)
        program = folder / "bin" / "keypool"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m keypool_cli "$@"\n')
        program.chmod(0o755)
        return path

    return make


def surroundings(home, name):
    """The environment of a shell in which ``keypool`` is found."""
    path = f"{home.parent / 'bin'}:{os.environ['PATH']}"
    return environment(home, SCRIPT=str(SCRIPTS / FILES[name]), PATH=path, HOME=str(home.parent))


def offered(name, home, words):
    """What a shell offers for the last of these words, without descriptions."""
    words = ["keypool", *(str(home) if each == "HOME" else each for each in words)]
    program = {
        "bash": ["--norc", "-c", BASH, "bash"],
        "zsh": ["-f", "-c", ZSH, "zsh"],
        "fish": ["--no-config", "-c", FISH],
    }[name]
    env = surroundings(home, name)
    if "/nowhere" in words:
        env.pop("KEYPOOL_HOME")
    done = subprocess.run(
        [shell(name), *program, *words], env=env, text=True, capture_output=True, check=False
    )
    assert done.stderr == ""
    lines = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    return [line.partition(":")[0] for line in lines if line]


@pytest.mark.parametrize("name", FILES)
def test_the_scripts_in_the_repository_are_current(name):
    found = (SCRIPTS / FILES[name]).read_text(encoding="utf-8")
    assert found == script_of(name), "run: keypool completions --write completions"


@pytest.mark.parametrize("name", FILES)
def test_a_shell_reads_its_script(name):
    subprocess.run([shell(name), "-n", SCRIPTS / FILES[name]], check=True)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("words", "expected"), CASES)
def test_the_shells_offer(name, words, expected, home):
    found = [each for each in offered(name, home, words) if each.startswith(words[-1])]
    assert sorted(found) == expected


@pytest.mark.parametrize("name", ["bash", "fish"])
def test_a_value_after_an_equals_sign(name, home):
    words = ["add", "x", "--project", "=", "sh"] if name == "bash" else ["add", "x", "--project=sh"]
    assert offered(name, home, words) == ["shop" if name == "bash" else "--project=shop"]


@pytest.mark.parametrize("name", ["bash", "fish"])
def test_files_are_offered_where_a_file_stands(name, home, monkeypatch, tmp_path):
    (tmp_path / "pool.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert offered(name, home, ["apply", "-f", "po"]) == ["pool.toml"]


def test_zsh_completes_in_a_terminal(home):
    path = f"{home.parent / 'bin'}:{os.environ['PATH']}"
    env = environment(home, PATH=path, HOME=str(home.parent), TERM="dumb", PS1="> ")
    master, slave = pty.openpty()
    command = [shell("zsh"), "-f", "-i"]
    running = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env)
    os.close(slave)
    try:
        setup = f"fpath=({SCRIPTS} $fpath); autoload -U compinit; compinit -u -D; echo rea''dy\n"
        os.write(master, setup.encode())
        _until(master, "ready")
        os.write(master, b"keypool comple\t")
        _until(master, "completions")
        os.write(master, b"\x15keypool show web-\t\t")
        _until(master, "web-2")
    finally:
        running.kill()
        running.wait()
        os.close(master)


def _until(handle, text):
    seen, deadline = "", time.monotonic() + 30
    while text not in seen:
        assert time.monotonic() < deadline, seen
        if select.select([handle], [], [], 0.2)[0]:
            seen += os.read(handle, 65536).decode(errors="replace")


def test_every_verb_and_option_is_in_the_tree_with_its_kind():
    tree = {each.path: each for each in entries(whole())}
    assert "__complete" not in tree[""].verbs
    holds = {word: option.holds for option in tree["add"].options for word in option.spellings}
    assert holds["--project"] == "projects"
    assert holds["--from-stdin"] == NOTHING
    assert holds["--tier"].split() == ["free", "tier1", "tier2", "tier3"]
    assert set(NAMES) <= {o.holds for e in tree.values() for o in e.options} | {"keys", "clients"}


TIMED = {
    "bash": r"""source "$SCRIPT"; COMP_WORDS=(keypool quota s) COMP_CWORD=2
for ((i = 0; i < 10; i++)); do a=${EPOCHREALTIME/[.,]/}; _keypool; b=${EPOCHREALTIME/[.,]/}
echo $((b - a)); done""",
    "zsh": r"""zmodload zsh/datetime; compdef() { : }; _describe() { : }; source "$SCRIPT"
words=(keypool quota s) CURRENT=3
for i in {1..10}; do a=$EPOCHREALTIME; _keypool; b=$EPOCHREALTIME
print $(( int((b - a) * 1000000) )); done""",
    "fish": r"""source $SCRIPT; for i in (seq 10); set a (date +%s%6N)
complete -C 'keypool quota s' >/dev/null; set b (date +%s%6N); math $b - $a; end""",
}


@pytest.mark.parametrize("name", FILES)
def test_verbs_are_completed_without_waiting_for_python(name, home):
    program = TIMED[name].replace("int(", "(") if name == "zsh" else TIMED[name]
    command = [shell(name), "--no-config"] if name == "fish" else [shell(name), "-f"]
    env = surroundings(home, name) | {"PATH": os.environ["PATH"]}  # no keypool to be asked
    done = subprocess.run(
        [*command, "-c", program], env=env, text=True, capture_output=True, check=False
    )
    took = sorted(float(line) for line in done.stdout.split())
    assert len(took) == 10, done.stderr
    # Each of them would take longer than that to start Python; a busy machine slows only some.
    assert took[0] / 1000 <= MOST_MS


def test_names_are_read_without_the_command_line_or_sqlalchemy(home):
    program = (
        "import sys; sys.argv = ['keypool', '__complete', 'keys', 'web']\n"
        "from keypool_cli.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'sqlalchemy', 'typer', 'rich', 'redis', 'asyncio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(home), capture_output=True, check=True
    )
    assert done.stdout == b"web-1\nweb-2\n"


@pytest.mark.parametrize("words", [[], ["nothing"], ["keys", "", "/nowhere"], ["keys", "\0"]])
def test_what_cannot_be_completed_prints_nothing(words, home):
    command = [sys.executable, "-m", "keypool_cli", "__complete", *words]
    if "\0" in words:
        command[-1] = "zzz"
    done = subprocess.run(command, env=environment(home), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not Path("/nowhere").exists()


def test_completions_are_printed_and_written(keypool, tmp_path):
    assert keypool("completions", "bash").out == script_of("bash")
    written = keypool("completions", "--write", str(tmp_path / "there"), "--json").json["files"]
    assert [Path(each).name for each in written] == ["keypool.bash", "_keypool", "keypool.fish"]
    assert Path(written[1]).read_text().startswith("#compdef keypool\n")
    assert keypool("completions").code == 2
    assert keypool("completions", "csh").code == 2
