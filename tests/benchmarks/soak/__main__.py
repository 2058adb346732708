"""Twice what a pool can serve, for minutes: run ``python -m tests.benchmarks.soak``.

Two daemons, one store, the simulator with real quotas of a real minute, and requests of 200 to
20,000 tokens in Arabic and English at twice the capacity. First leases state their exact tokens:
upstream must refuse nothing. Then keypool estimates them: upstream may refuse no more requests
than were under-reserved. How full the quota is, is read over the last whole windows.
"""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.support.daemon import Home, a_home, secret_of
from tests.support.running import FLASH
from tests.support.simulator import Simulator, simulator
from tests.support.traffic import Seen, Traffic, run

SECONDS, WAIT_S = 180.0, 25.0
SIZES = (200, 20_000)
MEAN_TOKENS = 4_300
WINDOW_S = 60.5
PROJECTS = {f"soak-{n}": (rpm, tpm) for n, (rpm, tpm) in enumerate(
    [(30, 250_000), (60, 250_000), (90, 250_000), (200, 250_000)]
)}  # fmt: skip


def capacity() -> float:
    """Requests a second the pool can serve of the mean size, by whichever limit binds."""
    return sum(min(rpm, tpm / MEAN_TOKENS) for rpm, tpm in PROJECTS.values()) / 60


def used(seen: Seen, until: float) -> float:
    """The part of the quota used over two windows; of RPM or TPM, whichever binds a project."""
    found = seen.used(until - 2 * WINDOW_S, until)
    parts = []
    for project, (rpm, tpm) in PROJECTS.items():
        requests, tokens = found.get(project, (0, 0))
        minutes = 2 * WINDOW_S / 60
        parts.append(max(requests / (rpm * minutes), tokens / (tpm * minutes)))
    return sum(parts) / len(parts)


@dataclass(frozen=True, slots=True)
class Result:
    """What one run came to."""

    seen: Seen
    used: float
    highest: dict[str, tuple[int, int]]

    def checks(self, *, exact: bool) -> list[tuple[str, float, float, bool]]:
        seen = self.seen
        refused = seen.refused.total()
        allowed = 0 if exact else seen.under
        over = sum(
            self.highest[p][0] > r or self.highest[p][1] > t for p, (r, t) in PROJECTS.items()
        )
        late = 100 * seen.late / seen.granted
        return [
            ("refused by upstream, at most", refused, allowed, refused <= allowed),
            ("projects above a limit in any window, at most", over, 0, over == 0),
            ("% of RPM or TPM used, at least", 100 * self.used, 97, self.used >= 0.97),
            ("% of leases that came too late to be sent, at most", late, 1, late <= 1),
        ]  # fmt: skip


def one_run(home: Home, upstream: Simulator, *, exact: bool) -> Result:
    upstream.reset()
    with home.daemon() as one, home.daemon() as two:
        traffic = Traffic(
            daemons=[one.url, two.url],
            token=home.token,
            upstream=upstream.url,
            rate=2 * capacity(),
            seconds=SECONDS,
            wait_s=WAIT_S,
            sizes=SIZES,
            exact=exact,
        )
        begun = monotonic()
        seen = asyncio.run(run(traffic))
    record = upstream.record()["projects"]
    highest = {
        name: (models[FLASH]["highest_requests"], models[FLASH]["highest_tokens"])
        for name in PROJECTS
        if (models := record[name]["models"])
    }
    return Result(seen, used(seen, begun + SECONDS), highest)


def show(result: Result, checks: Sequence[tuple[str, float, float, bool]]) -> None:
    seen = result.seen
    print(
        f"  {seen.arrived} arrived, {seen.granted} granted, {seen.given_up} gave up waiting, "
        f"{len(seen.served)} served, {seen.under} under-reserved, refused {dict(seen.refused)}"
    )
    for name, found, bound, holds in checks:
        print(f"  {'ok  ' if holds else 'FAIL'} {name} {bound:g}: {found:.2f}", flush=True)


def main() -> int:
    """Both runs, one after the other; 1 if a promise is broken."""
    world = {
        name: {"keys": [secret_of(f"{name}-key")], "models": {"*": {"rpm": rpm, "tpm": tpm}}}
        for name, (rpm, tpm) in PROJECTS.items()
    }
    holds = True
    with ExitStack() as stack:
        upstream = stack.enter_context(simulator({"projects": world}))
        for exact in (True, False):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            home = stack.enter_context(a_home(folder / "home", upstream=upstream.url))
            for name, (rpm, tpm) in PROJECTS.items():
                home.add_project(name, rpm=rpm, tpm=tpm)
            print("exact tokens" if exact else "estimated tokens", flush=True)
            result = one_run(home, upstream, exact=exact)
            checks = result.checks(exact=exact)
            show(result, checks)
            holds = holds and all(each[3] for each in checks)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
