"""The world of a long walk: hundreds of projects in a few pools, and what is asked of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from keypool_cli.core.model import UNLIMITED
from keypool_cli.engine.types import Demand, LiveMark, LivePool, LiveProject, MarkAction
from tests.support.engine_machine import STARTS
from tests.support.live_engine import a_demand, a_project

_RPM = {"few requests": (1, 2, 3, 6)}
_RPD = {"few days": (2, 4, 9, 120, UNLIMITED)}
_FLIGHT = {"in flight": (1, 2, 3, UNLIMITED)}
KINDS = ("mixed", *_RPM, *_RPD, *_FLIGHT)
SCARCE = (MarkAction.EXCLUDE, MarkAction.DISABLE, MarkAction.DROP_KEY)
CLIENTS = {1: (40, 8000), 2: (200, UNLIMITED), 3: (UNLIMITED, UNLIMITED)}
"""Their requests and tokens a minute."""


@dataclass(slots=True)
class World:
    """What one seed makes of it. size: projects at the start; waits: whether demands may wait."""

    random: Random
    size: int
    pool_count: int
    kind: str = ""
    waits: bool = False
    start: int = 0
    priorities: Sequence[int] = (0,)
    policies: dict[int, int] = field(default_factory=dict)
    _crowds: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        pick = self.random.choice
        self.kind, self.waits, self.start = pick(KINDS), pick((True, False)), pick(STARTS)
        self.priorities = pick(((0,), (3, 0), (3, 0, -1)))
        self.policies = {pool: pick((0, 0, 1)) for pool in self.pool_ids}
        self._crowds = [pick((1, 1, 2, 6)) for _ in self.pool_ids]

    @property
    def pool_ids(self) -> list[int]:
        return [*range(1, self.pool_count + 1)]

    @property
    def pools(self) -> list[LivePool]:
        """As they are sealed."""
        return [LivePool(each, self.policies[each], [*self.priorities]) for each in self.pool_ids]

    def project(self, number: int, **told: Any) -> LiveProject:
        """One project, as the registry might have it."""
        pick, kind = self.random.choice, self.kind
        found = self.random.choices(self.pool_ids, self._crowds, k=pick((1, 1, 2, 3)))
        values = {
            "rpm": pick(_RPM.get(kind, (1, 3, 6, 20, 600))),
            "tpm": pick((300, 600, 1000, 1000, 1000)),
            "rpd": pick(_RPD.get(kind, (9, 30, UNLIMITED, UNLIMITED))),
            "in_flight": pick(_FLIGHT.get(kind, (2, UNLIMITED, UNLIMITED, UNLIMITED))),
            "flags": pick((1,) * 12 + (5, 5, 0, 3)),
            "priority": pick(self.priorities),
            "keys": pick(([number], [number, 100_000 + number])),
            "pools": sorted(set(found)),
        }
        return a_project(number, **(values | told))

    def demand(self, ids: Sequence[int], now: int, daemons: Sequence[str]) -> Demand:
        """One demand. ids: the projects there are; daemons: those that may wait for it."""
        pick, options = self.random.choice, dict[str, Any]()
        client = pick((0,) * 12 + (1, 2, 2, 3))
        if client:
            rpm, tpm = CLIENTS[client]
            options |= {"client": client, "client_rpm": rpm, "client_tpm": tpm}
        if self.waits and pick((True, False)):
            wait_ms = pick((300, 3000, 30_000, 100_000))
            options |= {"deadline_ms": now + wait_ms, "daemon": pick(daemons)}
        sizes = (1, 50, 90, 200, 280, 290, 500, 800, 900, 1000, self.random.randint(1, 1001))
        return a_demand(
            pick(sizes),
            requests=pick((1,) * 10 + (2, 2, 3, 5, 7, 100)),
            ttl_ms=pick((1000, 30_000, 600_000)),
            prefer=pick(("",) * 6 + (str(pick(ids)),)),
            avoid=self._avoid(ids),
            **options,
        )

    def _avoid(self, ids: Sequence[int]) -> str:
        chance = self.random.random()
        if chance < 0.05:
            return f"=,{self.random.choice(ids)},"
        if chance < 0.1:
            some = self.random.sample(ids, self.random.choice((1, 3, 40)))
            return "".join(f",{each}" for each in some) + ","
        return ""

    def mark(self, now: int) -> LiveMark:
        """What a refusal might do."""
        pick = self.random.choice
        if self.random.random() < 0.15:
            return LiveMark(pick(SCARCE))
        action = pick((MarkAction.COOL, MarkAction.WIDE))
        if pick((True, False)):
            return LiveMark(action, now + pick((500, 9000, 90_000, 9 * 3_600_000)))
        return LiveMark(action, base_ms=1000, cap_ms=5000, jitter=pick((0.0, 0.25, 0.875)))
