"""Run a script of a JavaScript client, where Node and the client's package are at hand.

``npm ci --prefix tests/clients`` installs them; the continuous integration does, where npm is.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

CLIENTS = Path(__file__).parents[1] / "clients"
MODULES = Path(os.environ.get("KEYPOOL_TEST_NODE_MODULES") or CLIENTS / "node_modules")


def run_node(folder: Path, script: str, *, package: str, env: Mapping[str, str]) -> Any:
    """What the script printed, as JSON; skips the test where something is missing."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if not (MODULES / package).is_dir():
        pytest.skip(f"{package} is not installed: npm ci --prefix tests/clients")
    (folder / "node_modules").symlink_to(MODULES.resolve())
    (folder / "run.mjs").write_text(script)
    done = subprocess.run(
        [node, "run.mjs"],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)
