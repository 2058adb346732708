"""The live store's clock, as its answers tell it, beside this machine's own steady one."""

import time
from enum import Enum

JUMP_MS = 1000
"""A clock that gained more has forgotten bookings that upstream still counts; the guard covers
less than this."""

BACK_MS = 5000
"""A clock set back further leaves instants behind that are far off now; the engine's own bound."""

_DRIFT = 0.001
"""Of the time that passes: by so much a clock is slewed, at most, while it is set right."""

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady_ms() -> float:
    """A clock that is never set, and goes on while the machine sleeps where it can."""
    return time.clock_gettime(_STEADY) * 1000


class Step(Enum):
    """How the store's clock was set while we listened."""

    FORWARD = "forward"
    BACK = "back"


class StoreClock:
    """How far the store's clock is ahead of ours, within bounds.

    An answer's time is no earlier than when it was asked for, and no later than its arrival.
    """

    def __init__(self) -> None:
        self._least = self._most = 0.0
        self._heard_at_ms: float | None = None

    @property
    def known(self) -> bool:
        """Whether anything was heard."""
        return self._heard_at_ms is not None

    def now_ms(self) -> int:
        """The store's time, as far as it is known."""
        return int(self._least + steady_ms())

    def heard(self, now_ms: int, *, asked_at_ms: float) -> Step | None:
        """Note the store's time from an answer; the step since the last, if there was one.

        asked_at_ms: by :func:`steady_ms`. An answer long on its way tells little, and no step.
        """
        here = steady_ms()
        drift = (here - (self._heard_at_ms or here)) * _DRIFT
        least, most = self._least - drift, self._most + drift
        first, self._heard_at_ms = self._heard_at_ms is None, here
        self._least, self._most = now_ms - here, now_ms - asked_at_ms
        if first:
            return None
        if self._least > most + JUMP_MS:
            return Step.FORWARD
        if self._most < least - JUMP_MS:
            return Step.BACK if self._most < least - BACK_MS else None
        self._least, self._most = max(self._least, least), min(self._most, most)
        return None
