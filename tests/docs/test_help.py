"""Every verb has help, and the examples in it work as they are written."""

import shlex

import pytest

from tests.support.command_line import Keypool, secret_of, terminal
from tests.support.examples import (
    ASKING,
    EXAMPLES,
    VERBS,
    ends_well,
    runs_on,
)


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


CHANGING = {("add",), ("import",), ("quota", "import"), ("client", "add")}
"""Verbs that change something without a reason to give."""


@pytest.mark.parametrize(("words", "command"), VERBS, ids=[" ".join(words) for words, _ in VERBS])
def test_every_verb_that_changes_something_takes_yes(words, command):
    options = {name for option in command.params for name in option.opts}
    assert ("--yes" in options) == ("--reason" in options or words in CHANGING)


@pytest.mark.parametrize(
    ("words", "line"),
    [each for each in EXAMPLES if not runs_on(*each)],
    ids=[line for words, line in EXAMPLES if not runs_on(words, line)],
)
def test_every_example_works(words, line, home, gemini, monkeypatch, capsys):
    if words[0] in ASKING:
        monkeypatch.setenv("KEYPOOL_UPSTREAM_URL", gemini.url)
    if words == ("add",):
        (home / "keypool.db").unlink()
    if words == ("add",) and "--from" not in line:
        with terminal(home, *shlex.split(line)[1:]) as asking:
            asking.read_until(lambda text: "not shown" in text)
            asking.type(secret_of("typed") + "\n")
            assert asking.end() == 0, asking.text
    else:
        result = Keypool(monkeypatch, capsys).line(line)
        assert ends_well(line, result.code), result.err
