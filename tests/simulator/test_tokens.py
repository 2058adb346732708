"""The token rule: by script, by digit, by content."""

import json
import math
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.errors import UsageError
from keypool_cli.simulator.tokens import Prompt, count_prompt, count_text, counting

MARKED = "الْحَمْدُ لِلَّهِ"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        pytest.param("", 0, id="nothing"),
        pytest.param("a" * 400, 100, id="4 characters a token in English"),
        pytest.param("a" * 401, 101, id="rounded up"),
        pytest.param("abcd efg" * 100, 200, id="spaces count"),
        pytest.param("م" * 300, 100, id="3 characters a token in Arabic"),
        pytest.param("م" * 30 + "١٢٣", 13, id="Arabic digits are digits"),
        pytest.param("مُ" * 95, 100, id="1.9 characters a token with diacritics"),
        pytest.param("a" * 119 + "م", 40, id="a word with any Arabic in it is an Arabic word"),
        pytest.param("2026", 4, id="a digit is a token"),
        pytest.param("in 2026", 5, id="digits beside a word"),
        pytest.param("السعر 120", 5, id="digits beside an Arabic word"),
    ],
)
def test_the_rule(text, tokens):
    assert count_text(text) == tokens


def test_diacritics_make_only_their_own_word_dearer():
    plain = "م" * 299 + " "
    assert count_text(plain + "مُ" * 95) == 200


def plainly(text):
    """The rule, word by word and with exact fractions."""
    rest = "".join(char for char in text if not char.isdecimal())
    total = Fraction(len(rest) - len(rest.lstrip()), 4)
    for word in re.findall(r"\S+\s*", rest):
        arabic = any("\u0600" <= char <= "\u06ff" for char in word)
        marked = any("\u064b" <= char <= "\u065f" for char in word)
        total += len(word) / (Fraction(19, 10) if marked else Fraction(3 if arabic else 4))
    return len(text) - len(rest) + math.ceil(total)


@given(st.text(alphabet=st.sampled_from("abz é\n\u00a0-.19٣مبل\u064e\u0651 ")))
def test_every_text_is_counted_by_the_rule(text):
    assert count_text(text) == plainly(text)


@given(st.text(), st.text())
def test_more_words_never_have_fewer_tokens(text, more):
    assert count_text(text) <= count_text(text + " " + more)


@pytest.mark.parametrize(
    ("prompt", "text", "media"),
    [
        pytest.param(Prompt(("abcd",), 1), 2, 0, id="1 more for a content"),
        pytest.param(
            Prompt(("abcd", "abcd"), 2, has_instruction=True), 5, 0, id="and 1 for an instruction"
        ),
        pytest.param(Prompt(("", "a", "a"), 3), 5, 0, id="texts are rounded one by one"),
        pytest.param(Prompt(("abcd",), 1, 2), 2, 516, id="an image is 258"),
    ],
)
def test_a_prompt(prompt, text, media):
    counted = count_prompt(prompt, count_text)
    assert (counted.text_tokens, counted.media_tokens) == (text, media)
    assert counted.tokens == text + media


def test_true_counts_of_a_file_win_and_the_rule_fills_in(tmp_path):
    path = tmp_path / "counts.jsonl"
    path.write_text(json.dumps({"text": MARKED, "tokens": 42}) + "\n")
    count = counting(path)
    assert count(MARKED) == 42
    assert count("abcd") == 1


@pytest.mark.parametrize("content", ["{", '{"text": 1, "tokens": 2}', None])
def test_a_file_of_something_else_is_a_usage_error(tmp_path, content):
    path = tmp_path / "counts.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match="cannot read token counts"):
        counting(path)


def test_a_line_of_something_else_is_named_by_its_number(tmp_path):
    path = tmp_path / "counts.jsonl"
    path.write_text('{"text": "a", "tokens": 1}\n\n{"text": "b"}\n')
    with pytest.raises(UsageError, match="line 3: Object missing required field `tokens`"):
        counting(path)
