"""Start a simulator as a real process, and talk to its admin API.

with simulator({"projects": {"p": {"keys": ["k"], "models": {"*": {"rpm": 2}}}}}) as sim:
    sim.fault(kind="overloaded", times=2)
    sim.record()["projects"]["p"]["accepted"]
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from keypool_cli.simulator.refusals import GeminiError

ROOT = Path(__file__).parents[2]


class Simulator:
    """A running simulator: its base URL, its process, and its admin calls."""

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self.url = url
        self.process = process
        self._client = httpx2.Client(base_url=url + "/simulator/v1", timeout=30)

    def record(self) -> dict[str, Any]:
        """What it saw since the start or the last reset."""
        record: dict[str, Any] = self._call("GET", "/record").json()
        return record

    def project(self, name: str) -> dict[str, Any]:
        """The record of one project."""
        project: dict[str, Any] = self.record()["projects"][name]
        return project

    def reset(self) -> None:
        """Forget record, windows, days, faults and revocations."""
        self._call("POST", "/reset")

    def add_project(self, name: str, keys: list[str], **spec: object) -> None:
        """Add or change a project; spec: tier, models."""
        self._call("POST", "/projects", {"name": name, "keys": keys, **spec})

    def fault(self, kind: str, **fault: object) -> int:
        """Script a fault; its fields are those of keypool_cli.simulator.faults.Fault."""
        number: int = self._call("POST", "/faults", {"kind": kind, **fault}).json()["id"]
        return number

    def clear_faults(self) -> None:
        """Forget all faults."""
        self._call("DELETE", "/faults")

    def revoke(self, key: str) -> None:
        """Make a key invalid from now on."""
        self._call("POST", "/keys/revoke", {"key": key})

    def restore(self, key: str) -> None:
        """Make a revoked key valid again."""
        self._call("POST", "/keys/restore", {"key": key})

    def _call(self, method: str, path: str, body: object = None) -> httpx2.Response:
        answer = self._client.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer

    def close(self) -> None:
        """End the process."""
        self._client.close()
        self.process.kill()
        self.process.communicate()


@contextmanager
def simulator(world: Mapping[str, Any] | None = None) -> Iterator[Simulator]:
    """A simulator of ``world`` (its JSON form), or of the default one; ended on leaving."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "keypool_cli.simulator"]
        if world is not None:
            config = Path(folder) / "world.json"
            config.write_bytes(msgspec.json.encode(world))
            command += ["--config", str(config)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the simulator did not start"
        running = Simulator(msgspec.json.decode(line)["url"], process)
        try:
            yield running
        finally:
            running.close()


def error_of(refused: GeminiError) -> dict[str, Any]:
    """The error object in a refusal's JSON body."""
    assert isinstance(refused.body, dict)
    error: dict[str, Any] = refused.body["error"]
    return error
