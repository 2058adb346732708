"""What ``--json`` prints is what the schemas in the package say."""

import json
import subprocess
from importlib.resources import files
from subprocess import PIPE

import jsonschema  # type: ignore[import-untyped]  # it has no types
import pytest

from tests.support.command_line import COMMAND, Keypool, environment, process, secret_of
from tests.support.examples import (
    ASKING,
    EXAMPLES,
    VERBS,
    ends_well,
    runs_on,
)
from tests.support.schemas import check, schemas, text_of

NAMES = {"-".join(words) for words, _ in VERBS}


def test_every_verb_has_a_schema_and_every_schema_a_verb():
    assert set(schemas()) == NAMES | {"error"}


@pytest.mark.parametrize("name", sorted(schemas()))
def test_the_schemas_in_the_package_are_current(name):
    made = schemas()[name]
    jsonschema.Draft202012Validator.check_schema(made)
    found = files("keypool_cli").joinpath(f"schemas/{name}.json").read_text(encoding="utf-8")
    assert found == text_of(made), "run: python -m tests.support.schemas"


@pytest.mark.parametrize(
    ("words", "line"),
    [each for each in EXAMPLES if not runs_on(*each)],
    ids=[line for words, line in EXAMPLES if not runs_on(words, line)],
)
def test_every_example_prints_json_as_its_schema_says(words, line, home, gemini, keypool_run):
    if words[0] in ASKING:
        keypool_run.environment("KEYPOOL_UPSTREAM_URL", gemini.url)
    if words == ("add",):
        (home / "keypool.db").unlink()
        line = line if "--from" in line else f"{line} --from-env GEMINI_KEY"
    result = keypool_run(line if "--json" in line else f"{line} --json")
    assert ends_well(line, result.code), result.err
    for text in result.out.splitlines():
        check("-".join(words), json.loads(text))
    assert result.out


@pytest.fixture
def keypool_run(monkeypatch, capsys):
    """Runs a command line in this process."""

    class Run:
        environment = staticmethod(monkeypatch.setenv)

        def __call__(self, line):
            return Keypool(monkeypatch, capsys).line(line)

    return Run()


@pytest.mark.parametrize("words", [("show", "nope"), ("nope",), ("quota", "set"), ("check",)])
@pytest.mark.usefixtures("home")
def test_errors_are_json_too(words, monkeypatch, capsys):
    result = Keypool(monkeypatch, capsys)(*words, "--json")
    assert result.code != 0
    assert result.out == ""
    error = check("error", json.loads(result.err))
    assert error["error"]["exit_code"] == result.code


@pytest.mark.usefixtures("home")
def test_what_is_refused_in_bulk_is_as_the_schemas_say(tmp_path, monkeypatch, capsys):
    keypool = Keypool(monkeypatch, capsys)
    (tmp_path / "bad.toml").write_text("[keys.x]\nproject='p1'\n[projects.p1]\ntier='t'\n")
    (tmp_path / "bad.csv").write_text("Model,RPM\nm,lots\nn,4\n")
    (tmp_path / "dup.csv").write_text(
        f"name,project,secret\nk1,p1,{secret_of('k1')}\nk7,p1,x\nk8\n"
    )
    for name, line in (
        ("apply", "keypool apply -f bad.toml"),
        ("quota-import", "keypool quota import bad.csv --tier t"),
        ("import", "keypool import dup.csv"),
        ("drain", "keypool drain k1 k2 --timeout 0"),
    ):
        result = keypool.line(f"{line} --json")
        assert result.code == (0 if name == "drain" else 7), result.err
        check(name, result.json)


@pytest.mark.parametrize("verb", ["serve", "simulate"])
@pytest.mark.parametrize("more", [[], ["--workers", "2"]], ids=["one process", "workers"])
def test_a_server_prints_its_url_as_its_schema_says_and_nothing_else(verb, more, home):
    if verb == "simulate" and more:
        more = ["--host", "localhost"]
    words = [verb, "--port", "0", *more, "--json"]
    with subprocess.Popen(
        [*COMMAND, *words], stdout=PIPE, stderr=PIPE, env=environment(home)
    ) as it:
        assert it.stdout is not None
        answer = check(verb, json.loads(it.stdout.readline()))
        it.terminate()
        rest, told = it.communicate(timeout=30)
    assert rest == b""
    assert answer["url"].startswith("http://")
    if verb == "serve":
        # Listening elsewhere than `keypool env` would say by itself.
        assert f'eval "$(keypool env --url {answer["url"]})"' in told.decode()


def test_a_server_that_cannot_start_says_so_as_the_schema_of_errors_says(home):
    result = process(home, "simulate", "--config", "nowhere.toml", "--json")
    check("error", json.loads(result.err))
