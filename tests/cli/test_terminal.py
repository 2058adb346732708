"""What a person sees: tables that fit, questions, hidden prompts, a picture redrawn in place."""

import re

import pytest
from rich.cells import cell_len

from keypool_cli.errors import ExitCode
from tests.support.command_line import process, secret_of, terminal
from tests.support.screen import Screen

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
    assert header.split() == [each for each in shared if each != "LEFT"]
    for shown in (wide, narrow):
        assert "p1 / gemini-2.5-flash-lite: it was found in a public" in shown.text
        first = next(i for i, line in enumerate(lines_of(shown.text)) if "main: 2 of 3" in line)
        assert first == 0


def test_a_narrow_terminal_tells_each_reason_once_and_whole(live_home, keypool):
    for number in (1, 2, 3, 4, 5):
        keypool.add(f"k{number}", f"p{number}")
    keypool("quota", "set", "--model", MODEL, "--rpm", "15")
    keypool(
        "disable", "k1", "--reason", "it was found in a repository that everybody may read: “k”."
    )
    keypool("disable", "k2", "k3", "k4", "k5", "--reason", "moves")
    with terminal(live_home, "status", size=(80, 24)) as shown:
        shown.end()
    lines = lines_of(shown.text)
    first = lines.index(f"  p1 / {MODEL}: it was found in a repository that everybody may")
    assert lines[first + 1 : first + 3] == ["    read", f"  p2, p3, p4, +1 / {MODEL}: moves"]
    with terminal(live_home, "explain", "--model", MODEL, size=(60, 24)) as shown:
        shown.end()
    lines = lines_of(shown.text)
    first = lines.index("  p1: it was found in a repository that everybody may read")
    assert lines[first + 1] == "  p2: moves"


def test_a_narrow_terminal_names_keys_where_they_fit_without_fingerprints(live_home, keypool):
    keypool.add("k1", "p1")
    keypool("quota", "set", "--model", MODEL, "--rpm", "15", "--tpm", "250000", "--rpd", "100")
    with terminal(live_home, "status", size=(80, 24)) as shown:
        shown.end()
    header, row = lines_of(shown.text)[1:3]
    assert (header.split()[-1], row.split()[-1]) == ("KEYS", "k1")


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


def looks(text, word):
    """All looks that hold the word and are drawn to their end: the next has begun."""
    return [look for look in text.split("\x1b[H")[1:-1] if word in look]


def test_watch_redraws_in_place_and_leaves_a_clean_terminal(filled, keypool):
    with terminal(filled, "status", "--watch", "0.2", size=(100, 24)) as watched:
        watched.read_until(lambda text: "main: 2 of 3 projects ready" in text)
        keypool("enable", "k1")
        watched.read_until(lambda text: "main: 3 of 3 projects ready" in text)
        seen = len(watched.text)
        watched.resize(60, 20)
        keypool("disable", "k1")
        watched.read_until(lambda text: len(looks(text[seen:], "2 of 3")) >= 2)
        narrow = looks(watched.text[seen:], "2 of 3")
        torn = [line for look in narrow for line in lines_of(look) if cell_len(line) > 60]
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


SIZES = [(80, 24), (200, 50)]
FULL_SCREEN = [["status", "--watch", "0.2"], ["top", "--every", "0.2"]]


def shown(watched, size):
    return Screen(*size).feed(watched.text)


def drawn(watched, size, *words):
    """The first screen with all these words whose look is drawn to its end: the next has begun."""
    screen, looks = Screen(*size), 0

    def holds(text):
        nonlocal screen, looks
        whole = text.count("\x1b[H")
        if whole != looks:
            screen, looks = Screen(*size).feed(text.rpartition("\x1b[H")[0]), whole
        return all(any(each in f"{line} " for line in screen.lines) for each in words)

    watched.read_until(holds)
    return screen


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("words", FULL_SCREEN)
def test_a_full_screen_holds_whole_lines_of_the_newest_look_only(filled, keypool, words, size):
    with terminal(filled, *words, size=size) as watched:
        watched.read_until(lambda text: "main: 2 of 3" in text)
        keypool("enable", "k1")
        screen = drawn(watched, size, "main: 3 of 3")
        assert screen.wrapped == 0
        assert sum("of 3" in line for line in screen.lines) == 1
        assert sum(" p1 " in f" {line} " for line in screen.lines) == 1
        assert any("مشروع" in line for line in screen.lines)
        assert not screen.is_clean
        watched.type("\x03")
        assert watched.end() == ExitCode.INTERRUPTED
    assert shown(watched, size).is_clean
    assert "Traceback" not in watched.text


