"""What a probe leaves in the registry for one model: its calibration, and the counts it rests on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from keypool_cli.core.calibration import from_json, to_json
from keypool_cli.core.estimator import Calibration
from keypool_cli.registry.values import Calibration as Stored
from keypool_cli.service.ports import Ports

SCHEMA: Final = 1

RESUMED_MS: Final = 3_600_000
"""Counts of a probe that did not end are used by the next one for an hour."""


class _Pending(msgspec.Struct):
    started_at_ms: int
    counts: dict[str, int]


class _Payload(msgspec.Struct, omit_defaults=True):
    calibration: dict[str, object] | None = None
    counts: dict[str, int] = {}
    report: dict[str, object] | None = None
    pending: _Pending | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """One model's calibration, as stored.

    calibration: None for a model never probed to the end. counts: upstream's, by digest of the
    probe, which the calibration was fitted to. report: what the probe said of it, as JSON.
    pending: counts of a probe that has not ended. at_ms: when it was calibrated.
    """

    model: str
    calibration: Calibration | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    report: Mapping[str, object] | None = None
    pending: Mapping[str, int] = field(default_factory=dict)
    started_at_ms: int = 0
    at_ms: int = 0


def read_memory(stored: Stored) -> Memory:
    """What is stored, understood; what is not of a known form counts as not there."""
    try:
        payload = msgspec.convert(stored.payload, _Payload)
        calibration = None if payload.calibration is None else from_json(payload.calibration)
    except (msgspec.ValidationError, TypeError, ValueError):
        return Memory(stored.model)
    pending = payload.pending or _Pending(0, {})
    return Memory(
        stored.model,
        calibration,
        payload.counts,
        payload.report,
        pending.counts,
        pending.started_at_ms,
        stored.at_ms,
    )


def payload_of(memory: Memory) -> dict[str, object]:
    """A memory as it is stored."""
    calibration = None if memory.calibration is None else to_json(memory.calibration)
    report = None if memory.report is None else dict(memory.report)
    pending = _Pending(memory.started_at_ms, dict(memory.pending)) if memory.pending else None
    payload = _Payload(calibration, dict(memory.counts), report, pending)
    built: dict[str, object] = msgspec.to_builtins(payload)
    return {"schema": SCHEMA, **built}


async def recall(ports: Ports, model: str) -> Memory:
    """What the registry holds of a model."""
    stored = await ports.call(ports.registry.calibrations.get, model)
    return Memory(model) if stored is None else read_memory(stored)


async def recall_all(ports: Ports) -> dict[str, Memory]:
    """What the registry holds of every model that was ever probed."""
    stored = await ports.call(ports.registry.calibrations.all)
    return {model: read_memory(each) for model, each in stored.items()}
