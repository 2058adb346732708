"""``probe`` without an upstream: offline, its options, and how reports look."""

import pytest

from keypool_cli.core.calibration import calibrate
from keypool_cli.errors import ExitCode
from keypool_cli.samples import load_shipped
from keypool_cli.service.probing_memory import Memory, payload_of
from tests.support.command_line import terminal
from tests.support.counting import MODEL, by_digest, counted_by
from tests.support.registry import BY
from tests.support.tokenizers import small_model

SHIPPED = load_shipped()


@pytest.fixture
def probed(registry):
    """A registry whose model was calibrated on Gemma 3's counts."""
    counted = counted_by("gemma3", SHIPPED)
    memory = Memory(MODEL, calibrate(counted, model=MODEL).calibration, by_digest(counted))
    registry.calibrations.save(MODEL, payload_of(memory), by=BY)
    return registry


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(("--json", "--markdown"), "exclude", id="one form of output"),
        pytest.param(("--tokenizer", "x.model"), "--offline", id="a tokenizer asks nobody"),
        pytest.param(("--only-samples",), "--samples", id="only which samples"),
        pytest.param(("--samples", "nowhere"), "nowhere", id="samples that are not there"),
        pytest.param(
            ("--offline", "--tokenizer", "no.model"), "no.model", id="a tokenizer not there"
        ),
    ],
)
def test_wrong_options_are_told(keypool, words, says):
    result = keypool("probe", *words)
    assert result.code == ExitCode.USAGE
    assert says in result.err


def test_offline_needs_stored_counts_or_a_tokenizer(keypool):
    result = keypool("probe", "--offline")
    assert result.code == ExitCode.NOT_FOUND
    assert "--tokenizer" in result.err


def test_offline_measures_stored_counts_and_saves_nothing(keypool, probed):
    before = probed.calibrations.all()
    result = keypool("probe", "--offline", "--json")
    assert result.code == ExitCode.OK, result.err
    (report,) = result.json["models"]
    assert (report["source"], report["saved"], report["samples"]) == ("stored", False, len(SHIPPED))
    assert {each["name"] for each in report["strata"]} >= {"Arabic", "tashkeel", "English", "code"}
    assert probed.calibrations.all() == before


@pytest.mark.usefixtures("probed")
def test_offline_a_check_judges_the_stored_counts(keypool):
    result = keypool("probe", "--check", "--offline", "--json")
    assert result.code == ExitCode.OK, result.err
    (report,) = result.json["models"]
    assert report["ok"]
    assert {each["changed"] for each in report["shifts"]} == {0}


@pytest.mark.usefixtures("probed")
def test_another_tokenizer_fails_an_offline_check(keypool, tmp_path):
    file = small_model(tmp_path / "tokenizer.model")
    result = keypool("probe", "--check", "--offline", "--tokenizer", str(file))
    assert result.code == ExitCode.DRIFT
    assert f"keypool probe --model {MODEL}" in result.err
    assert "fail\tcounts" in result.out


@pytest.mark.usefixtures("probed")
def test_the_command_that_repairs_counts_the_same_samples(keypool, tmp_path):
    file = small_model(tmp_path / "tokenizer.model")
    own = tmp_path / "own texts"
    own.mkdir()
    (own / "a.txt").write_text("one text of ours")
    result = keypool(
        "probe", "--check", "--offline", "--tokenizer", str(file), "--samples", str(own)
    )
    assert result.code == ExitCode.DRIFT
    assert f"keypool probe --model {MODEL} --samples '{own}'" in result.err


def test_a_tokenizer_measures_a_model_never_probed(keypool, tmp_path, registry):
    file = small_model(tmp_path / "tokenizer.model")
    result = keypool("probe", "--offline", "--tokenizer", str(file), "--json")
    assert result.code == ExitCode.OK, result.err
    (report,) = result.json["models"]
    assert (report["source"], report["saved"]) == ("tokenizer", False)
    assert registry.calibrations.all() == {}


@pytest.mark.usefixtures("probed")
def test_a_piped_report_is_tab_separated(keypool):
    result = keypool("probe", "--offline")
    head, *rows = result.rows
    assert head[0].startswith(f"{MODEL}: 281 samples")
    assert {len(row) for row in rows} == {9}
    assert rows[-1][0] == "all"
    assert len({row[0] for row in rows}) == len(rows) == 14


@pytest.mark.usefixtures("probed")
def test_markdown_is_a_table_a_ci_summary_can_show(keypool):
    result = keypool("probe", "--offline", "--markdown")
    lines = result.out.splitlines()
    assert lines[0] == f"### keypool probe: {MODEL}"
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert len(table) == 2 + 14


@pytest.mark.usefixtures("probed")
def test_a_file_that_cannot_be_written_is_told(keypool, tmp_path):
    result = keypool("probe", "--offline", "--junit", str(tmp_path / "no" / "x.xml"))
    assert result.code == ExitCode.USAGE
    assert "x.xml" in result.err


@pytest.mark.usefixtures("probed")
def test_a_person_sees_a_bar_for_each_class(home):
    with terminal(home, "probe", "--offline", size=(80, 40)) as shown:
        text = shown.read_until(lambda _: False)
        assert shown.end() == ExitCode.OK
    assert "CHARS/TOKEN" in text
    assert "█" in text
    assert max(len(line) for line in text.splitlines() if "█" in line) <= 80 + 20  # with colours