@pytest.mark.parametrize("words", FULL_SCREEN)
@pytest.mark.parametrize("last", [(60, 12), (200, 50), (20, 5)])
def test_a_resize_is_survived(filled, keypool, words, last):
    with terminal(filled, *words, size=(100, 24)) as watched:
        watched.read_until(lambda text: "main: 2 of 3" in text)
        watched.resize(*last)
        keypool("enable", "k1")  # what tells of it was drawn after the resize
        watched.read_until(lambda text: len(looks(text, "main: 3 of 3")) >= 2)
        screen = Screen(*last)
        for look in looks(watched.text, "main: 3 of 3"):
            screen.feed(f"\x1b[H{look}")
        watched.type("\x03")
        assert watched.end() == ExitCode.INTERRUPTED
    assert screen.wrapped == 0
    assert screen.lines[0].startswith("main: 3 of 3")


@pytest.mark.parametrize("ending", ["q", "\x03", "/pq\x03"])
def test_top_leaves_the_terminal_as_it_was(filled, ending):
    with terminal(filled, "top") as watched:
        watched.read_until(lambda text: "q quit" in text)
        assert watched.mode != watched.first_mode
        watched.type(ending)
        code = watched.end()
        assert watched.mode == watched.first_mode
    assert code == (0 if ending == "q" else ExitCode.INTERRUPTED)
    assert shown(watched, (80, 24)).is_clean


def test_top_leaves_the_terminal_as_it_was_when_it_is_terminated(filled):
    with terminal(filled, "top") as watched:
        watched.read_until(lambda text: "q quit" in text)
        watched.running.terminate()
        assert watched.end() == 0
        assert watched.mode == watched.first_mode
    assert shown(watched, (80, 24)).is_clean


def test_keys_sort_filter_open_and_pause_top(filled):
    size = 120, 24
    with terminal(filled, "top", "--every", "0.2", size=size) as watched:
        drawn(watched, size, "sorted by problems")
        watched.type("s")
        drawn(watched, size, "sorted by project")
        watched.type("/long")
        drawn(watched, size, "filter: long_")
        watched.type("\r")
        screen = drawn(watched, size, "filter: long ")
        rows = [line for line in screen.lines if MODEL in line]
        assert [line.split()[0] for line in rows] == ["a-project-with-a-rather-long-name-as-well"]
        watched.type("\r")
        drawn(watched, size, "1 key", "key a-key-with-a-rather-long-name")
        watched.type("\x1b")
        watched.type("p")
        drawn(watched, size, "paused")
        watched.type("q")
        assert watched.end() == 0


def test_top_on_a_dumb_terminal_prints_plain_text(filled):
    with terminal(filled, "top", "--every", "0.2", TERM="dumb") as watched:
        watched.read_until(lambda text: text.count("main: 2 of 3") >= 2)
        watched.type("\x03")
        assert watched.end() == ExitCode.INTERRUPTED
    assert "\x1b" not in watched.text
    assert "daemons: none reports" in watched.text


@pytest.mark.parametrize("words", [["status"], ["top", "--once"]])
def test_text_read_from_right_to_left_is_kept_apart_on_a_terminal_only(filled, words):
    with terminal(filled, *words, size=(160, 24)) as watched:
        watched.end()
    assert "\u2068مشروع\u2069" in watched.text
    assert "\u2068" not in process(filled, *words).out


def test_a_person_is_shown_the_first_rows_of_many_and_how_many_more_there_are(live_home, keypool):
    lines = [f"k{n},p{n:03},{secret_of(str(n))}" for n in range(210)]
    keypool("import", "-", "--format", "csv", stdin="\n".join(["name,project,secret", *lines]))
    with terminal(live_home, "status", size=(120, 24)) as shown:
        shown.end()
    assert "10 more rows" in shown.text
    assert "p199" in shown.text
    assert "p200" not in shown.text
    assert len(keypool("status").rows) == 211


