"""The guides' recipes as a stranger runs them: as printed, but for the addresses."""

import ast
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest

from keypool_cli.cli.guide import TOPICS, text_of
from tests.support.daemon import FLASH
from tests.support.node import run_node
from tests.support.proxy import a_proxy

pytestmark = pytest.mark.e2e


def blocks(language):
    """Every block of a language in the guides, with its topic."""
    for topic in TOPICS:
        yield from (
            (topic, text)
            for text in re.findall(rf"```{language}\n(.*?)```", text_of(topic), re.DOTALL)
        )


def modules_of(text):
    """What a Python block imports."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        if isinstance(node, ast.ImportFrom):
            yield str(node.module)


PYTHON = [text for _, text in blocks("python")]
CURL = [(topic, text) for topic, text in blocks("sh") if text.startswith("curl ")]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    world = {"projects": {}, "models": [FLASH]}
    with a_proxy(tmp_path_factory.mktemp("recipes") / "home", world=world) as running:
        running.sim.add_project("shop", ["sim-shop-1"], models={"*": {}})
        running.home.add_project("shop", keys=["shop"], secrets={"shop": "sim-shop-1"})
        yield running


@pytest.fixture
def here(proxy):
    """A recipe with the addresses of the daemon and the simulator."""

    def placed(text):
        upstream = "https://generativelanguage.googleapis.com"
        return text.replace("http://127.0.0.1:8787", proxy.daemon.url).replace(
            upstream, proxy.sim.url
        )

    return placed


@pytest.fixture
def env(proxy):
    """The environment after ``eval "$(keypool env)"``."""
    return {
        **proxy.home.env,
        "KEYPOOL_TOKEN": proxy.home.token,
        "GOOGLE_GEMINI_BASE_URL": proxy.daemon.url,
        "GEMINI_API_KEY": proxy.home.token,
        "GOOGLE_API_KEY": proxy.home.token,
    }


def test_there_are_recipes():
    assert len(PYTHON) >= 5
    assert len(CURL) >= 2


@pytest.mark.parametrize(
    "text",
    PYTHON,
    ids=[f"{min(modules_of(text))} {number}" for number, text in enumerate(PYTHON)],
)
def test_every_python_recipe_prints_what_it_should(text, here, env, tmp_path):
    for name in modules_of(text):
        if find_spec(name.partition(".")[0]) is None:
            pytest.skip(f"{name} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", here(text)],
        env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"\w", done.stdout)


@pytest.mark.parametrize(("topic", "text"), CURL, ids=[topic for topic, _ in CURL])
def test_every_curl_recipe_is_answered(topic, text, here, env, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(
        ["sh", "-c", here(text)],
        env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r'"(candidates|lease_id)"', done.stdout), (topic, done.stdout)


def test_the_javascript_recipe_works(here, env, tmp_path):
    [text] = [text for _, text in blocks("js") if '"@google/genai"' in text]
    script = here(text).replace("answer.text", "JSON.stringify(answer.text)")
    assert run_node(tmp_path, script, package="@google/genai", env=env)
