"""Very long texts: a sample stands for the whole, and never makes the reservation too small."""

import base64
import json
import random
from itertools import accumulate

import pytest

from keypool_cli.core.accuracy import STRATA
from keypool_cli.core.estimator import Calibration, estimate_request, estimate_text
from keypool_cli.core.request_shape import read_request
from keypool_cli.core.sampling import MOST_TEXTS, SLICE, SLICES, WHOLE, _slices, count_texts
from keypool_cli.core.text_tokens import count_text
from keypool_cli.samples import CLASSES, load_texts

TEXTS = {
    kind: [read_request(p.body).texts[0] for p in load_texts() if p.kind == kind]
    for kind in CLASSES
}
LONG = WHOLE + WHOLE // 4


def filled(*kinds, characters=LONG, chance=None):
    """Shipped texts of these kinds in any order, so many characters of them."""
    chance = chance or random.Random(5)
    found, length = [], 0
    while length < characters:
        found.append(chance.choice(TEXTS[chance.choice(kinds)]))
        length += len(found[-1]) + 2
    return "\n\n".join(found)[:characters]


def base64_of(characters):
    return base64.b64encode(random.Random(6).randbytes(characters * 3 // 4)).decode()


def blocks(*kinds, characters):
    chance = random.Random(7)
    return "".join(
        filled(kind, characters=characters, chance=chance)
        for _ in range(LONG // characters // len(kinds))
        for kind in kinds
    )


def words(text, several):
    found = text.split(" ")
    return [" ".join(found[at : at + several]) for at in range(0, len(found), several)]


MIXTURES = {
    **{kind: [filled(kind)] for kind in CLASSES if kind in STRATA},
    "every class": [filled(*CLASSES)],
    "half of it base64": [filled("ar_prose", characters=LONG // 2), base64_of(LONG // 2)],
    "small blocks in turn": [blocks("ar_tashkeel", "en_prose", characters=10_000)],
    "five words a part": words(filled("ar_prose", "en_prose"), 5),
    "a letter a part": list("كتاب" * (LONG // 4)),
    "dense in one place": [" " * LONG, base64_of(LONG // 50), " " * LONG],
}


@pytest.mark.parametrize("kind", MIXTURES)
def test_a_sample_is_near_the_whole_and_reserves_what_it_may_have_missed(kind):
    texts = MIXTURES[kind]
    whole = sum(sum(count_text(text).tokens) for text in texts)
    estimate = estimate_request({"contents": [{"parts": [{"text": t} for t in texts]}]}, model="m")
    assert estimate.tokens == pytest.approx(whole, rel=0.05)
    assert whole < estimate.tokens + estimate.margin < 1.35 * whole


def test_texts_up_to_the_limit_are_counted_one_by_one():
    texts = ["word " * (WHOLE // 10), "كتاب " * (WHOLE // 10)]
    assert list(count_texts(texts)) == list(map(count_text, texts))


@pytest.mark.parametrize("texts", [["word " * WHOLE], ["word"] * WHOLE, ["a"] * WHOLE * 2])
def test_what_is_counted_grows_no_more(texts):
    slices = list(_slices(texts, list(accumulate(map(len, texts)))))
    assert len(slices) == SLICES
    assert all(sum(map(len, each)) <= 2 * SLICE for each in slices)
    assert all(len(each) <= MOST_TEXTS for each in slices)


def test_where_a_text_is_sampled_hangs_on_all_of_it():
    first, second = ([base64_of(LONG) + end] for end in "ab")
    assert list(_slices(first, [LONG + 1])) != list(_slices(second, [LONG + 1]))


def test_a_sample_never_reserves_more_than_the_bytes_there_are():
    emoji = "\U0001f600" * LONG
    estimate = estimate_text(emoji, calibration=Calibration(unusual_z=1000.0))
    assert estimate.tokens + estimate.margin <= len(emoji.encode()) + 1


def test_a_sampled_declaration_reserves_what_a_whole_one_does():
    declaration = {"name": "f", "description": filled("en_prose")}
    tools = [{"functionDeclarations": [declaration]}]
    estimate = estimate_request({"tools": tools}, model="m")
    whole = sum(count_text(json.dumps(declaration, separators=(",", ":"))).tokens)
    assert 1.27 * whole < estimate.tokens + estimate.margin < 1.37 * whole
