"""One RSGI application served in this very process, from ready to drained."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from granian.constants import HTTPModes
from granian.log import LogLevels
from granian.net import SocketHolder  # type: ignore[attr-defined]  # a re-export
from granian.server.embed import Server

from keypool_cli.http.address import BACKLOG, Address, listen
from keypool_cli.http.calls import GRANIAN, Quick, patient_threads, scheduler
from keypool_cli.http.connection import drop_clients_of
from keypool_cli.http.rsgi import App
from keypool_cli.http.tls import Tls

_CONNECTIONS = 65_536
"""Served at once. granian's default of 128 would let parked requests shut out all others."""

STOPPING = (
    signal.SIGTERM,
    signal.SIGINT,
    # The terminal was closed; but not for who was started to outlive it, as nohup does.
    *(() if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)),
)
"""Signals that tell a server to end."""

_BREAK_S = 1.0
"""How long the server may take to notice that its connections are broken."""

# Incremental, or granian would replace the logging handlers of the whole process.
_QUIET: dict[str, Any] = {"incremental": True, "formatters": {}, "handlers": {}, "loggers": {}}


class _Server(Server):
    """granian on a socket of ours.

    Its own listener always shares the port on Linux, so a second server would go unnoticed,
    and it does not tell which port the system chose.
    """

    def __init__(
        self, app: App, quick: Mapping[str, Quick], sock: socket.socket, tls: Tls | None
    ) -> None:
        super().__init__(
            app,
            # A stream of HTTP/2 can be neither held back nor broken off without the others.
            http=HTTPModes.http1,
            backpressure=_CONNECTIONS,
            log_level=LogLevels.error,
            log_dictconfig=_QUIET,
            ssl_cert=tls.cert if tls else None,
            ssl_key=tls.key if tls else None,
        )
        self._quick = quick
        self._sock = sock

    def _init_shared_socket(self) -> None:
        is_unix = self._sock.family == socket.AF_UNIX
        # Detached: granian then holds the only descriptor, and connections are refused as soon
        # as it stops accepting.
        descriptor = self._sock.detach()
        self._shd: Any = SocketHolder(descriptor, is_unix, BACKLOG)  # type: ignore[call-arg]

    async def _spawn_rsgi_worker(
        self,
        number: int,
        ending: Any,  # noqa: ANN401 - granian's
        app: App,
        sock: object,
        *_: object,
    ) -> None:
        """Serve until told to end: granian's own, but for what calls are handed to."""
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        ending.add_cb(lambda: loop.call_soon_threadsafe(ended.set_result, None))
        worker = GRANIAN.RSGIWorker(
            number,
            sock,
            None,
            self.runtime_threads,
            self.runtime_blocking_threads,
            self.blocking_threads,
            self.blocking_threads_idle_timeout,
            self.backpressure,
            self.http,
            self.http1_settings,
            self.http2_settings,
            self.websockets,
            self.static_path,
            *self.ssl_ctx,
            (None, None),
        )
        serve = worker.serve_async_uds if self._shd.is_uds() else worker.serve_async
        with patient_threads() as let_off:
            serve(scheduler(loop, app, self._quick, let_off), loop, ending)
        await ended


async def serve(
    app: App,
    address: Address,
    *,
    on_ready: Callable[[Address], None],
    on_stop: Callable[[], None] = lambda: None,
    drain_s: float = 30.0,
    quick: Mapping[str, Quick] | None = None,
) -> None:
    """Serve ``app`` on the running loop until a signal tells it to stop, then drain and return.

    quick: what handles calls that bring a short body, see :func:`keypool_cli.http.calls.scheduler`.
    on_ready is called with the true port once connections are accepted, on_stop before anything
    is ended: WebSockets are not waited for, and break when it comes to that. Draining refuses new
    connections, closes idle ones at once and waits for answers under way, at most ``drain_s``
    seconds; a second signal ends the wait. Cancelling stops without waiting. Must run in the
    main thread. Raises ConflictError or UsageError when it cannot listen there, NotPermittedError
    for a TLS key that others may read.
    """
    if address.tls is not None:
        address.tls.check()
    sock, bound = listen(address)
    name = sock.getsockname()
    server = _Server(app, quick or {}, sock, address.tls)
    try:
        with _stop_signals() as stop:
            running = asyncio.create_task(server.serve())
            try:
                on_ready(bound)
                await _signal_or_end(stop, running)
                on_stop()
                server.stop()  # type: ignore[no-untyped-call]  # untyped in granian
                await _signal_or_end(stop, running, timeout_s=drain_s)
            finally:
                server.stop()  # type: ignore[no-untyped-call]  # untyped in granian
                await _end(running, name)
    finally:
        if bound.uds is not None:
            bound.uds.unlink(missing_ok=True)


async def _end(running: asyncio.Task[None], name: object) -> None:
    if not running.done():
        # Broken off, not cancelled: cancelled answers reach their clients as complete ones.
        logging.getLogger("_granian").setLevel(logging.CRITICAL + 1)
        drop_clients_of(name)
        await asyncio.wait({running}, timeout=_BREAK_S)
    if running.done():
        running.result()


def end_process() -> NoReturn:
    """End a process that has served, with exit code 0 and everything flushed.

    granian's threads may still be on their way out of Python. The interpreter's own end would
    cut them off in the middle of Rust code, which now and then aborts the process.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@contextmanager
def _stop_signals() -> Iterator[asyncio.Semaphore]:
    """A semaphore that each of STOPPING releases once; what they did before is put back."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Semaphore(0)
    before = {number: signal.getsignal(number) for number in STOPPING}
    for number in STOPPING:
        loop.add_signal_handler(number, stop.release)
    try:
        yield stop
    finally:
        for number in STOPPING:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])


async def _signal_or_end(
    stop: asyncio.Semaphore, running: asyncio.Task[None], *, timeout_s: float | None = None
) -> None:
    signalled = asyncio.ensure_future(stop.acquire())
    try:
        await asyncio.wait(
            {signalled, running}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        signalled.cancel()
