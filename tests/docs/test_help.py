"""Every verb has help, and the examples in it work as they are written."""

import re
import shlex
import shutil

import pytest
import typer.main

from keypool_cli.cli.main import app
from keypool_cli.core.model import Secret
from keypool_cli.registry.repository import Registry
from keypool_cli.registry.values import Actor, NewClient, NewKey, QuotaScope
from tests.support.command_line import Keypool, secret_of, terminal

SERVERS = {"serve", "simulate", "demo"}
"""Verbs that run long or until they are told to end: other tests start them."""

BY = Actor("tester", "here")
MODEL = "gemini-2.5-flash"


def verbs():
    """Every verb of the command line: the words that call it, and its command."""
    commands = getattr(typer.main.get_command(app), "commands", {})
    for name, command in commands.items():
        below = getattr(command, "commands", None)
        if below is None:
            yield (name,), command
        for verb, inner in (below or {}).items():
            yield (name, verb), inner


VERBS = list(verbs())
EXAMPLES = [
    (words, line)
    for words, command in VERBS
    for line in re.findall(r"^  (keypool .*)$", command.epilog or "", re.MULTILINE)
]


@pytest.fixture(scope="module")
def example_home(tmp_path_factory):
    """A home in which everything exists that the examples speak of."""
    home = tmp_path_factory.mktemp("examples") / "home"
    home.mkdir(mode=0o700)
    (home / "master.key").write_text("ab" * 32)
    (home / "master.key").chmod(0o600)
    registry = Registry.open(f"sqlite:///{home}/keypool.db", master_key=bytes.fromhex("ab" * 32))
    for number in (1, 2):
        key = NewKey(f"k{number}", Secret(secret_of(f"k{number}")), f"p{number}")
        registry.keys.add(key, by=BY)
    registry.projects.create("old-project", by=BY)
    registry.clients.add(NewClient("old-app"), by=BY)
    registry.quotas.set(QuotaScope(project="p1", model=MODEL), {"rpm": 5, "tpm": 9000}, by=BY)
    registry.close()
    return home


@pytest.fixture
def home(example_home, tmp_path, monkeypatch):
    """A copy of that home, and the files that the examples read."""
    own = shutil.copytree(example_home, tmp_path / "home")
    own.chmod(0o700)
    (tmp_path / "keys.csv").write_text(f"name,project,secret\nk9,p9,{secret_of('k9')}\n")
    (tmp_path / "new-secret.txt").write_text(secret_of("new"))
    monkeypatch.setenv("KEYPOOL_HOME", str(own))
    monkeypatch.setenv("GEMINI_KEY", secret_of("from env"))
    monkeypatch.chdir(tmp_path)
    return own


@pytest.mark.parametrize("words", [words for words, _ in VERBS], ids=" ".join)
def test_every_verb_has_help_with_an_example_of_itself(words, monkeypatch, capsys):
    result = Keypool(monkeypatch, capsys)(*words, "--help")
    assert result.code == 0
    assert f"Usage: keypool {' '.join(words)}" in result.out
    own = [line for verb, line in EXAMPLES if verb == words]
    assert own
    for line in own:
        assert line.startswith(f"keypool {' '.join(words)}")
        assert line in result.out, "an example is printed as it was written"


@pytest.mark.parametrize(("words", "command"), VERBS, ids=[" ".join(words) for words, _ in VERBS])
def test_every_verb_has_json_and_its_summary_fits_the_list(words, command):
    options = {name for option in command.params for name in option.opts}
    assert "--json" in options
    assert not command.get_short_help_str(limit=58).endswith("..."), words


@pytest.mark.parametrize(
    ("words", "line"),
    [each for each in EXAMPLES if each[0][0] not in SERVERS],
    ids=[line for words, line in EXAMPLES if words[0] not in SERVERS],
)
def test_every_example_works(words, line, home, monkeypatch, capsys):
    if words == ("add",):
        (home / "keypool.db").unlink()
    if words == ("add",) and "--from" not in line:
        with terminal(home, *shlex.split(line)[1:]) as asking:
            asking.read_until(lambda text: "not shown" in text)
            asking.type(secret_of("typed") + "\n")
            assert asking.end() == 0, asking.text
    else:
        result = Keypool(monkeypatch, capsys).line(line)
        assert result.code == 0, result.err
