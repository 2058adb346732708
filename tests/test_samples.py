"""The probe's samples: what ships, and what a user brings."""

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from keypool_cli.core.estimator import estimate_request
from keypool_cli.core.request_shape import read_request
from keypool_cli.errors import ExitCode, UsageError
from keypool_cli.samples import (
    CLASSES,
    OWN,
    load_joined,
    load_own,
    load_shipped,
    load_structural,
    load_texts,
)

TEXTS = load_texts()
BANDS = (20, 50, 130, 350, 1501)
MARKS = re.compile("[\u064b-\u0652\u0670]")
LETTERS = re.compile("[\u0621-\u063a\u0641-\u064a]")


def text(probe):
    (only,) = read_request(probe.body).texts
    return only


def of(kind):
    return [text(probe) for probe in TEXTS if probe.kind == kind]


def test_the_classes_have_the_sizes_that_a_calibration_needs():
    assert Counter(probe.kind for probe in TEXTS) == {
        "ar_prose": 30,
        "ar_dialect": 24,
        "ar_mixed": 30,
        "ar_ui": 24,
        "ar_tashkeel": 20,
        "arabizi": 16,
        "ar_digits": 12,
        "en_prose": 32,
        "en_prompt": 12,
        "code": 16,
        "json": 12,
        "logs": 8,
        "exotic": 28,
    }
    assert len(TEXTS) == 264
    assert tuple(dict.fromkeys(probe.kind for probe in TEXTS)) == CLASSES


def test_each_dialect_has_its_six():
    names = [probe.id.split("-")[0] for probe in TEXTS if probe.kind == "ar_dialect"]
    assert Counter(names) == {"egyptian": 6, "gulf": 6, "levantine": 6, "maghrebi": 6}


def test_lengths_spread_from_a_phrase_to_a_page():
    lengths = [len(text(probe)) for probe in TEXTS]
    assert min(lengths) >= 20
    assert max(lengths) <= 1500
    bands = [sum(low <= length < high for length in lengths) for low, high in pairwise(BANDS)]
    assert min(bands) >= 40


def test_all_together_are_about_twenty_two_thousand_tokens():
    tokens = sum(
        estimate_request(probe.body, model="gemini-2.5-flash").tokens - 1 for probe in TEXTS
    )
    assert 20_000 < tokens < 24_000


def test_ids_and_contents_are_unique():
    shipped = load_shipped()
    assert len({probe.id for probe in shipped}) == len(shipped) == 281
    assert len({probe.digest for probe in shipped}) == len(shipped)


def test_no_two_texts_share_six_words_in_a_row():
    seen: dict[tuple[str, ...], str] = {}
    for probe in TEXTS:
        words = re.findall(r"\w+", text(probe))
        for run in zip(*(words[at:] for at in range(6)), strict=False):
            assert seen.setdefault(run, probe.id) == probe.id, run


def test_marked_texts_are_fully_marked():
    for one in of("ar_tashkeel"):
        assert len(MARKS.findall(one)) > 0.5 * len(LETTERS.findall(one))
    for one in of("ar_ui") + of("ar_dialect"):
        assert not MARKS.search(one)


def test_arabizi_is_arabic_in_latin_letters_and_digits():
    for one in of("arabizi"):
        assert not LETTERS.search(one)
    assert sum(bool(re.search(r"[a-z][23578]|[23578][a-z]", one)) for one in of("arabizi")) >= 15


def test_mixed_texts_hold_both_scripts():
    for one in of("ar_mixed"):
        assert LETTERS.search(one)
        assert re.search("[A-Za-z]{2}", one)


def test_json_parses_and_four_escape_their_arabic():
    escaped = 0
    for one in of("json"):
        json.loads(one)
        escaped += r"\u06" in one and not LETTERS.search(one)
    assert escaped == 4


def test_nothing_points_at_a_real_person_or_host():
    everything = "\n".join(text(probe) for probe in TEXTS)
    assert not re.search(r"[\w.]+@[\w-]+\.\w", everything)
    hosts = re.findall(r"https?://([\w.-]+)", everything)
    assert hosts
    assert all(re.search(r"(^|\.)example\.(com|net|org)$", host) for host in hosts)


