"""What the proxy adds to a call's time at a steady 100 calls a second.

PYTHONPATH=. python tests/benchmarks/proxy/added.py [SECONDS]

Calls start at fixed instants over kept connections, first through the daemon, then straight to
the same upstream, in turn, twice. Prints both and the difference at p50 and p99.
"""

import asyncio
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles

from tests.benchmarks.proxy.measure import PATH, nginx
from tests.support.daemon import a_home

PER_SECOND = 100
BODY = b'{"contents":[{"role":"user","parts":[{"text":"Tell me a short story about a fox."}]}]}'


class Lines:
    """Connections that are used again."""

    def __init__(self, url: str, key: str) -> None:
        self._host, self._port = url.removeprefix("http://").split(":")
        head = f"POST {PATH} HTTP/1.1\r\nhost: {self._host}\r\nx-goog-api-key: {key}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
        self._request = head.encode() + BODY
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def call(self) -> float:
        """One call; how long it took, in ms."""
        line = self._free.pop() if self._free else None
        begun = time.perf_counter()
        reader, writer = line or await asyncio.open_connection(self._host, int(self._port))
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        spent = (time.perf_counter() - begun) * 1000
        self._free.append((reader, writer))
        return spent

    def close(self) -> None:
        """Hang up."""
        for _, writer in self._free:
            writer.close()


async def paced(url: str, key: str, seconds: int) -> tuple[float, float]:
    """p50 and p99 in ms."""
    lines, tasks = Lines(url, key), []
    for _ in range(5):
        await lines.call()
    begun = time.perf_counter()
    for number in range(seconds * PER_SECOND):
        await asyncio.sleep(max(begun + number / PER_SECOND - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(lines.call()))
    cuts = quantiles(await asyncio.gather(*tasks), n=100)
    lines.close()
    return cuts[49], cuts[98]


def main() -> None:
    """Measure both twice, in turn."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        upstream = running.enter_context(nginx(folder))
        home = running.enter_context(a_home(folder / "home", upstream=upstream))
        home.add_project("p", rpm=10**9, tpm=10**12)
        daemon = running.enter_context(home.daemon())
        for _ in range(2):
            proxied = asyncio.run(paced(daemon.url, home.token, seconds))
            straight = asyncio.run(paced(upstream, "none", seconds))
            for name, (p50, p99) in (("proxied", proxied), ("straight", straight)):
                print(f"{name:10} p50 {p50:6.2f} ms   p99 {p99:6.2f} ms")
            print(
                f"added      p50 {proxied[0] - straight[0]:6.2f} ms   p99 {proxied[1] - straight[1]:6.2f} ms"
            )


if __name__ == "__main__":
    main()
