"""``probe``: fit the estimator to upstream's own counts, and tell when they no longer hold."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import msgspec

from keypool_cli.core.accuracy import Counted, Probe
from keypool_cli.core.calibration import Fitted, calibrate, to_json
from keypool_cli.core.drift import check as judge
from keypool_cli.core.estimator import DEFAULT
from keypool_cli.registry.values import Actor
from keypool_cli.service.changing import changing
from keypool_cli.service.instants import iso, now_ms
from keypool_cli.service.ports import Ports
from keypool_cli.service.probing_memory import (
    RESUMED_MS,
    Memory,
    payload_of,
    recall,
    recall_all,
)
from keypool_cli.service.probing_report import (
    CheckReport,
    ProbeReport,
    check_views,
    errors_reached,
    probe_views,
)

DEFAULT_MODEL: Final = "gemini-2.5-flash"
"""Probed where nothing tells which models are used."""

KEPT_EVERY_S: Final = 2.0
"""How often counts are written while a probe runs: an interrupted one loses no more."""

UPSTREAM: Final = "upstream"
"""Name of the source whose counts are the truth."""

Progress = Callable[[int], None]
"""Told how many samples are counted."""


class Source(Protocol):
    """Where counts come from. name: upstream, stored or tokenizer."""

    @property
    def name(self) -> str:
        """What a report calls it."""
        ...

    async def count(
        self, probes: Sequence[Probe], *, model: str, heard: Callable[[Probe, int], None]
    ) -> None:
        """Tell the tokens of every probe, or of those that can be known."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """One model to probe or check. recounted: of the samples, those that a check counts anew.

    words: what else the command line was given, for the command that repairs.
    """

    model: str
    source: Source
    probes: Sequence[Probe]
    recounted: Sequence[Probe] = ()
    progress: Progress = lambda _: None
    words: str = ""


async def models_to_probe(ports: Ports) -> list[str]:
    """Models that were probed before or are in use; keypool's own example where there is none."""
    probed = await recall_all(ports)
    used = await ports.call(ports.registry.live_epochs.all)
    return sorted(probed.keys() | used.keys()) or [DEFAULT_MODEL]


async def models_to_check(ports: Ports) -> list[str]:
    """Models with a calibration; the shipped defaults are checked on an example where none has."""
    found = await recall_all(ports)
    return sorted(name for name, each in found.items() if each.calibration) or [DEFAULT_MODEL]


async def probe(ports: Ports, job: Job, *, by: Actor) -> ProbeReport:
    """Count the samples, and fit the estimator to them; upstream's counts are kept for daemons.

    What an interrupted probe counted within the last hour is not counted again.
    """
    probes = list({each.digest: each for each in job.probes}.values())
    tally = _Tally(probes, await recall(ports, job.model), job.progress)
    keep = job.source.name == UPSTREAM
    resumed = tally.resume() if keep else 0
    await _count(ports, job, tally, keep=keep)
    known = [each for each in probes if each.digest in tally.counts]
    counted = [Counted(each, tally.counts[each.digest]) for each in known]
    fitted = await asyncio.to_thread(calibrate, counted, model=job.model)
    if keep:
        await _save(ports, tally, fitted, by=by)
    return _report(job, fitted, samples=len(counted), resumed=resumed)


async def check(ports: Ports, job: Job) -> CheckReport:
    """Judge a model's calibration by fresh counts; changes nothing anywhere."""
    memory = await recall(ports, job.model)
    tally = _Tally(job.recounted, memory, job.progress)
    await job.source.count(job.recounted, model=job.model, heard=tally.hear)
    drift = await asyncio.to_thread(
        judge,
        job.probes,
        memory.counts,
        fresh=tally.counts,
        model=job.model,
        calibration=memory.calibration or DEFAULT,
        reached=errors_reached(memory.report),
    )
    shifts, findings = check_views(drift)
    return CheckReport(
        model=job.model,
        at=iso(now_ms()),
        source=job.source.name,
        ok=not drift.fails,
        calibrated_at=iso(memory.at_ms) if memory.calibration is not None else None,
        samples=len(tally.counts),
        shifts=shifts,
        findings=findings,
        repair=f"keypool probe --model {job.model}{job.words}" if drift.fails else None,
    )


class _Tally:
    """Counts as they come in."""

    def __init__(self, probes: Sequence[Probe], memory: Memory, progress: Progress) -> None:
        self.probes = probes
        self.memory = memory
        self.counts: dict[str, int] = {}
        self.started_at_ms = now_ms()
        self._progress = progress

    def resume(self) -> int:
        """Take over what an interrupted probe counted; how many that are."""
        if self.started_at_ms - self.memory.started_at_ms > RESUMED_MS:
            return 0
        wanted = {each.digest for each in self.probes}
        self.counts = {each: n for each, n in self.memory.pending.items() if each in wanted}
        if self.counts:
            self.started_at_ms = self.memory.started_at_ms
        self._progress(len(self.counts))
        return len(self.counts)

    def left(self) -> list[Probe]:
        """What is still to be counted."""
        return [each for each in self.probes if each.digest not in self.counts]

    def hear(self, probe: Probe, tokens: int) -> None:
        """One count came in."""
        self.counts[probe.digest] = tokens
        self._progress(len(self.counts))

    def unfinished(self) -> Memory:
        """What to store while the probe runs: the calibration in force stays."""
        return replace(self.memory, pending=dict(self.counts), started_at_ms=self.started_at_ms)


async def _count(ports: Ports, job: Job, tally: _Tally, *, keep: bool) -> None:
    """Count what is left; what was counted is stored now and then, and however this ends."""
    keeping = asyncio.create_task(_keep(ports, tally)) if keep else None
    try:
        await job.source.count(tally.left(), model=job.model, heard=tally.hear)
    finally:
        if keeping is not None:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await _write(ports, tally)


async def _keep(ports: Ports, tally: _Tally) -> None:
    while True:
        await asyncio.sleep(KEPT_EVERY_S)
        await _write(ports, tally)


async def _write(ports: Ports, tally: _Tally) -> None:
    if tally.counts:
        payload = payload_of(tally.unfinished())
        await ports.call(ports.registry.calibrations.keep, tally.memory.model, payload)


async def _save(ports: Ports, tally: _Tally, fitted: Fitted, *, by: Actor) -> None:
    model = tally.memory.model
    payload = payload_of(Memory(model, fitted.calibration, tally.counts, _summary(fitted)))
    save = ports.registry.calibrations.save
    await changing(ports, lambda: save(model, payload, by=by))


def _report(job: Job, fitted: Fitted, *, samples: int, resumed: int) -> ProbeReport:
    classes, strata, every = probe_views(fitted)
    return ProbeReport(
        model=job.model,
        at=iso(now_ms()),
        source=job.source.name,
        samples=samples,
        counted=samples - resumed,
        resumed=resumed,
        saved=job.source.name == UPSTREAM,
        classes=classes,
        strata=strata,
        all=every,
        calibration=to_json(fitted.calibration),
    )


def _summary(fitted: Fitted) -> Mapping[str, object]:
    classes, strata, every = probe_views(fitted)
    built: dict[str, object] = msgspec.to_builtins(
        {"classes": classes, "strata": strata, "all": every}
    )
    return built
