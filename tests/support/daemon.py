"""Start, stop and kill real daemons on a scratch home, and talk to them over HTTP.

with a_home(tmp_path, window_s=2) as home:
    home.add_project("p1", rpm=5)
    with home.daemon() as daemon:
        lease = daemon.lease(tokens=10).json()
        daemon.settle(lease, status=200, usage={"promptTokenCount": 7})

Every process started is ended on leaving, by its pid.
"""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from keypool_cli.config import Settings, load
from keypool_cli.core.model import Secret
from keypool_cli.engine.embedded import socket_path
from keypool_cli.errors import UnreachableError
from keypool_cli.registry.repository import Registry
from keypool_cli.registry.values import NewClient, NewKey, QuotaScope
from keypool_cli.service.changing import changing
from keypool_cli.service.ports import Ports, open_registry, opened
from tests.support.registry import BY
from tests.support.running import (
    API,
    FLASH,
    LOCKED,
    PATIENCE_S,
    Daemon,
    eventually,
    start,
    unique,
)

__all__ = [
    "API",
    "BY",
    "FLASH",
    "NOWHERE",
    "ROOT",
    "APool",
    "Daemon",
    "Home",
    "a_home",
    "eventually",
    "secret_of",
    "unique",
    "with_constants",
]

ROOT = Path(__file__).parents[2]
NOWHERE = "http://127.0.0.1:9"
"""An upstream on loopback that nobody calls: it allows a short window."""

T = TypeVar("T")


def with_constants(folder: Path, values: Mapping[str, float]) -> str:
    """A PYTHONPATH for processes in which constants have other values, by their dotted names.

    So that what is given up after half a minute can be tested in less.
    """
    lines = []
    for name, value in values.items():
        module = f"keypool_cli.{name.rpartition('.')[0]}"
        lines += [f"import {module}", f"keypool_cli.{name} = {value}"]
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("\n".join(lines))
    return f"{folder}:{ROOT}"


def secret_of(name: str) -> str:
    """A secret of the published shape, different for each name."""
    return "AIzaSy" + f"INVENTED_{name}_".ljust(33, "x")