def test_ten_long_texts_are_joined_from_the_shipped_ones():
    joined = load_joined()
    assert len(joined) == 10
    for probe in joined:
        assert len(text(probe)) > 2500
        assert set(text(probe).split("\n\n")) <= {
            line for one in of(probe.kind) for line in one.split("\n\n")
        }


def test_structural_probes_arrange_the_same_texts():
    shapes = {
        probe.id.removeprefix("structure-"): read_request(probe.body) for probe in load_structural()
    }
    assert {probe.kind for probe in load_structural()} == {"structure"}
    single = shapes.pop("one-character")
    assert (single.contents, [len(one) for one in single.texts]) == (1, [1])
    assert len({tuple(shape.texts) for shape in shapes.values()}) == 1
    assert {
        name: (shape.contents, shape.systems, len(shape.tools)) for name, shape in shapes.items()
    } == {
        "contents-1": (1, 0, 0),
        "contents-2": (2, 0, 0),
        "contents-4": (4, 0, 0),
        "system": (1, 1, 0),
        "tools-1": (1, 0, 1),
        "tools-3": (1, 0, 3),
    }


def test_a_folder_of_own_samples_is_read_whole(tmp_path):
    (tmp_path / "b.txt").write_text("رسالة طويلة\nمن سطرين", encoding="utf-8")
    lines = ['{"text": "first"}', "", '{"text": "  "}', '{"class": "code", "text": "x = 1"}']
    (tmp_path / "a.jsonl").write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    (tmp_path / "notes.md").write_text("not a sample")
    found = load_own(tmp_path)
    assert [(text(probe), probe.kind) for probe in found] == [
        ("first", OWN),
        ("x = 1", "code"),
        ("رسالة طويلة\nمن سطرين", OWN),
    ]
    assert len({probe.id for probe in found}) == 3
    assert all(probe.id.split(":")[0] in ("a.jsonl", "b.txt") for probe in found)


def test_a_folder_is_read_by_file_name(tmp_path):
    for name in "dbfaceg":
        (tmp_path / f"{name}.txt").write_text(name)
    assert [text(probe) for probe in load_own(tmp_path)] == list("abcdefg")


def test_one_file_of_own_samples_is_enough(tmp_path):
    file = tmp_path / "traffic.jsonl"
    file.write_text('{"id": "mine", "text": "hello"}\n{"id": "mine", "text": "again"}')
    first, second = load_own(file)
    assert (text(first), text(second)) == ("hello", "again")
    assert first.id != second.id


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'{"txt": "no text"}', id="a line without text"),
        pytest.param(b"hello", id="not JSON"),
        pytest.param(b'{"text": 5}', id="text that is a number"),
        pytest.param(b'{"text": "\xff"}', id="not UTF-8"),
        pytest.param(b"", id="nothing in it"),
    ],
)
def test_a_file_that_holds_no_samples_is_refused(tmp_path, content):
    file = tmp_path / "bad.jsonl"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"bad\.jsonl") as refused:
        load_own(file)
    assert refused.value.exit_code is ExitCode.USAGE
    assert refused.value.hint


def test_a_line_that_is_no_sample_is_named_by_its_number(tmp_path):
    file = tmp_path / "bad.jsonl"
    file.write_text('{"text": "one"}\n\n{"text": "three"}\n{"text": 4}\n')
    with pytest.raises(UsageError, match=r"bad\.jsonl: line 4: Expected `str`, got `int`"):
        load_own(file)


def test_a_sample_without_an_id_is_known_by_its_line(tmp_path):
    file = tmp_path / "blanks.jsonl"
    file.write_text('\n\n{"text": "three"}\n')
    assert [each.id for each in load_own(file)] == ["blanks.jsonl:3"]


def test_a_missing_file_is_refused_in_words(tmp_path):
    file = tmp_path / "nowhere.txt"
    with pytest.raises(UsageError) as refused:
        load_own(file)
    assert str(refused.value) == f"cannot read samples from {file}: No such file or directory"


def test_a_folder_that_cannot_be_listed_is_refused_in_words(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UsageError, match=f"cannot read samples from {tmp_path}: Permission denied"):
        load_own(tmp_path)
