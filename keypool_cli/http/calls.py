"""How calls come from granian's threads to the event loop."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol

from keypool_cli.http.rsgi import App, Exchange, Headers, Scope
from keypool_cli.http.stalling import Awaited

GRANIAN: Final[Any] = import_module("granian._granian")
"""Its stubs are those of an older version."""

SHORT_DIGITS = 5
"""A body whose declared length has no more digits is fetched before its call is begun."""


class Quick(NamedTuple):
    """How the calls of some paths are answered; no part may raise.

    admits: whether a call's body is waited for before anything else; asked in a thread of
    granian's. take: takes a call and its body, and answers it now or later; whatever answers later
    must hold the exchange. stalled: answers a call whose body has not come. All are given the
    scope's headers, for a scope copies them whenever it is asked.
    """

    admits: Callable[[Headers], bool]
    take: Callable[[Scope, Headers, Exchange, bytes], None]
    stalled: Callable[[Scope, Exchange], None]


class _Call(Protocol):
    """A call as granian hands it over."""

    scope: Scope
    proto: Exchange

    def taskref(self, task: "asyncio.Task[None]") -> None:
        """Who works on it."""
        ...

    def done(self) -> None:
        """It is over; what was not answered is answered now."""
        ...

    def err(self, error: BaseException) -> None:
        """It failed."""
        ...


def scheduler(
    loop: asyncio.AbstractEventLoop,
    app: App,
    quick: Mapping[str, Quick],
    let_off: Callable[[], None],
) -> object:
    """What granian hands its calls to: a task for each, but none for those in ``quick``.

    quick: by path, or by its ending from the last colon on. Those that bring a short body are
    begun with it: one handover instead of two. let_off: called once by the thread that hands
    over, see :func:`patient_threads`.
    """
    made = GRANIAN.CallbackScheduler(loop, app, None, None, None)
    context = made._ctx  # noqa: SLF001 - granian's own schedulers are made this way

    def begin(call: _Call) -> None:
        call.taskref(loop.create_task(_run(app, call)))

    first = [let_off]
    awaited = Awaited(loop).since

    def come(way: Quick, scope: Scope, headers: Headers, proto: Exchange, body: Any) -> None:  # noqa: ANN401 - granian's
        if awaited.pop(body, None) is None:
            way.stalled(scope, proto)
        elif body.exception() is None:
            # Raised, what it met would hold the frame and so the body itself, and the connection
            # would stay open until the collector comes, which it hardly ever does here.
            way.take(scope, headers, proto, body.result())
        else:
            # Nobody is there to read it, but a call without an answer is logged as a failure.
            proto.response_empty(400, [])

    def schedule(call: _Call) -> None:  # runs in a thread of granian's, which nothing may raise in
        if first:
            first.pop()()
        scope, proto = call.scope, call.proto
        found = _quick(quick, scope)
        if found is None:
            loop.call_soon_threadsafe(begin, call, context=context)
        else:
            way, headers = found
            body: Any = proto()  # its end is told by this thread, so not before the next line
            awaited[body] = monotonic()
            body.add_done_callback(partial(come, way, scope, headers, proto), context=context)

    made._schedule_fn = schedule  # noqa: SLF001 - see above
    return made


def _quick(quick: Mapping[str, Quick], scope: Scope) -> tuple[Quick, Headers] | None:
    """What takes a call with its body, for calls that declare a short one, and their headers."""
    path = scope.path
    found = quick.get(path) or quick.get(path[path.rfind(":") :])
    if found is None or scope.method != "POST":
        return None
    headers = scope.headers
    declared = headers.get("content-length")
    is_short = declared and len(declared) <= SHORT_DIGITS
    return (found, headers) if is_short and found.admits(headers) else None


async def _run(app: App, call: _Call) -> None:
    try:
        await app(call.scope, call.proto)
    except asyncio.CancelledError:
        call.done()  # the daemon ends, which is no fault to be logged
        raise
    except BaseException as err:  # noqa: BLE001 - as granian does: it is told, and ends the call
        call.err(err)
    else:
        call.done()


@contextmanager
def patient_threads() -> Iterator[Callable[[], None]]:
    """Threads started meanwhile let others finish when they are woken (Linux; else nothing).

    Otherwise each answer of the loop wakes the thread that sends it, which takes the processor
    from the loop, finds just the one, and goes to sleep until the next. What is yielded lets the
    thread that calls it off.
    """
    let_off = _be_patient()
    try:
        yield let_off
    finally:
        let_off()


def _be_patient() -> Callable[[], None]:
    if sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_OTHER:
        usual = os.sched_getparam(0)
        with suppress(OSError):  # not everywhere may a process choose
            os.sched_setscheduler(0, os.SCHED_BATCH, usual)
            return lambda: os.sched_setscheduler(0, os.SCHED_OTHER, usual)
    return lambda: None
