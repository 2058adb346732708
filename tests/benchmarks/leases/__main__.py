"""What a lease over HTTP costs: run ``python -m tests.benchmarks.leases`` (wrk must be there).

Real daemons on a scratch home with the embedded store as it ships (append-only file on), 1,000
keys of as many projects, authentication on. The floor is the daemon's own server with a constant
JSON answer, measured in the same rounds; a promise is the median of the ratios of single rounds.
CPU is read from the processes themselves, so it does not matter what else runs; rates do.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from keypool_cli.core.model import Secret
from keypool_cli.registry.values import NewKey, QuotaScope
from tests.benchmarks.leases.floors import PATH
from tests.support.daemon import BY, ROOT, Daemon, Home, a_home, secret_of
from tests.support.valkey import private_valkey

HERE = Path(__file__).parent
KEYS, CONNECTIONS, SECONDS, ROUNDS = 1_000, 64, 4, 3
TICK_S = 1 / os.sysconf("SC_CLK_TCK")

_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_COUNT = re.compile(r"(\d+) requests in")
_LATENCY = re.compile(r"\s(50|99)%\s+([\d.]+)(us|ms|s)")
_FAILED = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw. rate: answers a second; p50, p99: ms."""

    rate: float
    count: int
    p50: float
    p99: float


def wrk(urls: Sequence[str], token: str, *, rate: float = 0.0) -> Load:
    """Load on all URLs at once; rate: answers a second to aim at in all, 0 for as many as can be."""
    each = CONNECTIONS // len(urls)
    pause = each * len(urls) / rate * 1000 if rate else 0.0
    env = {**os.environ, "TOKEN": token, "PAUSE_MS": str(pause)}
    words = ["wrk", "-t1", f"-c{each}", f"-d{SECONDS}", "--latency", "-s", str(HERE / "lease.lua")]
    running = [
        subprocess.Popen([*words, url], env=env, stdout=subprocess.PIPE, text=True) for url in urls
    ]
    return _together([process.communicate()[0] for process in running])


def _together(told: Sequence[str]) -> Load:
    failed = [found for each in told if (found := _FAILED.search(each))]
    assert not failed, f"{failed[0][1]} calls were refused"
    rates = [float(_RATE.search(each)[1]) for each in told]  # type: ignore[index]  # wrk tells it
    counts = [int(_COUNT.search(each)[1]) for each in told]  # type: ignore[index]  # the same
    spans = [(at, float(n) * _MS[unit]) for each in told for at, n, unit in _LATENCY.findall(each)]
    worst = {at: max(ms for found, ms in spans if found == at) for at in ("50", "99")}
    return Load(sum(rates), sum(counts), worst["50"], worst["99"])


def cpu_s(pid: int) -> float:
    """Processor time of a process and its children that live, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) * TICK_S
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(cpu_s(int(each)) for each in children)


@contextmanager
def floor(*args: str) -> Iterator[str]:
    """The URL of one of the floors, in a process of its own."""
    words = [sys.executable, "-m", "tests.benchmarks.leases.floors", *args]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip() + PATH
    finally:
        process.kill()
        process.wait()


def fill(home: Home) -> None:
    """Keys of as many projects, whose limits a benchmark does not reach."""
    new = [NewKey(f"k{n}", Secret(secret_of(f"k{n}")), f"p{n}") for n in range(KEYS)]
    with home.registry() as registry:
        assert not [each for each in registry.keys.add_many(new, by=BY) if each.error]
        wide = {"rpm": 1_000_000, "tpm": 10**11, "rpd": 10**9}
        registry.quotas.set(QuotaScope(), wide, by=BY)


def leases(home: Home, daemons: Sequence[Daemon], *, rate: float = 0.0) -> tuple[Load, float]:
    """What wrk saw, and the µs of processor time a lease took in daemons and store."""
    store = home.valkey_pid()
    assert store is not None
    pids = [store, *(each.process.pid for each in daemons)]
    before = sum(map(cpu_s, pids))
    load = wrk([f"{each.url}{PATH}" for each in daemons], home.token, rate=rate)
    return load, (sum(map(cpu_s, pids)) - before) / load.count * 1e6


def show(name: str, load: Load, cpu_us: float | None = None) -> None:
    cpu = "" if cpu_us is None else f"{cpu_us:8.0f}"
    print(f"{name:<44}{load.rate:9.0f}{load.p50:8.1f}{load.p99:8.1f}{cpu}", flush=True)


def measure(home: Home, folder: Path) -> tuple[list[float], list[float], float]:
    """Ratios to the constant answer, processor ratios of two workers to one, p99 at half load."""
    ratios, cpus, one = [], [], Load(0, 0, 0, 0)
    with ExitStack() as stack:
        constant = stack.enter_context(floor())
        store = stack.enter_context(private_valkey(folder, aof=True))
        least = stack.enter_context(floor(store, home.token))
        single = [stack.enter_context(home.daemon())]
        more = [*single, *(stack.enter_context(home.daemon()) for _ in range(3))]
        double = [stack.enter_context(home.daemon(workers=2))]
        for each in (*more, *double):
            wrk([f"{each.url}{PATH}"], home.token, rate=500.0)
        print(f"{'':<44}{'calls/s':>9}{'p50 ms':>8}{'p99 ms':>8}{'cpu µs':>8}")
        for _ in range(ROUNDS):
            nothing = wrk([constant], home.token)
            show("constant answer", nothing)
            show("the least that grants leases", wrk([least], home.token))
            one, cpu_one = leases(home, single)
            show("leases, 1 daemon", one, cpu_one)
            two, cpu_two = leases(home, double)
            show("leases, 1 daemon of 2 workers", two, cpu_two)
            ratios.append(one.rate / nothing.rate)
            cpus.append(cpu_two / cpu_one)
        for count in (2, 4):
            show(f"leases, {count} daemons", *leases(home, more[:count]))
        half = leases(home, single, rate=one.rate / 2)
        show("leases, 1 daemon at half its load", *half)
    return ratios, cpus, half[0].p99


def main() -> int:
    """Measure, print the table and what it promises; 1 if a promise is broken."""
    if shutil.which("wrk") is None:
        print("this benchmark needs wrk: https://github.com/wg/wrk", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, a_home(Path(folder) / "home") as home:
        fill(home)
        ratios, cpus, p99 = measure(home, Path(folder))
    found = (
        ("leases to constant answers, at least", median(ratios), 0.5, median(ratios) >= 0.5),
        ("processor time, 2 workers to 1, at most", median(cpus), 1.15, median(cpus) <= 1.15),
        ("p99 at half the load in ms, at most", p99, 10.0, p99 <= 10),
    )
    for name, is_now, bound, holds in found:
        print(f"{'ok  ' if holds else 'FAIL'} {name} {bound}: {is_now:.2f}")
    return 0 if all(holds for *_, holds in found) else 1


if __name__ == "__main__":
    sys.exit(main())
