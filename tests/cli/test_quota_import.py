"""``quota import``: tables as people paste them."""

import pytest

from keypool_cli.cli.quota_table import model_id, read_table
from keypool_cli.errors import ExitCode, UsageError

STUDIO = """\
Model\tCategory\tRPM\tTPM\tRPD
Gemini 2.5 Flash\tText-out models\t3 / 5\t10.2K / 250K\t0 / 20
Gemini 3.1 Pro\tText-out models\t0 / 1K\t0 / 1.5M\tUnlimited
Imagen 4\tMulti-modal\t\u2013\tN/A\t70
"""


def values(text):
    return {row.model: row.values for row in read_table(text)}


def test_ai_studios_table_is_read_with_its_limits_not_its_use():
    assert values(STUDIO) == {
        "gemini-2.5-flash": {"rpm": 5, "tpm": 250_000, "rpd": 20},
        "gemini-3.1-pro": {"rpm": 1000, "tpm": 1_500_000, "rpd": -1},
        "imagen-4": {"rpd": 70},
    }


@pytest.mark.parametrize(
    "text",
    [
        "Model,RPM,TPM,RPD\nm,5,250000,20\n",
        'RPD,Model,"RPM (limit)",TPM\n20,m,5,"250,000"\n',
        "| Model | RPM | TPM | RPD |\n|:--|--:|---|---|\n| `m` | 5 | 250k | 20 |\n",
        "Limits of my project\n\nModel   RPM   TPM    RPD\nM       5     250K   20\n",
    ],
    ids=["csv", "other order", "markdown", "columns"],
)
def test_the_same_table_in_other_forms(text):
    assert values(text) == {"m": {"rpm": 5, "tpm": 250_000, "rpd": 20}}


@pytest.mark.parametrize(
    ("shown", "model"),
    [
        ("Gemini 2.5 Flash-Lite", "gemini-2.5-flash-lite"),
        ("models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("Gemini 2.5 Flash (TTS)", "gemini-2.5-flash-tts"),
    ],
)
def test_displayed_names_become_ids(shown, model):
    assert model_id(shown) == model


@pytest.mark.parametrize("cell", ["lots", "-5", "1.5", "10000000000001", "1.2.3K"])
def test_a_limit_that_is_none_refuses_its_line(cell):
    [row] = read_table(f"Model\tRPM\nm\t{cell}\n")
    assert row.problem is not None


@pytest.mark.parametrize("text", ["", "m,5,6\n", "Model,Colour\nm,red\n"])
def test_a_table_without_names_of_columns_is_refused(text):
    with pytest.raises(UsageError):
        read_table(text)


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "limits.tsv"
    file.write_text(STUDIO)
    return str(file)


def test_limits_are_set_and_the_log_keeps_where_they_came_from(keypool, table):
    keypool.add("k1", "p1")
    result = keypool("quota", "import", table, "--project", "p1", "--seen", "2026-11-22")
    assert result.code == 0
    rows = keypool("quota", "list").rows
    assert [row[:5] for row in rows] == [
        ["p1", "gemini-2.5-flash", "5", "250000", "20"],
        ["p1", "gemini-3.1-pro", "1000", "1500000", "unlimited"],
        ["p1", "imagen-4", "", "", "70"],
    ]
    assert {row[6] for row in rows} == {"configured"}
    event = keypool("events", "--kind", "quota.set", "--json").json["events"][0]
    assert event["reason"] == f"imported from {table}, as shown on 2026-11-22"


def test_a_dry_run_sets_nothing(keypool, table):
    result = keypool("quota", "import", table, "--tier", "free", "--dry-run")
    assert (result.code, len(result.rows)) == (0, 3)
    assert keypool("quota", "list").out == ""


def test_a_bad_line_does_not_stop_the_others(keypool):
    text = "Model,RPM\nm,lots\nn,4\n"
    result = keypool("quota", "import", "-", "--tier", "free", "--json", stdin=text)
    assert result.code == ExitCode.PARTLY_DONE
    assert [each["outcome"] for each in result.json["lines"]] == ["refused", "set"]
    assert [each["line"] for each in result.json["lines"]] == [2, 3]
    bad = keypool("quota", "import", "-", "--tier", "free", stdin="Model,RPM\nm,lots\n")
    assert bad.code == ExitCode.FAILURE


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], ExitCode.USAGE),
        (["--tier", "a", "--project", "b"], ExitCode.USAGE),
        (["--project", "nope"], ExitCode.NOT_FOUND),
        (["--tier", "a", "--seen", "yesterday"], ExitCode.USAGE),
    ],
)
def test_one_known_scope_must_be_named(keypool, table, words, code):
    assert keypool("quota", "import", table, *words).code == code
    assert keypool("quota", "list").out == ""
