"""Run a script of a JavaScript client, where Node and the client's package are at hand."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

MODULES = os.environ.get("KEYPOOL_TEST_NODE_MODULES", "")


def run_node(folder: Path, script: str, *, package: str, env: Mapping[str, str]) -> Any:
    """What the script printed, as JSON; skips the test where something is missing."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if not (Path(MODULES) / package).is_dir():
        pytest.skip(f"KEYPOOL_TEST_NODE_MODULES names no node_modules folder with {package}")
    (folder / "node_modules").symlink_to(Path(MODULES).resolve())
    (folder / "run.mjs").write_text(script)
    done = subprocess.run(
        [node, "run.mjs"],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)
