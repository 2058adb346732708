"""Sentinels, asked all at once: one that is cut off costs no time, and one left behind no leases."""

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from redis.asyncio import Redis, Sentinel
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import TimeoutError as NoAnswerError

from keypool_cli.engine.store_errors import was_over

PATIENCE_S = 0.5
"""How long a majority is waited for where some have answered; no more than the first connection
has left for the primary itself."""


class Sentinels(Sentinel):
    """Finds the primary by the newest configuration among the sentinels that answer.

    Theirs is newer who have chosen another primary; one that is cut off from them does not know.
    heard_at: when most of them answered last, by ``monotonic``.
    """

    heard_at = 0.0

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Its address, once a majority has answered, or whoever did in time.

        Raises MasterNotFoundError when none answers or the newest do not see it at work.
        """
        states = [
            state
            for masters in await self._answers()
            if (state := masters.get(service_name)) is not None
        ]
        newest = max((state["config-epoch"] for state in states), default=0)
        for state in states:
            usable = self.check_master_state(state, service_name)
            if usable and state["config-epoch"] == newest:
                return state["ip"], state["port"]
        raise MasterNotFoundError(f"No master found for {service_name!r}")

    async def _answers(self) -> Sequence[Mapping[str, Any]]:
        pending = {asyncio.create_task(_masters(each)) for each in self.sentinels}
        found: list[Mapping[str, Any]] = []
        majority, until = len(pending) // 2 + 1, monotonic() + PATIENCE_S
        try:
            while pending and len(found) < majority:
                left_s = max(until - monotonic(), 0.0) if found else None
                done, pending = await asyncio.wait(
                    pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    break
                found += [masters for each in done if (masters := each.result()) is not None]
        finally:
            for each in pending:
                each.cancel()
        if len(found) >= majority:
            self.heard_at = monotonic()
        return found


async def _masters(sentinel: Redis) -> Mapping[str, Any] | None:
    """What a sentinel says of every service; None when it does not answer."""
    try:
        found: Any = await sentinel.sentinel_masters()  # by name, with RESP2
    except (LostError, NoAnswerError):
        return None
    except RuntimeError as err:
        if not was_over(err):
            raise
        return None
    return found  # type: ignore[no-any-return]  # as above
