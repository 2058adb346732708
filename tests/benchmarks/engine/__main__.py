"""What the engine costs its server: run ``python -m tests.benchmarks.engine``.

Microseconds per call are the server's own (``INFO commandstats``, usec_per_call after ``CONFIG
RESETSTAT``), so the client and the socket are not in them. The floor is ``EVALSHA`` of
``return 1`` by the same client on the same server in the same rounds; every ratio is the median
of the ratios of single rounds, since a shared machine drifts by more than what is measured.
"""

import random
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from time import time_ns
from typing import Any

import msgspec
import redis

from keypool_cli.core.day import day_starts
from keypool_cli.engine.keyspace import tag
from keypool_cli.engine.notes import Times
from keypool_cli.engine.scripts import library
from keypool_cli.engine.types import (
    Acquired,
    Demand,
    Grant,
    LivePool,
    LiveProject,
    Refused,
    Settlement,
    Waits,
)
from keypool_cli.engine.wire import pack_demand, pack_settlement, read_acquired
from tests.support.valkey import private_valkey

SIZES = (10, 1_000, 100_000)
FULL = range(1, 1_001)
ROUNDS, CALLS, BATCH, PIPELINE = 9, 384, 32, 64

pack = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class Bench:
    """A server, the scripts on it, and what each row of the table took in each round."""

    client: redis.Redis
    sha: str = ""
    rows: dict[str, list[float]] = field(default_factory=dict)

    def call(self, verb: str, model: str, args: object, *records: bytes) -> Any:
        """One call as the engine makes it; its answer as the script gives it."""
        name = f"{library()[0]}_{verb}"
        return self.client.fcall(name, 1, tag(model), 0, pack(args), *records)

    def measure(self, row: str, command: str, work: Callable[[], None], per: int = 1) -> None:
        """Add a round: the server's microseconds per call of ``command`` while ``work`` runs."""
        self.client.config_resetstat()
        work()
        found = self.client.info("commandstats")[f"cmdstat_{command}"]["usec_per_call"]
        self.rows.setdefault(row, []).append(found / per)

    def ratio(self, row: str, other: str) -> float:
        return median(a / b for a, b in zip(self.rows[row], self.rows[other], strict=True))