def test_a_watch_that_is_narrow_shows_the_command_of_a_hint_whole(live_home, keypool):
    keypool.add("a-key-with-a-rather-long-name", "p1")
    keypool("disable", "a-key-with-a-rather-long-name")
    command = "hint: keypool enable a-key-with-a-rather-long-name"
    with terminal(live_home, "status", "--watch", size=(len(command), 24)) as watched:
        assert command in watched.read_until(lambda text: command in text)


def test_the_hint_of_a_watch_is_seen_however_many_rows_there_are(live_home, keypool):
    lines = [f"k{n},p{n:03},{secret_of(str(n))}" for n in range(40)]
    keypool("import", "-", "--format", "csv", stdin="\n".join(["name,project,secret", *lines]))
    keypool("disable", "k7")
    with terminal(live_home, "status", "--watch", size=(80, 24)) as watched:
        text = watched.read_until(lambda text: "p0" in text and "keypool enable k7" in text)
    assert "keypool enable k7" in text


def test_the_answers_for_all_pools_come_first_each_on_a_line_of_its_own(filled, keypool):
    long = "a-pool-whose-name-leaves-little-room-for-the-rest"
    for name in (long, "الإنتاج"):
        keypool("pool", "set", name, "--create", "--add-project", "p1", "--add-project", "مشروع")
    with terminal(filled, "status", size=(80, 24)) as shown:
        shown.end()
    lines = lines_of(shown.text)
    first_table = next(index for index, line in enumerate(lines) if line.startswith("PROJECT"))
    answers = lines[: first_table - 1]
    assert len(answers) == 3
    assert all(" ready" in line and cell_len(line) <= 80 for line in answers), answers
    assert lines[first_table - 1] == long


@pytest.mark.parametrize(
    ("words", "whole"),
    [
        pytest.param(["events", "-n", "3"], r"^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d  \w+\.", id="when"),
        pytest.param(["quota", "list", "--defaults"], r"  gemini-2.5-flash-lite  15 ", id="models"),
        pytest.param(["quota", "list", "--defaults"], r"^tier tier1  ", id="whose limits"),
        pytest.param(["quota", "list"], r"  configured  20\d\d-\d\d-\d\d$", id="since when"),
        pytest.param(["client", "list"], r"  never  *2099-01-01$", id="the end of a token"),
        pytest.param(["list"], r"^a-key-with-a-rather-long-name  ", id="keys"),
    ],
)
def test_a_narrow_terminal_shortens_last_what_says_nothing_in_part(filled, keypool, words, whole):
    keypool("client", "add", "web", "--expires", "2099-01-01")
    with terminal(filled, *words, size=(80, 24)) as shown:
        shown.end()
    lines = lines_of(shown.text)
    assert max(map(cell_len, lines)) <= 80
    assert any(re.search(whole, line.rstrip()) for line in lines), lines


def test_names_that_begin_alike_stay_apart_on_a_narrow_terminal(live_home, keypool):
    keypool.add("k1", "p1")
    models = ("gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.5-flash-lite")
    for model in models:
        keypool("quota", "set", "--model", model, "--rpm", "15000", "--tpm", "2500000")
    for words, size in ((["status"], (50, 24)), (["top", "--once"], (44, 24))):
        with terminal(live_home, *words, size=size) as shown:
            shown.end()
        rows = [line for line in lines_of(shown.text) if line.startswith("p1 ")]
        assert len({row.split()[1] for row in rows}) == len(models), rows
        assert all("…" in row.split()[1] for row in rows), rows
        assert max(map(cell_len, rows)) <= size[0]


def test_a_narrow_terminal_first_drops_what_is_empty(live_home, keypool):
    keypool.add("k1", "project-1")
    keypool("quota", "set", "--model", MODEL, "--rpm", "15", "--tpm", "250000", "--rpd", "100")
    with terminal(live_home, "status", size=(70, 24)) as shown:
        shown.end()
    header, row = lines_of(shown.text)[1:3]
    assert header.split() == ["PROJECT", "MODEL", "STATE", "RPM", "TPM", "RPD"]
    assert row.split()[:2] == ["project-1", MODEL]
