"""Requests that arrive faster than a pool can serve them, leased, called and settled for real.

Arrivals keep coming at their rate whatever becomes of them: nobody slows down because keypool
does. What upstream saw is the simulator's record; what callers saw is :class:`Seen`.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import httpx2

from keypool_cli.simulator.tokens import count_text
from tests.support.running import API, FLASH

ARABIC = "راجع الفريق تقرير المبيعات الأسبوعي وطلب أرقاما أدق قبل اجتماع الخميس المقبل. "
ENGLISH = "The team read the weekly report and asked for sharper figures before Thursday. "


@dataclass(slots=True)
class Seen:
    """What became of the requests.

    served: instant, project and input tokens of each. under: reserved fewer than they had.
    late: leases given back because their time to send was over. refused: upstream's refusals.
    slowest_s: the longest from a look at whether a lease may be used to the answer of its call.
    """

    served: list[tuple[float, str, int]] = field(default_factory=list)
    arrived: int = 0
    granted: int = 0
    given_up: int = 0
    under: int = 0
    late: int = 0
    slowest_s: float = 0.0
    refused: Counter[str] = field(default_factory=Counter)

    def used(self, since: float, until: float) -> dict[str, tuple[int, int]]:
        """Requests and tokens served between two instants, by project."""
        found: dict[str, tuple[int, int]] = {}
        for at, project, tokens in self.served:
            if since <= at < until:
                requests, total = found.get(project, (0, 0))
                found[project] = requests + 1, total + tokens
        return found


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request body, and its true input tokens as the simulator counts them."""

    body: dict[str, Any]
    tokens: int


def prompts(least: int, most: int, *, seed: int = 1) -> Iterator[Prompt]:
    """Arabic and English by turns, sizes evenly spread on a logarithmic scale."""
    chance = random.Random(seed)
    while True:
        for sentence in (ARABIC, ENGLISH):
            wanted = least * (most / least) ** chance.random()
            text = sentence * max(1, round(wanted / count_text(sentence)))
            yield Prompt({"contents": [{"parts": [{"text": text}]}]}, count_text(text) + 1)


@dataclass(frozen=True, slots=True)
class Traffic:
    """How requests arrive. exact: leases state their tokens; else keypool estimates them.

    to_send_s: a lease that may not be used for so long any more is given back.
    """

    daemons: Sequence[str]
    token: str
    upstream: str
    rate: float
    seconds: float
    wait_s: float
    sizes: tuple[int, int]
    exact: bool = True
    to_send_s: float = 0.0


async def run(traffic: Traffic) -> Seen:
    """Let the requests arrive, and wait for the last."""
    seen, source = Seen(), prompts(*traffic.sizes)
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=200)
    headers = {"Authorization": f"Bearer {traffic.token}"}
    timeout = traffic.wait_s + 30
    async with (
        httpx2.AsyncClient(
            headers=headers, limits=limits, timeout=timeout, trust_env=False
        ) as keypool,
        httpx2.AsyncClient(limits=limits, timeout=timeout, trust_env=False) as gemini,
        asyncio.TaskGroup() as calls,
    ):
        caller, begun = _Caller(traffic, keypool, gemini, seen), monotonic()
        while (due := begun + seen.arrived / traffic.rate) < begun + traffic.seconds:
            await asyncio.sleep(due - monotonic())
            url = traffic.daemons[seen.arrived % len(traffic.daemons)]
            seen.arrived += 1
            calls.create_task(caller.ask(url, next(source)))
    return seen


@dataclass(frozen=True, slots=True)
class _Caller:
    traffic: Traffic
    keypool: httpx2.AsyncClient
    gemini: httpx2.AsyncClient
    seen: Seen

    async def ask(self, url: str, prompt: Prompt) -> None:
        leases = f"{url}{API}/leases"
        size = {"tokens": prompt.tokens} if self.traffic.exact else {"request": prompt.body}
        asked = {"model": FLASH, "wait_s": self.traffic.wait_s, **size}
        answer = await self.keypool.post(leases, json=asked)
        if answer.status_code == 429:
            self.seen.given_up += 1
            return
        assert answer.status_code == 201, answer.text
        lease = answer.json()
        self.seen.granted += 1
        left = datetime.fromisoformat(lease["use_by"]) - datetime.now(UTC)
        if left.total_seconds() < self.traffic.to_send_s:
            self.seen.late += 1
            await self.keypool.delete(f"{leases}/{lease['lease_id']}")
            return
        self.seen.under += lease["tokens_reserved"] < prompt.tokens
        await self._call(f"{leases}/{lease['lease_id']}/settle", lease, prompt)

    async def _call(self, settle: str, lease: dict[str, Any], prompt: Prompt) -> None:
        begun = monotonic()
        said = await self.gemini.post(
            f"{self.traffic.upstream}/v1beta/models/{FLASH}:generateContent",
            headers={"x-goog-api-key": lease["key"]["secret"]},
            json=prompt.body,
        )
        self.seen.slowest_s = max(self.seen.slowest_s, monotonic() - begun)
        found = said.json()
        if said.status_code == 200:
            report = {"status": 200, "usage": found["usageMetadata"]}
            self.seen.served.append((monotonic(), lease["key"]["project"], prompt.tokens))
        else:
            report = {"status": said.status_code, "error": found}
            self.seen.refused[found["error"]["status"]] += 1
        answer = await self.keypool.post(settle, json=report)
        assert answer.status_code == 200, answer.text
