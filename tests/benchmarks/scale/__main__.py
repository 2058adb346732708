"""Pools as large as they are promised to be: run ``python -m tests.benchmarks.scale [KEYS]…``.

For each number of keys (1,000 and 100,000 unless told), on a scratch home with the embedded store:
``keypool import`` of a file with as many projects, one lease of every project over HTTP from one
daemon, what that daemon then holds in memory, and ``keypool status`` before and after.
"""

import asyncio
import json
import os
import pty
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from keypool_cli.registry.values import QuotaScope
from tests.support.daemon import BY, Daemon, Home, a_home, secret_of

KEYS = (1_000, 100_000)
CONNECTIONS = 64
IMPORT_S, STATUS_S = 60, 3
MOST_MB = {1_000: 120, 100_000: 400}


@dataclass(frozen=True, slots=True)
class Found:
    """What one size came to. bar: whether the import drew one; selected: projects leased."""

    import_s: float
    bar: bool
    load_s: float
    selected: int
    lease_s: float
    rss_mb: float
    idle_s: float
    used_s: float


def write_keys(path: Path, count: int) -> None:
    lines = [f"k{n},p{n},{secret_of(f'k{n}')}" for n in range(count)]
    path.write_text("\n".join(["name,project,secret", *lines, ""]))


def timed(home: Home, *words: str) -> tuple[float, str]:
    """Run keypool with stderr on a terminal; seconds, and what it wrote there."""
    ours, theirs = pty.openpty()
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "keypool_cli", *words],
        env=home.env, cwd=home.path, stdout=subprocess.DEVNULL, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    told = b""
    try:
        while piece := os.read(ours, 65536):
            told += piece
    except OSError:  # the terminal's other end is closed
        pass
    finally:
        os.close(ours)
    assert process.wait() == 0, told.decode()
    return time.monotonic() - began, told.decode()


def rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(each for each in lines if each.startswith("VmRSS:")).split()[1]) / 1024


async def lease_all(daemon: Daemon, count: int) -> set[str]:
    """The names of the projects that as many leases were granted on."""
    left, found = iter(range(count)), set[str]()
    body = json.dumps({"model": "gemini-2.5-flash", "tokens": 10, "wait_s": 5}).encode()
    at = urlsplit(daemon.url)
    head = (
        f"POST /keypool/v1/leases HTTP/1.1\r\nHost: {at.netloc}\r\n"
        f"Authorization: {daemon.http.headers['authorization']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()

    async def caller() -> None:
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        for _ in left:
            writer.write(head + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            size = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            content = await reader.readexactly(size)
            assert answer.startswith(b"HTTP/1.1 201"), content
            found.add(json.loads(content)["key"]["project"])
        writer.close()

    await asyncio.gather(*(caller() for _ in range(CONNECTIONS)))
    return found


def measure(home: Home, count: int) -> Found:
    write_keys(home.path / "keys.csv", count)
    import_s, told = timed(home, "import", "keys.csv", "--yes")
    with home.registry() as registry:
        registry.quotas.set(QuotaScope(), {"rpm": 5, "tpm": 1000, "rpd": 1}, by=BY)
    with home.daemon() as daemon:
        began = time.monotonic()
        daemon.granted(model="warming-up")
        load_s = time.monotonic() - began
        idle_s = min(timed(home, "status")[0] for _ in range(3))
        began = time.monotonic()
        selected = asyncio.run(lease_all(daemon, count))
        lease_s = time.monotonic() - began
        rss = rss_mb(daemon.process.pid)
        used_s = min(timed(home, "status")[0] for _ in range(3))
    return Found(
        import_s, "%" in told or "━" in told, load_s, len(selected), lease_s, rss, idle_s, used_s
    )


def show(count: int, found: Found) -> bool:
    most = MOST_MB.get(count, MOST_MB[100_000])
    checks = [
        ("import, s, at most", found.import_s, IMPORT_S, found.import_s <= IMPORT_S),
        ("import drew a progress bar", found.bar, 1, found.bar),
        ("projects leased, at least", found.selected, count, found.selected == count),
        ("the daemon's memory after it, MB, at most", found.rss_mb, most, found.rss_mb <= most),
        ("status as imported, s, at most", found.idle_s, STATUS_S, found.idle_s <= STATUS_S),
        ("status with all in use, s, at most", found.used_s, STATUS_S, found.used_s <= STATUS_S),
    ]
    print(
        f"{count:,} keys: first lease of a model after {found.load_s:.1f} s, "
        f"{count / found.lease_s:,.0f} leases/s"
    )
    for name, value, bound, holds in checks:
        print(f"  {'ok  ' if holds else 'FAIL'} {name} {bound:g}: {value:.1f}", flush=True)
    return all(each[3] for each in checks)


def main(sizes: Sequence[int]) -> int:
    """Each size on a home of its own; 1 if a promise is broken."""
    holds = True
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder, a_home(Path(folder) / "home") as home:
            holds = show(count, measure(home, count)) and holds
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main([int(each) for each in sys.argv[1:]] or KEYS))
