"""A thousand streams open at once through one daemon: how many end well, and what it holds.

PYTHONPATH=. python tests/benchmarks/proxy/streams.py [STREAMS]

Prints how many streams ended whole, the daemon's resident memory while they were open, and how
long the first byte of one stream takes through the proxy and straight from the upstream.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.support.daemon import FLASH, Home, a_home, secret_of
from tests.support.simulator import Simulator, simulator

PATH = f"/v1beta/models/{FLASH}:streamGenerateContent?alt=sse"
BODY = b'{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}'
PROBES = 50


async def stream(url: str, key: str) -> tuple[bool, float]:
    """Whether one stream ended whole, and when its first byte came, in seconds."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {PATH} HTTP/1.1\r\nhost: {host}\r\nx-goog-api-key: {key}\r\nconnection: close\r\n"
    begun = time.perf_counter()
    writer.write(f"{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY)
    data = await reader.read(1)
    first = time.perf_counter() - begun
    data += await reader.read(-1)
    writer.close()
    return b'"usageMetadata"' in data and data.endswith(b"0\r\n\r\n"), first


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


async def first_bytes(url: str, key: str) -> float:
    """The median time to the first byte, in ms."""
    return statistics.median([(await stream(url, key))[1] for _ in range(PROBES)]) * 1000


async def many(url: str, key: str, pid: int, count: int) -> None:
    """Open them all, look at the memory, and count those that ended whole."""
    tasks = [asyncio.create_task(stream(url, key)) for _ in range(count)]
    most = 0.0
    while not all(task.done() for task in tasks):
        most = max(most, resident_mb(pid))
        await asyncio.sleep(0.1)
    ended = [task.exception() is None and task.result()[0] for task in tasks]
    print(f"{sum(ended)} of {count} streams ended whole; the daemon held {most:.0f} MB")


def main() -> None:
    """Measure first bytes, then many streams."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    key = secret_of("p-key")
    world = {"projects": {"p": {"keys": [key], "models": {"*": {}}}}, "models": [FLASH]}
    with (
        tempfile.TemporaryDirectory() as folder,
        simulator(world) as sim,
        a_home(Path(folder) / "home", upstream=sim.url) as home,
    ):
        home.add_project("p", rpm=10**9)
        measure(home, sim, key, count)


def measure(home: Home, sim: Simulator, key: str, count: int) -> None:
    """Run both against one daemon."""
    with home.daemon() as daemon:
        straight = asyncio.run(first_bytes(sim.url, key))
        proxied = asyncio.run(first_bytes(daemon.url, home.token))
        print(f"first byte at p50: {proxied:.1f} ms proxied, {straight:.1f} ms straight")
        sim.fault("slow", chunk_s=5.0, for_s=600)
        asyncio.run(many(daemon.url, home.token, daemon.process.pid, count))


if __name__ == "__main__":
    main()