class Home:
    """A scratch KEYPOOL_HOME, its settings, and the changes an operator makes there."""

    def __init__(self, path: Path, env: Mapping[str, str]) -> None:
        self.path = path
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("KEYPOOL_", "GOOGLE_", "GEMINI_"))
        }
        self.env = {**clean, "PYTHONPATH": str(ROOT), "KEYPOOL_HOME": str(path), **env}
        self._token: str | None = None
        self._ports: tuple[asyncio.Runner, Ports] | None = None

    @property
    def settings(self) -> Settings:
        """As a process with this environment would find them."""
        return load({}, env=self.env, cwd=self.path)

    @property
    def token(self) -> str:
        """The token of a client that may use every pool."""
        if self._token is None:
            self._token = self.add_client()
        return self._token

    @contextmanager
    def registry(self) -> Iterator[Registry]:
        """The registry alone, without the live store."""
        registry = open_registry(self.settings)
        try:
            yield registry
        finally:
            registry.close()

    def run(self, work: Callable[[Ports], Awaitable[T]]) -> T:
        """Use the services as a command of its own would: open, work, close."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._run(work)
            except UnreachableError as err:
                if LOCKED not in str(err) or time.monotonic() > deadline:
                    raise

    def _run(self, work: Callable[[Ports], Awaitable[T]]) -> T:
        if self._ports is not None:
            runner, ports = self._ports
            return runner.run(_awaited(work(ports)))

        async def opened_and_closed() -> T:
            async with opened(self.settings, start=False) as ports:
                return await work(ports)

        return asyncio.run(opened_and_closed())

    @contextmanager
    def staying_open(self) -> Iterator[None]:
        """Let :meth:`run` open everything once only: for homes in which much is changed."""
        found = opened(self.settings)
        with asyncio.Runner() as runner:
            self._ports = runner, runner.run(found.__aenter__())
            try:
                yield
            finally:
                self._ports = None
                runner.run(found.__aexit__(None, None, None))

    def change(
        self, method: Callable[[Registry], T], touched: Callable[[T], Any] = lambda _: ()
    ) -> T:
        """Change the registry, and the live state of the projects whose ids ``touched`` names."""
        return self.run(lambda ports: changing(ports, lambda: method(ports.registry), touched))

    def add_project(
        self,
        name: str,
        *,
        keys: Sequence[str] | None = None,
        pool: str = "main",
        billing_account: str | None = None,
        priority: int | None = None,
        secrets: Mapping[str, str] | None = None,
        **limits: int,
    ) -> str:
        """A project with keys (one named after it unless told) and limits on every model."""
        names = keys if keys is not None else [f"{name}-key"]
        hidden = {each: secret_of(each) for each in names} | dict(secrets or {})

        def add(registry: Registry) -> list[int]:
            added = [
                registry.keys.add(
                    NewKey(each, Secret(hidden[each]), name, pool, priority=priority), by=BY
                )
                for each in names
            ]
            if billing_account is not None:
                registry.projects.set(name, by=BY, billing_account=billing_account)
            if limits:
                registry.quotas.set(QuotaScope(project=name), limits, by=BY)
            return [each.project_id for each in added]

        self.change(add, touched=lambda ids: ids)
        return name

    def add_client(self, name: str | None = None, **options: Any) -> str:
        """A client of the daemon; its token."""
        new = NewClient(name or unique("client"), **options)
        return self.change(lambda registry: registry.clients.add(new, by=BY))[1].text

    @contextmanager
    def daemon(self, *, workers: int = 1, auth: bool = True, **env: str) -> Iterator[Daemon]:
        """A daemon on a port that the system chose, and in a process group of its own."""
        token = self.token if auth else ""
        running = self._start(workers, token, {**self.env, **env})
        try:
            yield running
        finally:
            running.close()

    def _start(self, workers: int, token: str, env: Mapping[str, str]) -> Daemon:
        words = ["--workers", str(workers), *([] if token else ["--no-auth"])]
        process, url, log = start(words, env, self.path, process_group=0)
        try:
            return Daemon(process, url, log, token)
        except BaseException:
            process.kill()
            process.wait()
            raise

    @property
    def socket(self) -> Path:
        """Where the embedded server listens."""
        return socket_path(self.path.resolve() / "valkey")

    def valkey_pid(self) -> int | None:
        """The embedded server's process, if it lives."""
        with suppress(FileNotFoundError, ValueError):
            pid = int((self.path / "valkey" / "valkey.pid").read_text())
            if _is_valkey(pid):
                return pid
        return None

    def kill_valkey(self, *, with_folder: bool = False) -> None:
        """End the embedded server without warning; with_folder: and take its state away."""
        pid = self.valkey_pid()
        assert pid is not None, "no embedded server runs"
        if with_folder:
            folder = self.path / "valkey"
            folder.rename(folder.with_name(unique("gone")))
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not _is_valkey(pid))

    def close(self) -> None:
        """End an embedded server that nobody shut down."""
        pid = self.valkey_pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)


class APool:
    """A pool of a test's own, so that tests may share a home and its daemons."""

    def __init__(self, home: Home) -> None:
        self.home, self.name = home, unique("pool")

    def add(self, **options: Any) -> str:
        """A project in it; see :meth:`Home.add_project`."""
        return self.home.add_project(unique("project"), pool=self.name, **options)


@contextmanager
def a_home(path: Path, *, upstream: str = NOWHERE, **settings: object) -> Iterator[Home]:
    """A scratch home; settings are KEYPOOL_ variables in lower case without the prefix."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    env = {f"KEYPOOL_{name.upper()}": str(value) for name, value in settings.items()}
    home = Home(path, {"KEYPOOL_UPSTREAM_URL": upstream, **env})
    try:
        yield home
    finally:
        home.close()


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def _is_valkey(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"valkey-server" in words
