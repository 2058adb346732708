"""The probe as real processes: against a simulator that counts as Gemma 3's vocabulary does."""

import json
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from xml.etree import ElementTree as ET

import pytest

from keypool_cli.errors import ExitCode
from keypool_cli.samples import load_shipped
from tests.support.command_line import COMMAND, process
from tests.support.daemon import FLASH, NOWHERE, a_home, eventually, secret_of
from tests.support.probing import counting_simulator
from tests.support.simulator import simulator
from tests.support.timing import quickly

pytestmark = pytest.mark.e2e

KEYS = {"p1": secret_of("p1-key"), "p2": secret_of("p2-key")}
SAMPLES = 281


@pytest.fixture(scope="module")
def gemini(tmp_path_factory):
    """Gemini with Gemma 3's vocabulary."""
    with counting_simulator(tmp_path_factory.mktemp("g3"), "gemma3", keys=KEYS) as running:
        yield running


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Gemini after its tokenizer was exchanged for another."""
    with counting_simulator(tmp_path_factory.mktemp("g2"), "gemma2", keys=KEYS) as running:
        yield running


@pytest.fixture(scope="module")
def template(tmp_path_factory, gemini):
    """A home with two keys, to be copied."""
    with a_home(tmp_path_factory.mktemp("template") / "home", upstream=gemini.url) as made:
        for name in KEYS:
            made.add_project(name)
        yield made


@pytest.fixture(scope="module")
def probed_template(template, tmp_path_factory, gemini):
    """The same, calibrated by a real probe; and how long that took."""
    path = shutil.copytree(template.path, tmp_path_factory.mktemp("probed") / "home")
    begun = time.monotonic()
    result = process(path, "probe", "--model", FLASH, "--json", KEYPOOL_UPSTREAM_URL=gemini.url)
    took = time.monotonic() - begun
    assert result.code == ExitCode.OK, result.err
    return path, result.json["models"][0], took


@pytest.fixture
def home(template, tmp_path, gemini):
    path = shutil.copytree(template.path, tmp_path / "home")
    with a_home(path, upstream=gemini.url) as made:
        yield made


@pytest.fixture
def probed(probed_template, home):
    """The home, calibrated."""
    shutil.copy(probed_template[0] / "keypool.db", home.path / "keypool.db")
    return home


@pytest.fixture
def probe(home):
    """``keypool probe …``, the upstream as said."""

    def _probe(*words, upstream=None):
        url = upstream.url if upstream is not None else home.env["KEYPOOL_UPSTREAM_URL"]
        return process(home.path, "probe", *words, KEYPOOL_UPSTREAM_URL=url)

    return _probe


def stored(home):
    with home.registry() as registry:
        return registry.calibrations.get(FLASH)


def all_of(home):
    """Everything a check might have changed."""
    with home.registry() as registry:
        return (registry.catalog(), registry.calibrations.all(), registry.events.read())


def test_a_probe_takes_less_than_a_minute_and_a_check_less_than_twenty_seconds(
    probed_template, probed, probe
):
    _, report, took = probed_template
    assert (report["samples"], report["counted"], report["saved"]) == (SAMPLES, SAMPLES, True)
    assert took < 60
    assert quickly(lambda: probe("--check").code, within_s=20) == ExitCode.OK
    assert stored(probed).payload["counts"].keys() == {each.digest for each in load_shipped()}


@pytest.mark.usefixtures("probed")
def test_a_changed_tokenizer_is_found_named_and_mended_by_one_probe(probe, changed):
    drifted = probe("--check", "--json", upstream=changed)
    assert drifted.code == ExitCode.DRIFT
    (found,) = drifted.json["models"]
    shifts = {each["stratum"]: each["shift"] for each in found["shifts"]}
    assert 0.2 < shifts["tashkeel"] < 0.3
    assert abs(shifts["English"]) < 0.01
    assert "tashkeel" in drifted.err
    assert found["repair"] == f"keypool probe --model {FLASH}"

    mended = probe(upstream=changed)
    assert mended.code == ExitCode.OK, mended.err
    assert probe("--check", "--all", upstream=changed).code == ExitCode.OK
    (report,) = probe("--offline", "--json").json["models"]
    errors = {each["name"]: each["after"]["error"] for each in report["strata"]}
    assert max(errors.values()) < 0.07


def test_a_check_does_not_ask_for_a_probe_that_would_mend_nothing(probe):
    # This one counts by a rule so unlike a vocabulary that the goals are out of reach.
    projects = {name: {"keys": [key], "models": {"*": {}}} for name, key in KEYS.items()}
    with simulator({"projects": projects}) as odd:
        assert probe("--model", FLASH, upstream=odd).code == ExitCode.OK
        result = probe("--check", upstream=odd)
    assert result.code == ExitCode.OK, result.err
    assert "warn\taccuracy\tEnglish" in result.out


def test_a_check_writes_nothing(probed, probe, changed):
    before = all_of(probed)
    assert probe("--check").code == ExitCode.OK
    assert probe("--check", "--all", upstream=changed).code == ExitCode.DRIFT
    assert all_of(probed) == before


def test_a_check_of_a_model_never_probed_judges_the_shipped_defaults(home, probe):
    result = probe("--check", "--model", FLASH)
    assert result.code == ExitCode.OK
    assert "shipped default holds" in result.out
    assert "never probed" in result.err
    assert stored(home) is None


def test_an_interrupted_probe_goes_on_where_it_was(home, tmp_path):
    with counting_simulator(tmp_path, "gemma3", keys=KEYS, first_byte_s=0.15) as slow:
        env = {**home.env, "KEYPOOL_UPSTREAM_URL": slow.url}
        words = [*COMMAND, "probe", "--model", FLASH]
        running = subprocess.Popen(words, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        eventually(lambda: _counted(slow) > 30, within_s=20)
        running.send_signal(signal.SIGINT)
        _, words_said = running.communicate(timeout=60)
        assert b"run it again to go on" in words_said
        assert running.returncode == ExitCode.INTERRUPTED
        assert stored(home).payload.get("calibration") is None
        again = process(
            home.path, "probe", "--model", FLASH, "--json", KEYPOOL_UPSTREAM_URL=slow.url
        )
        assert again.code == ExitCode.OK, again.err
        (report,) = again.json["models"]
        assert report["resumed"] >= 20  # answers under way at the interruption are lost
        assert report["counted"] + report["resumed"] == SAMPLES
        # What was under way at the interruption is asked for twice.
        assert _counted(slow) <= SAMPLES + 8


@pytest.mark.usefixtures("probed")
def test_a_finished_probe_counts_everything_anew(probe):
    (report,) = probe("--model", FLASH, "--json").json["models"]
    assert (report["counted"], report["resumed"]) == (SAMPLES, 0)


def _counted(sim, *names):
    projects = sim.record()["projects"]
    chosen = [projects[name] for name in names or projects]
    return sum(key["counted"] for project in chosen for key in project["keys"].values())


FEW = 32
"""Samples of a quick probe: 25 texts and the structural ones."""


def few(home, folder, sim):
    lines = [json.dumps({"text": f"sample number {at} of a few"}) for at in range(25)]
    file = folder / "few.jsonl"
    file.write_text("\n".join(lines))
    words = ("--model", FLASH, "--samples", str(file), "--only-samples", "--json")
    return process(home.path, "probe", *words, KEYPOOL_UPSTREAM_URL=sim.url)


def test_without_a_key_it_says_how_to_add_one(tmp_path, gemini):
    with a_home(tmp_path / "empty", upstream=gemini.url) as empty:
        result = process(empty.path, "probe", KEYPOOL_UPSTREAM_URL=gemini.url)
    assert result.code == ExitCode.NO_CAPACITY
    assert "keypool add" in result.err


@pytest.mark.parametrize("words", [(), ("--check",)])
def test_without_a_network_it_says_so(home, probe, words):
    home.env["KEYPOOL_UPSTREAM_URL"] = NOWHERE
    result = probe(*words)
    assert result.code == ExitCode.UNREACHABLE
    assert "127.0.0.1:9" in result.err
    assert "--offline" in result.err


def test_a_model_that_cannot_be_counted_is_an_error_if_named_and_left_out_if_in_use(home, probe):
    assert probe("--model", "gemini-0-nothing").code == ExitCode.NOT_FOUND
    with home.registry() as registry:
        for name in ("gemini-0-nothing", FLASH):
            registry.live_epochs.set(name, "an epoch", at_ms=1)
    result = probe("--json")
    assert result.code == ExitCode.OK, result.err
    assert [each["model"] for each in result.json["models"]] == [FLASH]
    assert "gemini-0-nothing is left out" in result.err


def test_a_dead_key_is_taken_out_and_the_others_count(home, tmp_path):
    home.add_project("p3")
    with counting_simulator(tmp_path, "gemma3", keys=KEYS) as sim:
        result = few(home, tmp_path, sim)
        assert result.code == ExitCode.OK, result.err
        with home.registry() as registry:
            states = {each.name: each.state for each in registry.catalog().keys.values()}
            refusals = [each for each in registry.events.read() if each.kind == "refusal"]
    assert states == {"p1-key": "ready", "p2-key": "ready", "p3-key": "dead"}
    assert len(refusals) == 1


def test_with_dead_keys_only_it_says_why(home, tmp_path):
    with counting_simulator(tmp_path, "gemma3", keys={"other": "other-key-of-another"}) as sim:
        result = few(home, tmp_path, sim)
    assert result.code == ExitCode.NO_CAPACITY
    assert "API key not valid" in result.err


def test_a_project_that_is_refused_for_its_rate_rests_and_the_other_counts(home, tmp_path):
    with counting_simulator(tmp_path, "gemma3", keys=KEYS) as sim:
        sim.fault("rpm", on="count", project="p1", for_s=600)
        result = few(home, tmp_path, sim)
        assert result.code == ExitCode.OK, result.err
        assert _counted(sim, "p2") == FEW


@pytest.mark.parametrize("tokens", [0, 10**9])
def test_counts_that_no_vocabulary_can_give_calibrate_nothing(home, tmp_path, tokens):
    text = "One two three four five six seven eight nine ten. " * 5
    lines = tmp_path / "own.jsonl", tmp_path / "counts.jsonl"
    lines[0].write_text(json.dumps({"text": text, "class": "en_prose"}))
    lines[1].write_text(json.dumps({"text": text, "tokens": tokens}))
    only = ("--only-samples", "--samples", str(lines[0]))
    with simulator({"key_prefix": "", "counts": str(lines[1])}) as sim:
        env = {"KEYPOOL_UPSTREAM_URL": sim.url}
        result = process(home.path, "probe", "--model", FLASH, *only, **env)
        assert (result.code, result.out) == (ExitCode.UNREACHABLE, "")
        assert f"counts {tokens + 1} tokens for the sample" in result.err
        again = process(home.path, "probe", "--check", "--model", FLASH, *only, **env)
        assert again.code == ExitCode.UNREACHABLE
    with home.registry() as registry:
        found = registry.calibrations.get(FLASH)
        # Other counts may have come before, and are kept.
        assert found is None or "calibration" not in found.payload


def test_upstream_that_stumbles_is_asked_again(home, tmp_path):
    with counting_simulator(tmp_path, "gemma3", keys=KEYS) as sim:
        sim.fault("overloaded", on="count", times=3)
        sim.fault("drop", on="count", times=2, after=20)
        result = few(home, tmp_path, sim)
    assert result.code == ExitCode.OK, result.err


@pytest.mark.usefixtures("probed")
def test_reports_for_ci_name_what_drifted(probe, changed, tmp_path):
    file = tmp_path / "probe.xml"
    result = probe("--check", "--markdown", "--junit", str(file), upstream=changed)
    assert result.code == ExitCode.DRIFT
    assert f"### keypool probe: {FLASH}" in result.out
    assert "| tashkeel |" in result.out
    suite = ET.parse(file).getroot()[0]
    failed = {case.get("name") for case in suite if case.find("failure") is not None}
    assert "counts" in failed
    assert suite.get("failures") == str(len(failed))
    assert "waste" not in failed


def test_own_samples_join_the_shipped_ones_or_replace_them(probe, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    for at in range(5):
        (own / f"{at}.txt").write_text(f"مرحبا، رقم طلبي هو {at}{at}{at} وأريد متابعته من فضلك.")
    (report,) = probe("--model", FLASH, "--samples", str(own), "--json").json["models"]
    assert report["samples"] == SAMPLES + 5
    assert report["classes"][0]["name"] == "own"
    alone = probe("--model", FLASH, "--samples", str(own), "--only-samples", "--json")
    (report,) = alone.json["models"]
    assert [each["name"] for each in report["classes"]] == ["own"]
    assert report["samples"] == 5 + 7


def test_daemons_estimate_with_a_new_calibration_within_two_seconds(home, probe, changed):
    text = "كَتَبَ الوَلَدُ الدَّرْسَ فِي دَفْتَرِهِ ثُمَّ رَاجَعَهُ مَعَ أُخْتِهِ قَبْلَ النَّوْمِ " * 20
    request = {"contents": [{"parts": [{"text": text}]}]}
    with ExitStack() as stack:
        daemons = [stack.enter_context(home.daemon()) for _ in range(2)]

        def estimates():
            return [each.granted(request=request)["estimate"]["tokens"] for each in daemons]

        (shipped, same) = estimates()
        assert shipped == same
        assert probe("--model", FLASH, upstream=changed).code == ExitCode.OK
        eventually(lambda: min(estimates()) > 1.15 * shipped, within_s=10)