def days() -> Sequence[int]:
    return day_starts(time_ns() // 1_000_000)


def demands(count: int) -> list[Demand]:
    return [Demand(secrets.token_urlsafe(16), 1, random.randint(200, 20_000)) for _ in range(count)]


def fill(bench: Bench, size: int) -> None:
    """A model of that many projects, each with something in its window."""
    model = f"n{size}"
    for start in range(1, size + 1, 250):
        chunk = [
            LiveProject(number, 1000, 40_000_000, -1, -1, 1, 0, [number], [1])
            for number in range(start, min(start + 250, size + 1))
        ]
        bench.call("load", model, (days(), Times().wire, chunk))
    bench.call("seal", model, (days(), 1, -1, Times().wire, [LivePool(1, 0, [0])], "e"))
    for _ in range(0, size, PIPELINE):
        acquire(bench, model, PIPELINE)


def acquire(bench: Bench, model: str, count: int) -> list[str]:
    """Lease ids of one call's grants."""
    return [each.lease_id for each in ask(bench, model, demands(count)) if isinstance(each, Grant)]


def ask(bench: Bench, model: str, asked: Sequence[Demand]) -> list[Grant | Refused | Waits]:
    answer = bench.call("acquire", model, (days(), 1, 1, 0), *map(pack_demand, asked))
    found = read_acquired(answer, asked)
    assert isinstance(found, Acquired), "the model is not loaded"
    return found.results


def acquire_times(bench: Bench, model: str, calls: int, count: int) -> list[list[str]]:
    return [acquire(bench, model, count) for _ in range(calls)]


def load_full(bench: Bench) -> None:
    chunk = [LiveProject(each, 1000, 40_000, -1, -1, 1, 0, [each], [1]) for each in FULL]
    for start in range(0, len(chunk), 250):
        bench.call("load", "full", (days(), Times().wire, chunk[start : start + 250]))
    bench.call("seal", "full", (days(), 1, -1, Times().wire, [LivePool(1, 0, [0])], "e"))


def take_all(bench: Bench) -> None:
    """Leave every project of "full" room for 2,000 tokens at most."""
    while True:
        demand = Demand(secrets.token_urlsafe(16), 1, 19_000)
        if isinstance(ask(bench, "full", [demand])[0], Refused):
            return


def refused_times(bench: Bench, calls: int, tokens: int) -> None:
    for _ in range(calls):
        demand = Demand(secrets.token_urlsafe(16), 1, tokens)
        found = ask(bench, "full", [demand])[0]
        assert isinstance(found, Refused), found


def settle(bench: Bench, model: str, batches: Sequence[Sequence[str]]) -> None:
    for lease_ids in batches:
        items = [Settlement(each, 0, 150, success=True, answer="{}") for each in lease_ids]
        bench.call("settle", model, (days(),), *map(pack_settlement, items))


def floor(bench: Bench, calls: int) -> None:
    for _ in range(calls):
        bench.client.evalsha(bench.sha, 0)


def floor_pipelined(bench: Bench, calls: int) -> None:
    for _ in range(0, calls, PIPELINE):
        with bench.client.pipeline(transaction=False) as pipe:
            for _ in range(PIPELINE):
                pipe.evalsha(bench.sha, 0)
            pipe.execute()


def one_round(bench: Bench) -> None:
    bench.measure("EVALSHA return 1", "evalsha", lambda: floor(bench, CALLS))
    bench.measure("EVALSHA return 1, pipelined", "evalsha", lambda: floor_pipelined(bench, CALLS))
    for size in SIZES:
        one_size(bench, size)
    take_all(bench)
    for tokens in (3_000, 30_000):
        bench.measure(
            f"refusal of {tokens:,} tokens, {len(FULL):,} projects",
            "fcall",
            partial(refused_times, bench, CALLS // 4, tokens),
        )


def one_size(bench: Bench, size: int) -> None:
    model = f"n{size}"
    open_ids: list[list[str]] = []
    batches: list[list[str]] = []
    bench.measure(
        f"acquire, {size:,} projects",
        "fcall",
        lambda: open_ids.extend(acquire_times(bench, model, CALLS, 1)),
    )
    bench.measure(f"settle, {size:,} projects", "fcall", lambda: settle(bench, model, open_ids))
    bench.measure(
        f"acquire x{BATCH}, {size:,} projects, per demand",
        "fcall",
        lambda: batches.extend(acquire_times(bench, model, CALLS // BATCH, BATCH)),
        per=BATCH,
    )
    settle(bench, model, batches)


def table(bench: Bench) -> Iterator[str]:
    yield f"{'server µs per call, median of ' + str(ROUNDS) + ' rounds':<52}{'µs':>8}{'x floor':>9}"
    for row, found in bench.rows.items():
        times_floor = bench.ratio(row, "EVALSHA return 1")
        yield f"{row:<52}{median(found):8.2f}{times_floor:9.2f}"


def checks(bench: Bench) -> Iterator[tuple[str, float, float]]:
    """Each a promise, what was measured, and the most it may be."""
    large, small = "acquire, 100,000 projects", "acquire, 10 projects"
    one, many = "acquire, 1,000 projects", f"acquire x{BATCH}, 1,000 projects, per demand"
    floors = ("EVALSHA return 1", "EVALSHA return 1, pipelined")
    yield "acquire at 100,000 projects to that at 10", bench.ratio(large, small), 1.4
    for each in floors:
        yield f"acquire at 1,000 projects to {each}", bench.ratio(one, each), 25.0
    yield f"a demand of {BATCH} in one call to a single one", bench.ratio(many, one), 0.55


def main() -> int:
    """Measure, print the table and what it promises; 1 if a promise is broken."""
    with (
        tempfile.TemporaryDirectory() as folder,
        private_valkey(Path(folder), options={"latency-tracking": "no"}) as url,
        redis.Redis.from_url(url, protocol=2) as client,
    ):
        bench = Bench(client)
        client.function_load(library()[1], replace=True)
        bench.sha = client.script_load("return 1")
        for size in SIZES:
            fill(bench, size)
        load_full(bench)
        for _ in range(ROUNDS):
            one_round(bench)
        print("\n".join(table(bench)))
        found = [(*each, each[1] <= each[2]) for each in checks(bench)]
    for name, ratio, most, holds in found:
        print(f"{'ok  ' if holds else 'FAIL'} {name}: {ratio:.2f} (at most {most})")
    return 0 if all(holds for *_, holds in found) else 1


if __name__ == "__main__":
    sys.exit(main())
