"""Remembered costs: quicker, and the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.core.code_page import cut_gaps, encode, gap_runs, latin_runs, latin_words
from keypool_cli.core.piece_memory import LONGEST_PIECE, MOST_PIECES, PieceMemory
from keypool_cli.core.text_tokens import LONGEST_SLICE, MOST_TEXTS, TextCounter, count_text
from keypool_cli.core.word_table import load_costs

COSTS = load_costs()
LETTERS = "abcXYZéñ كتبَِـ09.,- \n\x01“?漢"
TEXTS = st.text(st.sampled_from(LETTERS) | st.characters(exclude_categories=()), max_size=80)
RUNS = st.lists(st.binary(min_size=1, max_size=9).filter(lambda run: b" " not in run), max_size=6)


class Lengths:
    """Each piece costs its length; notes what it was asked."""

    def __init__(self):
        self.asked = []

    def each(self, pieces):
        self.asked += pieces
        return [len(piece) for piece in pieces]

    def total(self, pieces):
        return sum(self.each(pieces))


def test_a_piece_is_priced_once():
    lengths = Lengths()
    memory = PieceMemory(lengths, {b"known": 7})
    assert [memory([b"known", b"new"]) for _ in range(3)] == [10] * 3
    assert lengths.asked == [b"new"]


def test_what_is_forgotten_when_full_is_priced_again_and_the_known_stays():
    lengths = Lengths()
    memory = PieceMemory(lengths, {b"known": 7})
    for at in range(MOST_PIECES + 1):
        memory([b"%d" % at])
    assert len(memory._costs) == 2
    lengths.asked.clear()
    assert memory([b"known", b"0"]) == 8
    assert lengths.asked == [b"0"]


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"x" * (LONGEST_PIECE + 1)], id="long"),
        pytest.param([b"%d" % at for at in range(100)], id="noise: many in one text"),
    ],
)
def test_what_will_not_come_again_is_not_remembered(pieces):
    memory = PieceMemory(Lengths(), {}, noise=0.5)
    assert [memory(pieces) for _ in range(3)] == [sum(map(len, pieces))] * 3
    assert memory._costs == {}


@given(st.lists(TEXTS, max_size=4), TEXTS)
def test_a_text_costs_the_same_whatever_came_before(before, text):
    counter = TextCounter(COSTS)
    for each in (*before, text, text):
        counter.count(each)
    assert counter.count(text) == TextCounter(COSTS).count(text) == count_text(text)


def test_texts_are_remembered_by_their_hash_alone_and_only_so_many():
    counter = TextCounter(COSTS)
    for at in range(MOST_TEXTS + 1):
        assert counter.recall(f"text {at}") == counter.recall(f"text {at}")
    assert len(counter._texts) == 1
    assert all(isinstance(mark, int) for mark in counter._texts)


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        pytest.param("The boat, waits (outside) كَتَبَ الولد 123. ", set(), id="cut before spaces"),
        pytest.param("0123456789abcdef", set(), id="cut anywhere"),
        pytest.param("กรุณาตรวจสอบ ", {"thai"}, id="in another script"),
    ],
)
def test_a_long_text_is_counted_in_slices_and_costs_what_it_costs_whole(text, scripts):
    counter = TextCounter(COSTS)
    long = text * (3 * LONGEST_SLICE // len(text))
    sliced, whole = counter.count(long), counter._slice(long)
    assert sliced.tokens == pytest.approx(whole.tokens, abs=6)
    assert sliced.utf8_bytes == whole.utf8_bytes
    assert (sliced.unusual, set(sliced.scripts)) == (bool(scripts), scripts)


def test_no_slice_is_longer_than_what_is_counted_at_once(monkeypatch):
    counter = TextCounter(COSTS)
    lengths = []
    count = counter._slice

    def noted(text):
        lengths.append(len(text))
        return count(text)

    monkeypatch.setattr(counter, "_slice", noted)
    counter.count("word " * LONGEST_SLICE + "x" * 3 * LONGEST_SLICE)
    assert sum(lengths) == 8 * LONGEST_SLICE
    assert 0 < min(lengths) <= max(lengths) <= LONGEST_SLICE


@given(st.sampled_from([COSTS.words, COSTS.gaps]), RUNS)
def test_pieces_cost_together_what_each_costs_alone(costs, runs):
    alone = [costs.total([run]) for run in runs]
    assert costs.each(runs) == alone
    assert costs.total(runs) == sum(alone)


@given(TEXTS)
def test_a_run_is_cut_alone_as_it_is_among_others(text):
    page = encode(text)
    for runs, cut in ((latin_runs(page), latin_words), (gap_runs(page), cut_gaps)):
        assert cut(runs) == [piece for run in runs for piece in cut([run])]


def test_known_pieces_are_what_runs_of_them_are_cut_into():
    # Their costs stand in the memories of runs from the start.
    latin = [word for word in COSTS.words.known if latin_runs(word)]
    assert latin_words(latin) == latin
    assert all(cut_gaps([gap]) == [gap] for gap in COSTS.gaps.known)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("fooBarBaz", ["foo", "bar", "baz"], id="camelCase is cut"),
        pytest.param("NASA Word I", ["NASA", "word", "i"], id="only ALL CAPS keeps its case"),
        pytest.param("Né", ["né"], id="one capital and an accent are not ALL CAPS"),
    ],
)
def test_runs_are_cut_into_words(text, words):
    assert latin_words(latin_runs(encode(text))) == [encode(word) for word in words]
