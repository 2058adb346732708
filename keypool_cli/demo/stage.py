"""The demo's stage: a scratch home, a simulator and a daemon, each a real process."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from getpass import getuser
from pathlib import Path
from socket import gethostname

import msgspec

from keypool_cli.config import load
from keypool_cli.core.model import Secret
from keypool_cli.demo import script
from keypool_cli.errors import KeypoolError
from keypool_cli.registry.values import Actor, NewClient, NewKey, QuotaScope
from keypool_cli.service.changing import changing
from keypool_cli.service.ports import Ports, opened

START_S = 15.0
STOP_S = 10.0

_URL = re.compile(rb"http://[^\s\"]+")


class StageError(KeypoolError):
    """A part of the demo did not start or ended by itself."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process of the demo and where it listens."""

    url: str
    process: asyncio.subprocess.Process

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the process and wait for it."""
        with suppress(ProcessLookupError):
            self.process.send_signal(how)
        try:
            await asyncio.wait_for(self.process.wait(), STOP_S)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@dataclass(slots=True)
class Stage:
    """Everything on it. token: the demo client's."""

    home: Path
    simulator: Server
    daemon: Server
    token: str

    async def restart_daemon(self) -> None:
        """Kill the daemon without warning and start another."""
        await self.daemon.stop(signal.SIGKILL)
        self.daemon = await _start_daemon(self.home, self.simulator.url)


@asynccontextmanager
async def stage(home: Path) -> AsyncIterator[Stage]:
    """Set everything up in ``home``, and take it down again."""
    simulator = await _start_simulator(home)
    try:
        token = await _register(home, simulator.url)
        set_up = Stage(home, simulator, await _start_daemon(home, simulator.url), token)
        try:
            yield set_up
        finally:
            await set_up.daemon.stop()
    finally:
        await simulator.stop()


async def _start_simulator(home: Path) -> Server:
    world = {
        "window_s": script.WINDOW_S,
        "first_byte_s": script.LATENCY_S,
        "projects": {
            part.project: {
                "tier": "free",
                "keys": [script.secret_of(each) for each in part.keys],
                "models": {script.MODEL: {"rpm": part.rpm, "tpm": part.tpm, "rpd": part.rpd}},
            }
            for part in script.PARTS
        },
    }
    config = home / "world.json"
    config.write_bytes(msgspec.json.encode(world))
    return await _start(["keypool_cli.simulator", "--config", str(config)], home, _environment())


async def _start_daemon(home: Path, upstream: str) -> Server:
    arguments = ["keypool_cli", "serve", "--port", "0"]
    return await _start(arguments, home, _environment() | _keypool(home, upstream))


def _keypool(home: Path, upstream: str) -> dict[str, str]:
    return {
        "KEYPOOL_HOME": str(home),
        "KEYPOOL_UPSTREAM_URL": upstream,
        "KEYPOOL_WINDOW_S": str(script.WINDOW_S),
        "KEYPOOL_GUARD_MS": str(script.GUARD_MS),
    }


def _environment() -> dict[str, str]:
    """The demo must not meet the user's own keypool."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KEYPOOL_")}


async def _start(arguments: list[str], home: Path, environment: Mapping[str, str]) -> Server:
    log = home / f"{arguments[0]}.log"
    with log.open("ab") as out:
        began = out.tell()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=dict(environment),
            cwd=home,
        )
    try:
        async with asyncio.timeout(START_S):
            return Server(await _url(log, began, process), process)
    except TimeoutError as err:
        process.kill()
        raise StageError(f"{arguments[0]} did not start within {START_S:.0f} s") from err


async def _url(log: Path, began: int, process: asyncio.subprocess.Process) -> str:
    while True:
        said = _written(log, began)
        if (found := _URL.search(said)) and b"\n" in said[found.end() :]:
            return found.group().decode()
        if process.returncode is not None:
            raise StageError(f"it ended at once: {said.decode(errors='replace')[-400:]}")
        await asyncio.sleep(0.02)


def _written(log: Path, since: int) -> bytes:
    return log.read_bytes()[since:]


async def _register(home: Path, upstream: str) -> str:
    settings = load({}, env=_keypool(home, upstream), cwd=home)
    by = Actor(getuser(), gethostname(), "demo")
    async with opened(settings, start=False) as ports:
        await changing(ports, partial(_fill, ports, by))
        new = partial(ports.registry.clients.add, NewClient("demo"), by=by)
        _, token = await changing(ports, new)
        for each in ports.unheard:
            raise each
        return token.text


def _fill(ports: Ports, by: Actor) -> None:
    keys = [
        NewKey(name, Secret(script.secret_of(name)), part.project)
        for part in script.PARTS
        for name in part.keys
    ]
    for outcome in ports.registry.keys.add_many(keys, by=by):
        if outcome.error is not None:
            raise outcome.error
    for part in script.PARTS:
        scope = QuotaScope(project=part.project, model=script.MODEL)
        ports.registry.quotas.set(scope, {"rpm": part.rpm, "tpm": part.tpm}, by=by)
