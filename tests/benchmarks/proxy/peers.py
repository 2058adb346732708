"""Calls a second through the proxy, and through two well-known ones, in one run.

PYTHONPATH=. python tests/benchmarks/proxy/peers.py [--litellm VENV] [--portkey NODE_MODULES]
    [--seconds N] [--connections N]

Needs wrk and nginx, whose constant answer is everyone's upstream. LiteLLM's proxy (``litellm[proxy]``
and ``redis`` in a virtual environment) runs one worker, usage-based routing over two keys, and
counts in a redis-server. Portkey's gateway (``@portkey-ai/gateway``) keeps no state at all. Both
are asked as OpenAI's clients ask them and translate; a peer whose folder is not given is left out.
"""

import argparse
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.proxy.measure import SCRIPT, nginx, rate_of, served
from tests.support.daemon import FLASH, a_home
from tests.support.servers import free_port

KEY = "sk-a-key-for-this-run-only-0123456789"
CHAT = json.dumps({
    "model": FLASH,
    "messages": [{"role": "user", "content": "Tell me a short story about a fox."}],
})  # fmt: skip
START_S = 120.0


class Target(NamedTuple):
    """Where wrk calls, and the script that says what it sends."""

    name: str
    url: str
    script: str


def chat(name: str, base: str, **headers: str) -> Target:
    """A chat as OpenAI's clients ask for one; header names are written with underscores."""
    named = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    named |= {header.replace("_", "-"): value for header, value in headers.items()}
    lines = ['wrk.method = "POST"', f"wrk.body = [[{CHAT}]]"]
    lines += [f'wrk.headers["{header}"] = "{value}"' for header, value in named.items()]
    return Target(name, f"{base}/v1/chat/completions", "\n".join(lines))


@contextmanager
def process(
    command: Sequence[str | Path], port: int, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A process that listens on a port; ended on leaving."""
    with log.open("wb") as out:
        running = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, **(env or {})}, cwd=log.parent
        )
    try:
        _await_port(port, running, log)
        yield
    finally:
        running.terminate()
        running.wait()


def _await_port(port: int, running: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and running.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.2)
    raise RuntimeError(f"{running.args!r} did not start: {log.read_text()[-2000:]}")


@contextmanager
def litellm(venv: Path, upstream: str, folder: Path) -> Iterator[Target]:
    """LiteLLM's proxy with two keys as deployments."""
    redis_port, port = free_port(), free_port()
    deployments = [
        {
            "model_name": FLASH,
            "litellm_params": {
                "model": f"gemini/{FLASH}",
                "api_key": f"key-{number}",
                "api_base": upstream,
                "rpm": 10**9,
                "tpm": 10**12,
            },
        }
        for number in (1, 2)
    ]
    routing = {"routing_strategy": "usage-based-routing-v2"}
    config = folder / "litellm.json"  # JSON is YAML
    config.write_text(
        json.dumps(
            {
                "model_list": deployments,
                "router_settings": routing | {"redis_host": "127.0.0.1", "redis_port": redis_port},
            }
        )
    )
    words = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MASTER_KEY": KEY,
    }
    redis: list[str | Path] = [
        "redis-server",
        "--port",
        str(redis_port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
    ]
    proxy: list[str | Path] = [venv / "bin" / "litellm", "--config", config, "--host", "127.0.0.1"]
    with (
        process(redis, redis_port, folder / "redis.log"),
        process(
            [*proxy, "--port", str(port), "--num_workers", "1"],
            port,
            folder / "litellm.log",
            words,
        ),
    ):
        yield chat("LiteLLM", f"http://127.0.0.1:{port}")


@contextmanager
def portkey(modules: Path, upstream: str, folder: Path) -> Iterator[Target]:
    """Portkey's gateway; provider, key and upstream come with each call."""
    port = free_port()
    script = modules / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    with process(["node", script, f"--port={port}", "--headless"], port, folder / "portkey.log"):
        yield chat(
            "Portkey",
            f"http://127.0.0.1:{port}",
            x_portkey_provider="google",
            x_portkey_custom_host=f"{upstream}/v1beta",
        )


@contextmanager
def own(upstream: str, folder: Path) -> Iterator[Target]:
    """The daemon with one worker and two keys of two projects without limits."""
    with a_home(folder / "home", upstream=upstream) as home:
        for name in ("p", "q"):
            home.add_project(name, rpm=10**9, tpm=10**12)
        with home.daemon() as daemon:
            yield _native("keypool", daemon.url, home.token)


def _native(name: str, base: str, key: str) -> Target:
    path = f"/v1beta/models/{FLASH}:generateContent"
    return Target(name, base + path, SCRIPT.replace("TOKEN", key))


def words() -> argparse.Namespace:
    """The command line's."""
    parser = argparse.ArgumentParser(description="Compare the proxy with others.")
    parser.add_argument("--litellm", type=Path, help="a virtual environment")
    parser.add_argument("--portkey", type=Path, help="a node_modules folder")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=32)
    return parser.parse_args()


def main() -> None:
    """Measure each twice, in turn."""
    asked = words()
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        upstream = running.enter_context(nginx(folder))
        bare = running.enter_context(served("bare", upstream))
        targets = [_native("upstream", upstream, "none"), _native("bare", bare, "none")]
        targets.append(running.enter_context(own(upstream, folder)))
        for name, peer, where in (
            ("LiteLLM", litellm, asked.litellm),
            ("Portkey", portkey, asked.portkey),
        ):
            if where is None:
                print(f"{name} is left out: its folder is not given")
            else:
                targets.append(running.enter_context(peer(where, upstream, folder)))
        for _, url, script in targets:  # the first calls of some take a hundred times as long
            rate_of(url, script, folder, 3, asked.connections)
        for _ in range(2):
            for name, url, script in targets:
                found = rate_of(url, script, folder, asked.seconds, asked.connections)
                print(f"{name:9} {found}", flush=True)


if __name__ == "__main__":
    main()
