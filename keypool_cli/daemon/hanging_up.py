"""Clients that hang up: nobody wants what is being made for them any more."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import TypeVar

from keypool_cli.errors import KeypoolError
from keypool_cli.http.rsgi import Exchange
from keypool_cli.service.alarms import Alarms

QUICK_S = 0.05
"""Looking out for a client that hangs up costs as much as many a call: quick ones go without."""

T = TypeVar("T")


class GoneError(KeypoolError):
    """The client hung up before its answer was ready."""


async def unless_gone(work: Coroutine[object, object, T], proto: Exchange, alarms: Alarms) -> T:
    """Do work as long as the client waits for it; cancelled, and GoneError, when it hangs up."""
    with Lookout(proto, alarms):
        return await work


class Lookout:
    """Cancels the task that makes it when the client goes; what is done with it is GoneError then."""

    def __init__(self, proto: Exchange, alarms: Alarms) -> None:
        self._gone = False
        self._proto = proto
        self._task = asyncio.current_task(alarms.loop)
        self._hung_up: asyncio.Future[None] | None = None
        self._alarms = alarms
        alarms.ring(QUICK_S, self._begin)

    def _begin(self) -> None:
        self._hung_up = asyncio.ensure_future(self._proto.client_disconnect())
        self._hung_up.add_done_callback(self._heard)

    def _heard(self, hung_up: asyncio.Future[None]) -> None:
        if self._task is not None and not hung_up.cancelled():
            self._gone = True
            self._task.cancel()

    def __enter__(self) -> None:
        """It looks already."""

    def __exit__(
        self, _kind: type[BaseException] | None, err: BaseException | None, _: TracebackType | None
    ) -> None:
        """Look no longer."""
        self._alarms.drop(self._begin)
        if self._hung_up is not None:
            self._hung_up.remove_done_callback(self._heard)
            self._hung_up.cancel()
        if self._gone and self._task is not None:
            self._task.uncancel()
            if isinstance(err, asyncio.CancelledError):
                raise GoneError("the client hung up") from None
