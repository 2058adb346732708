"""Instants that hardly ever come: one timer for all of them, where one each would cost a call more."""

import asyncio
from asyncio import CancelledError, TimerHandle
from collections.abc import Callable
from functools import cached_property
from math import inf
from types import TracebackType

_CLOSE_S = 0.001
"""How much too early a timer may ring: the loop counts in milliseconds."""

_REST_S = 0.01
"""The least time between two rings, each of which looks through all alarms: with thousands of them
an alarm may ring so much late."""


class Alarms:
    """Rings what has not been dropped by its time. For one event loop."""

    def __init__(self) -> None:
        self._due: dict[Callable[[], None], float] = {}
        self._timer: TimerHandle | None = None
        self._rings_at = inf

    @cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Whose time it is; asking asyncio for it is a call of the system each time."""
        return asyncio.get_running_loop()

    def ring(self, delay_s: float, what: Callable[[], None]) -> None:
        """Call ``what`` once after so long, unless it is dropped before."""
        due = self._due[what] = self.loop.time() + delay_s
        if due < self._rings_at:
            self._set(due)

    def drop(self, what: Callable[[], None]) -> None:
        """Forget an alarm; one that has rung already may be dropped too."""
        self._due.pop(what, None)

    def within(self, delay_s: float) -> "Within":
        """A context manager as ``asyncio.timeout`` is: after so long, TimeoutError."""
        return Within(self, delay_s)

    def _set(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = due
        self._timer = self.loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer, self._rings_at = None, inf
        now = self.loop.time() + _CLOSE_S
        for what in [what for what, due in self._due.items() if due <= now]:
            del self._due[what]
            what()
        if self._due and self._timer is None:
            self._set(max(min(self._due.values()), now + _REST_S))


class Within:
    """Cancels the task that entered it when its time is over, and raises TimeoutError there."""

    def __init__(self, alarms: Alarms, delay_s: float) -> None:
        self._alarms = alarms
        self._delay_s = delay_s
        self._over = False

    def __enter__(self) -> None:
        """Begin."""
        task = asyncio.current_task(self._alarms.loop)
        if task is None:
            raise RuntimeError("only a task has a deadline")
        self._task, self._cancelling = task, task.cancelling()
        self._alarms.ring(self._delay_s, self._end)

    def __exit__(
        self, _kind: type[BaseException] | None, err: BaseException | None, _: TracebackType | None
    ) -> None:
        """End; a task that someone else cancels too is cancelled."""
        self._alarms.drop(self._end)
        if not self._over:
            return
        cancelled_by_others = self._task.uncancel() > self._cancelling
        if isinstance(err, CancelledError) and not cancelled_by_others:
            raise TimeoutError from err

    def _end(self) -> None:
        self._over = True
        self._task.cancel()
