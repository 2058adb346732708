"""Selections a second, keypool's and LiteLLM's: run ``python -m tests.benchmarks.selection``.

Both on one server of their own in the same run, 16 callers, at 10 and 1,000 keys. keypool's
selection reserves requests and tokens on the way; LiteLLM's ``usage-based-routing-v2`` reads
counters and reserves nothing. LiteLLM is installed into an environment of its own, which is kept
in the folder named, or a temporary one.
"""

import asyncio
import secrets
import subprocess
import sys
import tempfile
import time
import venv
from functools import partial
from pathlib import Path
from statistics import median

import redis
import uvloop
from redis.asyncio import Redis

from keypool_cli.engine.engine import Engine
from keypool_cli.engine.store import Store
from keypool_cli.engine.types import Acquired, Demand, Grant, LivePool, LiveProject, Refused, Waits
from keypool_cli.service.batching import Batcher
from tests.support.servers import free_port
from tests.support.valkey import private_valkey

HERE = Path(__file__).parent
PEER = "litellm==1.106.2"
SIZES, SECONDS, ROUNDS, CONCURRENCY = (10, 1_000), 4.0, 3, 16


def peer_python(folder: Path) -> Path:
    """The interpreter of LiteLLM's environment, made where it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"installing {PEER} …", file=sys.stderr)
        venv.create(folder, with_pip=True)
        words = [str(python), "-m", "pip", "install", "-q", PEER, "redis"]
        subprocess.run(words, check=True)
    return python


def peer(python: Path, port: int, count: int) -> float:
    words = [str(python), str(HERE / "peer.py"), str(port), str(count), str(SECONDS)]
    told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return float(told.split()[-1])


async def ours(url: str, count: int) -> float:
    """The daemon's own path: callers that wait for one call go into the next together."""
    client = Redis.from_url(url, protocol=2)
    engine, model = Engine(Store(client, url)), f"n{count}"
    projects = [LiveProject(n, 10**6, 10**9, -1, -1, 1, 0, [n], [1]) for n in range(1, count + 1)]
    await engine.load(model, projects)
    await engine.seal(model, revision=1, pools=[LivePool(1, 0, [0])], epoch="e")
    batcher = Batcher(partial(_acquire, engine, model))
    asked, begun = 0, time.monotonic()

    async def caller() -> None:
        nonlocal asked
        while time.monotonic() < begun + SECONDS:
            answer = await batcher.ask(Demand(secrets.token_urlsafe(16), 1, 100))
            assert isinstance(answer, Grant), answer
            asked += 1

    await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
    rate = asked / (time.monotonic() - begun)
    await client.aclose()
    return rate


async def _acquire(
    engine: Engine, model: str, demands: list[Demand]
) -> list[Grant | Refused | Waits]:
    answer = await engine.acquire(model, 1, demands, revision=1)
    assert isinstance(answer, Acquired)
    return answer.results


def main() -> int:
    """Measure, print, and check what is promised at 1,000 keys."""
    with tempfile.TemporaryDirectory() as folder:
        python = peer_python(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "peer")
        port = free_port()
        options = {"port": str(port), "bind": "127.0.0.1"}
        with private_valkey(Path(folder), options=options) as url:
            ratios: list[float] = []
            for count in SIZES:
                rounds = []
                for _ in range(ROUNDS):
                    redis.Redis.from_url(url).flushall()
                    rounds.append((uvloop.run(ours(url, count)), peer(python, port, count)))
                ratios = [mine / theirs for mine, theirs in rounds]
                mine, theirs = (median(each) for each in zip(*rounds, strict=True))
                print(
                    f"{count:6,} keys: keypool {mine:8,.0f}/s, LiteLLM {theirs:8,.0f}/s, "
                    f"{median(ratios):6.1f} times",
                    flush=True,
                )
    holds = median(ratios) >= 50
    print(f"{'ok  ' if holds else 'FAIL'} times LiteLLM's at 1,000 keys, at least 50")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
