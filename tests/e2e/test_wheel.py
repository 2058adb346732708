"""What is published works by itself: the wheel, in a bare environment, far from the source tree."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.support.schemas import check

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


def run(*words, cwd, seconds=300):
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=bare,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def keypool(tmp_path_factory):
    """The ``keypool`` of a wheel built from this tree and installed into a new environment."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "-w", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("keypool-*.whl")
    venv.create(folder / "bare", with_pip=False)
    python = folder / "bare" / "bin" / "python"
    run(*pip, "--python", python, "install", "-c", ROOT / "constraints.txt", wheel, cwd=folder)
    return folder / "bare" / "bin" / "keypool"


def test_the_wheel_shows_its_help(keypool, tmp_path):
    assert "Administer a shared pool of Gemini API keys" in run(keypool, "--help", cwd=tmp_path)


def test_the_wheel_holds_what_is_read_at_run_time(keypool, tmp_path):
    assert "keypool add" in run(keypool, "guide", "quickstart", cwd=tmp_path)
    assert "complete" in run(keypool, "completions", "bash", cwd=tmp_path)
    (schemas,) = keypool.parents[1].glob("lib/python3*/site-packages/keypool_cli/schemas")
    assert (schemas / "status.json").exists()


def test_the_demo_keeps_its_promises_from_the_wheel(keypool, tmp_path):
    ending = check("demo", json.loads(run(keypool, "demo", "--json", cwd=tmp_path)))
    assert [each["promise"] for each in ending["promises"] if not each["kept"]] == []
    assert ending["refused_to_callers"] == 0
    assert sum(ending["served"].values()) > 100
