"""Scripted faults: what to answer instead, to whom, how often, and for how long."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """What a fault does to a call."""

    RPM = "rpm"
    TPM = "tpm"
    RPD = "rpd"
    LIMIT0 = "limit0"
    KEY_INVALID = "key_invalid"
    KEY_EXPIRED = "key_expired"
    LEAKED = "leaked"
    SUSPENDED = "suspended"
    SERVICE_DISABLED = "service_disabled"
    OVERLOADED = "overloaded"  # 503
    INTERNAL = "internal"  # 500, after it was counted
    OPAQUE = "opaque"  # 429 without details
    HELP_ONLY = "help_only"  # 429 with no detail but Help
    CAPACITY = "capacity"  # 429 that means the model, not the quota
    SPEND_RATE = "spend_rate"
    ACCOUNT_CAP = "account_cap"
    PROJECT_CAP = "project_cap"
    CREDIT = "credit"  # 402
    RAW = "raw"  # status and body as given
    SLOW = "slow"
    DROP = "drop"


SHAPING = (Kind.SLOW, Kind.DROP)
"""Faults that change how an answer arrives, not what it says."""


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One scripted fault.

    on: ``generate`` (streams too), ``count``, ``models`` or ``any``. key, project, model: whose
    calls; the model as requested. times: how many calls; None is one, or every call while
    ``for_s`` lasts. after: matching calls to let pass first. status, body: the answer of RAW; a
    string is sent as text. first_byte_s, chunk_s: the delays of SLOW. after_chunks: DROP breaks
    the connection after so many chunks of a stream; 0 before any answer. within: a stream of
    streamGenerateContent is answered with 200, and the error comes in it after so many chunks.
    """

    kind: Kind
    on: str = "generate"
    key: str | None = None
    project: str | None = None
    model: str | None = None
    times: int | None = None
    after: int = 0
    for_s: float | None = None
    status: int = 500
    body: object = ""
    first_byte_s: float = 0.0
    chunk_s: float = 0.0
    after_chunks: int = 0
    within: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A call as faults see it."""

    on: str
    key: str
    project: str
    model: str | None = None


@dataclass(slots=True)
class Script:
    """A fault under way: what is left of it."""

    id: int
    fault: Fault
    after: int
    left: int | None
    ends_ms: int | None

    def is_over(self, now_ms: int) -> bool:
        """Whether it will never fire again."""
        return self.left == 0 or (self.ends_ms is not None and now_ms >= self.ends_ms)

    def fires(self) -> bool:
        """Count one matching call; whether this one is hit."""
        if self.after > 0:
            self.after -= 1
            return False
        if self.left is not None:
            self.left -= 1
        return True


class FaultBook:
    """The faults that are scripted now, in the order they were added."""

    def __init__(self) -> None:
        self._scripts: list[Script] = []
        self._last_id = 0

    def add(self, fault: Fault, now_ms: int) -> Script:
        """Script a fault from now on."""
        self._last_id += 1
        once = 1 if fault.for_s is None else None
        script = Script(
            id=self._last_id,
            fault=fault,
            after=fault.after,
            left=once if fault.times is None else fault.times,
            ends_ms=None if fault.for_s is None else now_ms + round(fault.for_s * 1000),
        )
        self._scripts.append(script)
        return script

    def clear(self) -> None:
        """Forget all of them."""
        self._scripts.clear()

    def current(self, now_ms: int) -> list[Script]:
        """Those that may still fire."""
        self._scripts = [script for script in self._scripts if not script.is_over(now_ms)]
        return list(self._scripts)

    def take(self, target: Target, now_ms: int) -> list[Fault]:
        """The faults that hit this call: every shaping one, and the first of the others."""
        if not self._scripts:
            return []
        return list(self._hits(target, now_ms))

    def _hits(self, target: Target, now_ms: int) -> Iterator[Fault]:
        refused = False
        for script in self.current(now_ms):
            shapes = script.fault.kind in SHAPING
            if (refused and not shapes) or not _matches(script.fault, target):
                continue
            if script.fires():
                refused = refused or not shapes
                yield script.fault


def _matches(fault: Fault, target: Target) -> bool:
    wanted = ((fault.key, target.key), (fault.project, target.project), (fault.model, target.model))
    return fault.on in ("any", target.on) and all(
        want is None or want == have for want, have in wanted
    )
