"""The demo's callers: each leases a key, calls Gemini with Google's client, and settles."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2
from google import genai
from google.genai import errors, types

from keypool_cli.demo import script
from keypool_cli.demo.stage import Stage

_LEASES = "/keypool/v1/leases"


@dataclass(slots=True)
class Tally:
    """What the callers saw. served, tokens: by project. lost: prompts that were never answered.

    refused: what upstream refused and was moved elsewhere, by rule.
    """

    served: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)


class Callers:
    """Sends prompts until told to stop."""

    def __init__(self, stage: Stage) -> None:
        self.tally = Tally()
        self._stage = stage
        self._stopping = asyncio.Event()
        self._prompts: Iterator[str] = itertools.cycle(script.PROMPTS)
        # Made before any lease: a lease wants to be used within the guard.
        self._gemini = {
            secret: genai.Client(
                api_key=secret, http_options=types.HttpOptions(base_url=stage.simulator.url)
            )
            for part in script.PARTS
            for secret in map(script.secret_of, part.keys)
        }

    def stop(self) -> None:
        """Send no more; prompts under way are finished."""
        self._stopping.set()

    async def run(self) -> None:
        """Send from every caller until :meth:`stop`."""
        headers = {"authorization": f"Bearer {self._stage.token}"}
        timeout = httpx2.Timeout(script.WAIT_S + 5)
        async with httpx2.AsyncClient(
            base_url=self._stage.daemon.url, headers=headers, timeout=timeout
        ) as keypool:
            await asyncio.gather(*(self._caller(keypool) for _ in range(script.CALLERS)))
        for each in self._gemini.values():
            await each.aio.aclose()

    async def _caller(self, keypool: httpx2.AsyncClient) -> None:
        while not self._stopping.is_set():
            await self._ask(keypool, next(self._prompts))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), script.PAUSE_S)

    async def _ask(self, keypool: httpx2.AsyncClient, prompt: str) -> None:
        for _ in range(script.ATTEMPTS):
            request = {"contents": [{"parts": [{"text": prompt}]}]}
            asked = {"model": script.MODEL, "request": request, "wait_s": script.WAIT_S}
            answer = await keypool.post(_LEASES, json=asked)
            if answer.status_code != 201:
                break
            lease = answer.json()
            if _too_late(lease):
                await keypool.delete(f"{_LEASES}/{lease['lease_id']}")
            elif await self._call(keypool, lease, prompt):
                return
        self.tally.lost.append(prompt)

    async def _call(self, keypool: httpx2.AsyncClient, lease: dict[str, Any], prompt: str) -> bool:
        """Whether upstream answered; whatever it said is settled."""
        gemini = self._gemini[lease["key"]["secret"]]
        try:
            said = await gemini.aio.models.generate_content(model=script.MODEL, contents=prompt)
        except errors.APIError as err:
            verdict = await self._settle(keypool, lease, {"status": err.code, "error": err.details})
            self.tally.refused[verdict["rule"]] += 1
            return False
        usage = said.usage_metadata
        used = usage.model_dump(mode="json", by_alias=True, exclude_none=True) if usage else {}
        await self._settle(keypool, lease, {"status": 200, "usage": used})
        self.tally.served[lease["key"]["project"]] += 1
        self.tally.tokens[lease["key"]["project"]] += used.get("promptTokenCount", 0)
        return True

    async def _settle(
        self, keypool: httpx2.AsyncClient, lease: dict[str, Any], report: dict[str, Any]
    ) -> dict[str, Any]:
        answer = await keypool.post(f"{_LEASES}/{lease['lease_id']}/settle", json=report)
        answer.raise_for_status()
        verdict: dict[str, Any] = answer.json()["verdict"] or {}
        return verdict


def _too_late(lease: dict[str, Any]) -> bool:
    return datetime.now(UTC) > datetime.fromisoformat(lease["use_by"])
