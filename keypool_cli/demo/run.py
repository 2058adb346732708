"""The demo's course of events, and whether keypool kept its promises."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import httpx2

from keypool_cli.demo import script
from keypool_cli.demo.stage import Stage, stage
from keypool_cli.demo.traffic import Callers, Tally

LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Moment:
    """What a viewer sees at one instant. note: what has just been done, if anything."""

    elapsed_s: float
    status: dict[str, Any]
    tally: Tally
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Promise:
    """One thing keypool promises, and whether it held."""

    text: str
    kept: bool


@dataclass(frozen=True, slots=True)
class Ending:
    """How the demo went. record: what the simulator saw. took_s: from first process to last."""

    tally: Tally
    status: dict[str, Any]
    record: dict[str, Any]
    promises: tuple[Promise, ...]
    took_s: float

    def as_json(self) -> dict[str, Any]:
        """The demo's result for programs."""
        return {
            "served": dict(self.tally.served),
            "tokens": dict(self.tally.tokens),
            "refused_upstream": dict(self.tally.refused),
            "refused_to_callers": len(self.tally.lost),
            "promises": [{"promise": each.text, "kept": each.kept} for each in self.promises],
            "took_s": round(self.took_s, 1),
        }


async def run(home: Path, show: Callable[[Moment], None]) -> Ending:
    """Play the demo in an empty folder of its own."""
    began = monotonic()
    async with stage(home) as set_up, httpx2.AsyncClient() as http:
        return await _play(set_up, http, began, show)


async def _play(
    set_up: Stage, http: httpx2.AsyncClient, began: float, show: Callable[[Moment], None]
) -> Ending:
    callers = Callers(set_up)
    sending = asyncio.create_task(callers.run())
    started = monotonic()
    revoked = False
    while (elapsed := monotonic() - started) < script.TRAFFIC_S and not sending.done():
        note = None
        if not revoked and elapsed >= script.REVOKE_AT_S:
            revoked, note = True, f"upstream revokes the key {script.REVOKED}"
            await _revoke(set_up, http)
        show(Moment(elapsed, await _status(set_up, http), callers.tally, note))
        await asyncio.sleep(LOOK_EVERY_S)
    callers.stop()
    await sending
    note = "kill -9 of the daemon, and a new one in its place"
    show(Moment(monotonic() - started, await _status(set_up, http), callers.tally, note))
    await set_up.restart_daemon()
    status = await _status(set_up, http)
    record = (await http.get(f"{set_up.simulator.url}/simulator/v1/record")).json()
    promises = tuple(_promises(callers.tally, status, record))
    return Ending(callers.tally, status, record, promises, monotonic() - began)


async def _revoke(set_up: Stage, http: httpx2.AsyncClient) -> None:
    key = {"key": script.secret_of(script.REVOKED)}
    answer = await http.post(f"{set_up.simulator.url}/simulator/v1/keys/revoke", json=key)
    answer.raise_for_status()


async def _status(set_up: Stage, http: httpx2.AsyncClient) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {set_up.token}"}
    answer = await http.get(f"{set_up.daemon.url}/keypool/v1/status", headers=headers)
    answer.raise_for_status()
    status: dict[str, Any] = answer.json()
    return status


def projects_of(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The projects of a status answer, by name."""
    return {each["project"]: each for pool in status["pools"] for each in pool["projects"]}


def _promises(tally: Tally, status: dict[str, Any], record: dict[str, Any]) -> list[Promise]:
    projects = projects_of(status)
    refused = {name: _tally_of(record, name)["refused"] for name in projects}
    within = all(
        _tally_of(record, part.project)["highest_requests"] <= part.rpm
        and _tally_of(record, part.project)["highest_tokens"] <= part.tpm
        for part in script.PARTS
    )
    minute = sum(each.get("rpm", 0) + each.get("tpm", 0) for each in refused.values())
    dry = projects[script.DRY]
    keys = {key["name"]: key["state"] for each in projects.values() for key in each["keys"]}
    return [
        Promise("every caller got its answer, none saw a refusal", not tally.lost),
        Promise("no project was ever above its RPM or TPM", within and minute == 0),
        Promise(f"{script.DRY} ran dry for the day and rests until its day ends", _rests(dry)),
        Promise(
            f"the revoked key {script.REVOKED} is never used again", keys[script.REVOKED] == "dead"
        ),
        Promise("a killed daemon forgot nothing of this", _rests(dry) and "dead" in keys.values()),
    ]


def _rests(project: dict[str, Any]) -> bool:
    return any(
        each.get("rule") == "per-day" and each["state"] == "cooling" for each in project["models"]
    )


def _tally_of(record: dict[str, Any], project: str) -> dict[str, Any]:
    tally: dict[str, Any] = record["projects"][project]["models"][script.MODEL]
    return tally
