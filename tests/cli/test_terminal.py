"""What a person sees: tables that fit, questions, hidden prompts, a picture redrawn in place."""

import re

import pytest
from rich.cells import cell_len

from keypool_cli.errors import ExitCode
from tests.support.command_line import secret_of, terminal

MODEL = "gemini-2.5-flash-lite"
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CLEAR_LEFT = ("\x1b[?1049l", "\x1b[?25h")  # back from the other screen, cursor shown again


def lines_of(text):
    return [line.rstrip("\r") for line in ESCAPE.sub("", text).split("\n")]


@pytest.fixture
def filled(live_home, keypool):
    """Keys with long and right-to-left names, one of them disabled, on limited models."""
    keypool.add("k1", "p1")
    keypool.add("a-key-with-a-rather-long-name", "a-project-with-a-rather-long-name-as-well")
    keypool.add("مفتاح", "مشروع")
    keypool("disable", "k1", "--reason", "it was found in a public repository, " * 3)
    keypool("quota", "set", "--model", MODEL, "--rpm", "15", "--tpm", "250000")
    return live_home


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_tables_fit_the_terminal(filled, size):
    for words in (["status"], ["list"]):
        with terminal(filled, *words, size=size) as shown:
            assert shown.end() == 0
        lines = lines_of(shown.text)
        words_told = [line for line in lines if not line.startswith("hint: ")]
        assert max(map(cell_len, words_told)) <= size[0], lines
        assert any("p1" in line for line in lines)


def test_a_wide_terminal_shows_bars_reasons_and_fingerprints_and_a_narrow_one_what_matters(filled):
    with terminal(filled, "status", size=(200, 50)) as wide:
        wide.end()
    with terminal(filled, "status", size=(80, 24)) as narrow:
        narrow.end()
    header = next(line for line in lines_of(wide.text) if line.startswith("PROJECT"))
    shared = ["PROJECT", "MODEL", "STATE", "LEFT", "RPM", "TPM", "RPD"]
    assert header.split() == [*shared, "LEASES", "KEYS"]
    assert "░░░░░░░░ 0/15 c" in "".join(lines_of(wide.text))
    header = next(line for line in lines_of(narrow.text) if line.startswith("PROJECT"))
    assert header.split() == shared
    for shown in (wide, narrow):
        assert "p1 / gemini-2.5-flash-lite: it was found in a public" in shown.text
        first = next(i for i, line in enumerate(lines_of(shown.text)) if "main: 2 of 3" in line)
        assert first == 0


def test_columns_align_where_a_name_is_read_from_right_to_left(filled):
    with terminal(filled, "list", size=(160, 24)) as shown:
        shown.end()
    lines = [line for line in lines_of(shown.text) if " main " in line]
    assert len({cell_len(line[: line.index(" main ")]) for line in lines}) == 1


def test_no_color_is_obeyed_and_can_be_overruled(filled):
    with terminal(filled, "status", NO_COLOR="1") as plain:
        plain.end()
    with terminal(filled, "--color", "status", NO_COLOR="1") as colored:
        colored.end()
    assert "\x1b[32m" not in plain.text
    assert "\x1b[1;32m" in colored.text


def test_the_prompt_hides_the_secret(filled, keypool):
    with terminal(filled, "add", "k9", "--project", "p9") as asking:
        asking.read_until(lambda text: "Secret of k9 (not shown)" in text)
        asking.type(secret_of("k9") + "\n")
        assert asking.end() == 0
    assert secret_of("k9") not in asking.text
    assert keypool("show", "k9").code == 0


@pytest.mark.parametrize(
    ("answer", "code", "left"), [("y\n", 0, 2), ("n\n", 1, 3), ("\x03", 130, 3)]
)
def test_a_question_is_answered_by_the_person(filled, keypool, answer, code, left):
    with terminal(filled, "remove", "k1") as asking:
        asking.read_until(lambda text: "Remove k1" in text)
        asking.type(answer)
        assert asking.end() == code
    assert "Traceback" not in asking.text
    assert len(keypool("list").rows) == left


def test_watch_redraws_in_place_and_leaves_a_clean_terminal(filled, keypool):
    with terminal(filled, "status", "--watch", "0.2", size=(100, 24)) as watched:
        watched.read_until(lambda text: "main: 2 of 3 projects ready" in text)
        keypool("enable", "k1")
        watched.read_until(lambda text: "main: 3 of 3 projects ready" in text)
        watched.resize(60, 20)
        seen = len(watched.text)
        watched.read_until(lambda text: "3 of 3" in text[seen:])
        seen = len(watched.text)
        watched.read_until(lambda text: text[seen:].count("3 of 3") >= 2)
        frames = watched.text[seen:].replace("\x1b[H", "\n")
        torn = [line for line in lines_of(frames) if cell_len(line) > 60]
        watched.type("\x03")
        assert watched.end() == ExitCode.INTERRUPTED
    assert torn == []
    assert all(code in watched.text for code in CLEAR_LEFT)
    assert "Traceback" not in watched.text


def test_watch_on_a_dumb_terminal_prints_plain_text(filled):
    with terminal(filled, "status", "--watch", "0.1", TERM="dumb") as watched:
        watched.read_until(lambda text: text.count("main: 2 of 3") >= 2)
        watched.type("\x03")
        assert watched.end() == ExitCode.INTERRUPTED
    assert "\x1b" not in watched.text
