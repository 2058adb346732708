"""How the registry changes below a long walk."""

from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from keypool_cli.core.model import UNLIMITED
from keypool_cli.engine.types import LiveProject
from tests.support.oracle import Oracle
from tests.support.walk_world import World

FEWEST = 50
"""Projects are not removed below this."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """The projects there are, and what may become of them."""

    world: World
    oracle: Oracle

    def change(self, now: int, awaited: Collection[int]) -> tuple[list[LiveProject], list[int]]:
        """Projects as they are from now on, and those that go. awaited: somebody waits for them."""
        pick, some = self.world.random, self._some(awaited)
        kept = some[: pick.randint(0, len(some))]
        gone = [each for each in some if each not in kept and self._may_go(each)]
        retired = sorted(self.oracle.retired)
        back = [self._again(each, now) for each in pick.sample(retired, min(2, len(retired)))]
        return [*(self._changed(each, now) for each in kept), *back], gone

    def _some(self, awaited: Collection[int]) -> list[int]:
        pick = self.world.random
        known = sorted(set(awaited) & self.oracle.projects.keys())
        if known and pick.random() < 0.6:
            return known[:10]
        return pick.sample(list(self.oracle.projects), pick.choice((1, 3, 10)))

    def _may_go(self, number: int) -> bool:
        # A lease from before its counts were emptied could not be told from one after, once back.
        return not self.oracle.projects[number].emptied and len(self.oracle.projects) > FEWEST

    def _changed(self, number: int, now: int) -> LiveProject:
        state, config = self.oracle.projects[number], self.world.project(number)
        # Leases older than an in-flight limit are not listed by project: see test_settle.
        unlisted = state.config.in_flight == UNLIMITED and state.in_flight(now)
        in_flight = UNLIMITED if unlisted else config.in_flight
        return msgspec.structs.replace(config, in_flight=in_flight)

    def _again(self, number: int, now: int) -> LiveProject:
        before = self.oracle.retired[number]
        days = {"day_requests": before.day_count(now), "utc_requests": before.utc_count(now)}
        return self.world.project(number, reset_at_ms=before.reset_at, **days)
