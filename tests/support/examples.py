"""The verbs, the examples in their help, and a home in which everything exists they speak of."""

import re
import shutil

import typer.main

from keypool_cli.cli.verbs import whole
from keypool_cli.core.model import Secret
from keypool_cli.errors import ExitCode
from keypool_cli.registry.repository import Registry
from keypool_cli.registry.values import NewClient, NewKey, QuotaScope
from tests.support.command_line import secret_of
from tests.support.registry import BY

SERVERS = {"serve", "simulate", "demo"}
"""Verbs that run long or until they are told to end: other tests start them."""


def runs_on(words, line):
    """Whether an example runs until it is told to end."""
    return words[0] in SERVERS or (words[0] == "top" and "--once" not in line)


def ends_well(line, code):
    """Whether an example ended as it should; a check may also find drift: no counts are Gemini's."""
    return code == ExitCode.OK or (code == ExitCode.DRIFT and "probe --check" in line)


ASKING = {"check", "probe"}
"""Verbs that ask Gemini: their examples need a simulator."""

MODEL = "gemini-2.5-flash"

DECLARATION = """
[projects.p1]
priority = 7

[keys.k1]
project = "p1"
secret_env = "GEMINI_KEY"
"""

LIMITS = "Model,RPM,TPM,RPD\nGemini 2.5 Flash,3 / 5,10 / 250K,0 / 20\n"


def verbs():
    """Every verb of the command line: the words that call it, and its command."""
    commands = getattr(typer.main.get_command(whole()), "commands", {})
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


def make_home(home):
    """Fill a home with all that the examples name."""
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


def copy_home(example_home, folder, monkeypatch):
    """A copy of that home, and the files and variables that the examples read."""
    own = shutil.copytree(example_home, folder / "home")
    own.chmod(0o700)
    (folder / "keys.csv").write_text(f"name,project,secret\nk9,p9,{secret_of('k9')}\n")
    (folder / "new-secret.txt").write_text(secret_of("new"))
    (folder / "pool.toml").write_text(DECLARATION)
    (folder / "pool.yaml").write_text("projects:\n  p1: {priority: 3}\n")
    (folder / "limits.csv").write_text(LIMITS)
    monkeypatch.setenv("KEYPOOL_HOME", str(own))
    monkeypatch.setenv("GEMINI_KEY", secret_of("from env"))
    monkeypatch.chdir(folder)
    return own


def world():
    """What a simulator must know to answer for that home: its keys, and the model they name."""
    keys = {f"p{number}": {"keys": [secret_of(f"k{number}")]} for number in (1, 2)}
    return {"projects": keys, "models": [MODEL]}
