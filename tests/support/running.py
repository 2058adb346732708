"""A running daemon as tests see it: its process, its log, and its API over HTTP."""

import itertools
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2

API = "/keypool/v1"
FLASH = "gemini-2.5-flash"

START_S = 60.0
PATIENCE_S = 20.0
"""How long a busy machine may take for what comes at once on an idle one."""

LOCKED = "database is locked"
"""What SQLite says when a commit takes longer than others wait: a busy disk may do that."""

_URL = re.compile(rb"^(https?://\S+)\n", re.MULTILINE)
_WAITING = re.compile(r"^keypool_waiting (\S+)$", re.MULTILINE)
_numbers = itertools.count(1)


def unique(word: str) -> str:
    """A name that no other test uses."""
    return f"{word}-{next(_numbers)}"


def eventually(check: Callable[[], Any], *, within_s: float = PATIENCE_S) -> Any:
    """What ``check`` answers once it is true; asked again and again for a while."""
    deadline = time.monotonic() + within_s
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within_s:g} s"
        time.sleep(0.02)


def start(
    words: Sequence[str], env: Mapping[str, str], folder: Path, *, process_group: int | None = None
) -> tuple[subprocess.Popen[bytes], str, Path]:
    """``keypool serve`` on a port that the system chooses: its process, its URL and its log."""
    log = folder / f"{unique('daemon')}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "keypool_cli", "serve", "--port", "0", *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=dict(env),
            cwd=folder,
            process_group=process_group,
        )
    try:
        return process, _await_url(process, log), log
    except BaseException:
        process.kill()
        process.wait()
        raise


def _await_url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        found = _URL.search(log.read_bytes())
        if found:
            return found[1].decode()
        assert process.poll() is None, f"the daemon did not start: {log.read_text()}"
        time.sleep(0.01)
    raise AssertionError(f"no daemon within {START_S:g} s: {log.read_text()}")


class Daemon:
    """A running daemon and a client of it."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path, token: str) -> None:
        self.process, self.url, self.log = process, url, log
        self._clients: list[httpx2.Client] = []
        self.http = self.client(token)

    def client(self, token: str | None) -> httpx2.Client:
        """A client with a token of its own, or none."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        limits = httpx2.Limits(max_connections=None)
        made = httpx2.Client(
            base_url=self.url, headers=headers, timeout=30, limits=limits, trust_env=False
        )
        self._clients.append(made)
        return made

    def known(self, token: str) -> httpx2.Client:
        """The same, once the daemon has heard of the token."""
        made = self.client(token)
        eventually(lambda: made.get(f"{API}/status").status_code != 401)
        return made

    def lease(self, http: httpx2.Client | None = None, **body: Any) -> httpx2.Response:
        """``POST /leases``; ``model`` and ``tokens`` have defaults."""
        if "request" not in body:
            body.setdefault("tokens", 10)
        return (http or self.http).post(f"{API}/leases", json={"model": FLASH, **body})

    def granted(self, http: httpx2.Client | None = None, **body: Any) -> dict[str, Any]:
        """A lease that must be granted."""
        answer = self.lease(http, **body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def settle(
        self, lease: Mapping[str, Any] | str, http: httpx2.Client | None = None, **body: Any
    ) -> httpx2.Response:
        """``POST /leases/{id}/settle``."""
        lease_id = lease if isinstance(lease, str) else lease["lease_id"]
        return (http or self.http).post(f"{API}/leases/{lease_id}/settle", json=body)

    def settled(self, lease: Mapping[str, Any], **body: Any) -> dict[str, Any]:
        """A settlement that must be taken; what is told to come again comes again."""

        def told() -> list[httpx2.Response]:
            answer = self.settle(lease, **body)
            return [] if LOCKED in answer.text else [answer]

        (answer,) = eventually(told)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def release(
        self, lease: Mapping[str, Any] | str, http: httpx2.Client | None = None
    ) -> httpx2.Response:
        """``DELETE /leases/{id}``."""
        lease_id = lease if isinstance(lease, str) else lease["lease_id"]
        return (http or self.http).delete(f"{API}/leases/{lease_id}")

    def status(self, pool: str = "main") -> dict[str, Any]:
        """One pool of ``GET /status``."""
        answer = self.http.get(f"{API}/status", params={"pool": pool})
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["pools"][0])

    def project(self, name: str, pool: str = "main") -> dict[str, Any]:
        """One project of a pool's status."""
        return next(each for each in self.status(pool)["projects"] if each["project"] == name)

    def model(self, name: str, pool: str = "main", model: str = FLASH) -> dict[str, Any]:
        """One model of a project's status, which is there once it has been leased."""

        def found() -> list[dict[str, Any]]:
            return [each for each in self.project(name, pool)["models"] if each["model"] == model]

        rows: list[dict[str, Any]] = eventually(found)
        return rows[0]

    def explain(
        self, pool: str = "main", *, tokens: int = 10, model: str = FLASH
    ) -> dict[str, Any]:
        """``GET /explain``."""
        params: dict[str, Any] = {"pool": pool, "model": model, "tokens": tokens}
        answer = self.http.get(f"{API}/explain", params=params)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def waiting(self) -> int:
        """How many demands wait at it."""
        told = _WAITING.search(httpx2.get(self.url + "/metrics").text)
        assert told is not None
        return int(float(told[1]))

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it without warning."""
        self.process.kill()
        self.process.wait()

    def stop(self, *, within_s: float = 40.0) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(within_s)

    def close(self) -> None:
        """End it, kindly if it listens."""
        for each in self._clients:
            each.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.kill()
