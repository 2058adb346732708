"""Which keys count a probe's samples: project after project in turn, honouring refusals."""

import asyncio
from collections.abc import Sequence
from itertools import count
from time import monotonic
from typing import Final

from keypool_cli.core.model import MarkKind, Pool
from keypool_cli.core.refusal import Scope, Verdict
from keypool_cli.errors import NoCapacityError
from keypool_cli.service.configured import Configured
from keypool_cli.service.tickets import Door, doors_of
from keypool_cli.service.watch import Watch

PATIENCE_S: Final = 65.0
"""The longest rest of all projects that is waited for; a minute's limit is over by then."""


class Doors:
    """The keys that may count for a model: project after project in turn.

    A project that refuses is left out, or rests for as long as its refusal says.
    """

    def __init__(self, watch: Watch, pool: Pool, model: str) -> None:
        self._watch = watch
        self._pool = pool
        self._model = model
        self._turn = count()
        self._shut: dict[tuple[str, int], str] = {}
        self._rests_until: dict[int, float] = {}
        self._seen: Configured | None = None
        self._doors: Sequence[Door] = ()

    async def next(self) -> Door:
        """A key to count with, once one may be used. Raises NoCapacityError."""
        while True:
            doors = [door for door in self._known() if not self._is_shut(door)]
            if not doors:
                raise self._none()
            now = monotonic()
            awake = [door for door in doors if self._rests_until.get(door.project.id, 0.0) <= now]
            if awake:
                return awake[next(self._turn) % len(awake)]
            await self._rest(min(self._rests_until[door.project.id] for door in doors) - now)

    def shut(self, door: Door, verdict: Verdict) -> bool:
        """Use this key, or all of its project, no more; whether that is news."""
        of_key = verdict.scope is Scope.KEY
        shut = ("key", door.key.id) if of_key else ("project", door.project.id)
        is_news = shut not in self._shut
        self._shut[shut] = verdict.reason
        return is_news

    def rest(self, door: Door, seconds: float) -> None:
        """Leave this project alone for a while."""
        self._rests_until[door.project.id] = monotonic() + max(seconds, 0.0)

    def _is_shut(self, door: Door) -> bool:
        return ("project", door.project.id) in self._shut or ("key", door.key.id) in self._shut

    async def _rest(self, seconds: float) -> None:
        if seconds > PATIENCE_S:
            raise NoCapacityError(
                f"every project that may count tokens for {self._model} has to wait",
                hint=f"run it again in {seconds:.0f} s: what was counted is kept",
            )
        await asyncio.sleep(seconds)

    def _known(self) -> Sequence[Door]:
        configured = self._watch.configured
        if configured is not self._seen:
            self._seen = configured
            doors = doors_of(configured, self._pool)
            offered = [door for door in doors if not self._excluded(configured, door)]
            self._doors = offered or doors
        return self._doors

    def _excluded(self, configured: Configured, door: Door) -> bool:
        marks = configured.marks_of.get(door.project.id, ())
        bucket = configured.bucket(self._model)
        return any(each.kind is MarkKind.EXCLUDE and each.model in {None, bucket} for each in marks)

    def _none(self) -> NoCapacityError:
        why = "; ".join(dict.fromkeys(self._shut.values())) or "none is stored and enabled"
        return NoCapacityError(
            f"no key of {self._pool.name} can count tokens for {self._model}: {why}",
            hint="add one: keypool add NAME --project PROJECT; or see why: keypool status; "
            "without a key: keypool probe --offline --tokenizer FILE",
        )
