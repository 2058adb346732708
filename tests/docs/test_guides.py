"""The guides: complete, in the package, and every command in them works."""

import re
import shlex
from importlib.resources import files
from typing import Any

import msgspec
import pytest
import typer.main

from keypool_cli.cli.guide import TOPICS, text_of
from keypool_cli.cli.verbs import whole
from keypool_cli.core.model import Secret
from keypool_cli.errors import ExitCode
from keypool_cli.registry.repository import Registry
from keypool_cli.registry.values import NewClient, NewKey
from keypool_cli.simulator.faults import Fault, Kind
from tests.support.command_line import Keypool, secret_of, terminal
from tests.support.examples import DECLARATION, LIMITS
from tests.support.registry import BY
from tests.support.simulator import simulator

FLASH = "gemini-2.5-flash"

NOT_RUN = {"serve", "simulate", "demo", "probe"}
"""Verbs that run long; here it is only seen that their lines are understood."""


COMMAND = re.compile(r"""\bkeypool [a-z](?:"[^"]*"|'[^']*'|[^|>;&)"'])*""")
"""A command up to what a shell does with its output."""


def commands():
    """Every command in the guides: its topic, and the line without what a shell does around it."""
    for topic in TOPICS:
        text = text_of(topic)
        blocks = re.findall(
            r"^ *```(?:sh|console|yaml)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL
        )
        for line in "".join(blocks).splitlines():
            for found in COMMAND.findall(line) if "pip install" not in line else ():
                yield topic, found.strip()


COMMANDS = sorted(set(commands()))
IDS = [f"{topic}: {line}" for topic, line in COMMANDS]


@pytest.fixture(scope="module")
def gemini():
    """A simulator that knows the guides' keys."""
    projects = {"shop": {"keys": [secret_of("shop-web")]}, "lab": {"keys": [secret_of("lab-web")]}}
    with simulator({"projects": projects, "models": [FLASH]}) as running:
        yield running


@pytest.fixture
def guided(home, tmp_path, monkeypatch, capsys, gemini):
    """A home with the names that the guides speak of, and the files they read."""
    registry = Registry.open(f"sqlite:///{home}/keypool.db", master_key=bytes.fromhex("ab" * 32))
    registry.pools.create("الإنتاج", by=BY)
    for key, project, tier in (("shop-web", "shop", "free"), ("lab-web", "lab", "tier1")):
        registry.keys.add(NewKey(key, Secret(secret_of(key)), project, tier=tier), by=BY)
    registry.clients.add(NewClient("web"), by=BY)
    registry.close()
    (home / "master.key").write_text("ab" * 32)
    (home / "master.key").chmod(0o600)
    (tmp_path / "keys.csv").write_text(f"name,project,secret\nk9,p9,{secret_of('k9')}\n")
    (tmp_path / "new-secret.txt").write_text(secret_of("new"))
    (tmp_path / "limits.tsv").write_text(LIMITS)
    (tmp_path / "pool.toml").write_text(DECLARATION)
    for name, value in (
        ("KEYPOOL_HOME", str(home)),
        ("KEYPOOL_UPSTREAM_URL", gemini.url),
        ("LAB_KEY", secret_of("lab")),
        ("GEMINI_KEY", secret_of("gemini")),
    ):
        monkeypatch.setenv(name, value)
    return Keypool(monkeypatch, capsys)


@pytest.fixture
def home(tmp_path, monkeypatch):
    own = tmp_path / "home"
    own.mkdir(mode=0o700)
    monkeypatch.chdir(tmp_path)
    return own


def test_there_are_commands_in_the_guides():
    assert len(COMMANDS) > 40
    assert {topic for topic, _ in COMMANDS} >= set(TOPICS) - {"concepts"}


@pytest.mark.parametrize(("topic", "line"), COMMANDS, ids=IDS)
def test_every_command_is_understood(topic, line):
    command: Any = typer.main.get_command(whole())
    name, words, context = "keypool", shlex.split(line)[1:], None
    while getattr(command, "commands", None):
        context = command.make_context(name, list(words), parent=context)
        name, command, words = command.resolve_command(context, words)
    assert command is not None, topic
    command.make_context(name, list(words), parent=context)


@pytest.mark.parametrize(
    ("topic", "line"),
    [each for each in COMMANDS if each[1].split()[1] not in NOT_RUN],
    ids=[
        name for name, each in zip(IDS, COMMANDS, strict=True) if each[1].split()[1] not in NOT_RUN
    ],
)
def test_every_command_works(topic, line, guided):
    words = shlex.split(line)[1:]
    if words[0] == "add":  # the guide shows how the secret is asked for
        guided("remove", words[1], "--yes")
        words += [] if "--from" in line else ["--from-env", "GEMINI_KEY"]
    if words[:2] == ["client", "add"]:
        words[2] += "-2"
    if words[:2] == ["client", "revoke"]:
        words += ["--yes"]  # on a terminal it asks
    result = guided(*words)
    assert result.code == 0, (topic, result.err)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_guide_is_raw_markdown_when_piped_and_laid_out_on_a_terminal(topic, guided, home):
    raw = guided("guide", topic)
    assert (raw.code, raw.out) == (0, text_of(topic))
    assert raw.out.startswith("# ")
    assert guided("guide", topic, "--json").json["text"] == text_of(topic)
    with terminal(home, "guide", topic, size=(80, 24)) as screen:
        assert screen.end() == 0
    shown = re.sub(r"\x1b\[[\d;]*m", "", screen.text)
    assert "```" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_every_file_is_listed_and_every_guide_that_is_named_exists(guided):
    listed = [row[0] for row in guided("guide").rows]
    assert listed == list(TOPICS)
    found = {each.name for each in files("keypool_cli").joinpath("guides").iterdir()}
    assert found == {f"{topic}.md" for topic in TOPICS}
    for topic in TOPICS:
        for name in re.findall(r"keypool guide (\w+)", text_of(topic)):
            assert name in TOPICS


def test_a_mistyped_guide_is_suggested(guided):
    result = guided("guide", "quotes")
    assert result.code == ExitCode.NOT_FOUND
    assert "did you mean 'quotas'?" in result.err


def test_the_declaration_in_the_guide_can_be_applied(guided, tmp_path, monkeypatch):
    monkeypatch.setenv("SHOP_WEB_KEY", secret_of("shop-web"))
    [declared] = re.findall(r"```toml\n(.*?)```", text_of("apply"), re.DOTALL)
    guided("client", "revoke", "web", "--yes")
    (tmp_path / "pool.toml").write_text(declared.replace("[clients.web]", "[clients.web3]"))
    assert guided("apply", "-f", "pool.toml").code == 0
    assert guided("apply", "-f", "pool.toml", "--json").json["changes"] == []


def test_the_exit_codes_are_told_as_they_are():
    text = " ".join(text_of("operating").partition("## Exit codes")[2].split())
    for code in ExitCode:
        assert re.search(rf"\b{code.value} \w", text), code


def test_every_fault_of_the_simulator_is_told_with_its_fields():
    text = text_of("recipes").partition("## Testing")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", text))
    assert {each.value for each in Kind} <= named
    assert {each.name for each in msgspec.structs.fields(Fault)} - {"kind"} <= named
