"""The daemon's life: open the stores, serve, keep watch, drain, close."""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn

import uvloop

from keypool_cli.config import Settings
from keypool_cli.daemon.app import App
from keypool_cli.daemon.auth import Auth, is_loopback_host
from keypool_cli.daemon.bodies import Bodies
from keypool_cli.daemon.leases import Leases
from keypool_cli.daemon.metrics import Counting
from keypool_cli.daemon.pages import pages_of
from keypool_cli.daemon.parts import Parts
from keypool_cli.daemon.proxy_wiring import proxy_of
from keypool_cli.engine.embedded import EmbeddedServer
from keypool_cli.engine.keyspace import CHANGES, WAKE
from keypool_cli.errors import ExitCode, KeypoolError, UnreachableError, UsageError
from keypool_cli.http.access_log import LogForm, logged
from keypool_cli.http.address import Address, listen
from keypool_cli.http.server import STOPPING, serve
from keypool_cli.http.tls import Tls
from keypool_cli.service.affinity import Affinity
from keypool_cli.service.bookkeeping import Bookkeeping
from keypool_cli.service.closing import Closing
from keypool_cli.service.counters_shared import Seat, seats
from keypool_cli.service.egress import Egress
from keypool_cli.service.estimating import Estimating
from keypool_cli.service.holding import Holding
from keypool_cli.service.instances import Reporting
from keypool_cli.service.leasing import Leasing
from keypool_cli.service.ports import Ports, opened
from keypool_cli.service.settling import Settling
from keypool_cli.service.stopping import stop
from keypool_cli.service.sync import read_configured
from keypool_cli.service.waiting import Waiting
from keypool_cli.service.watch import Watch

_SWITCH_S = 0.001
_LEAVE_S = 4

_Work = Callable[[], Coroutine[object, object, None]]

log = logging.getLogger("keypool.daemon")


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to serve. One worker is this very process; several share the port, and end with it.

    auth: client tokens are needed. behind_proxy: something in front of us speaks TLS. tls: we do.
    access_log: a line for each call goes to stderr, as text or as JSON; None for none.
    seat: where one of several workers tells the others what it has counted.
    """

    workers: int = 1
    auth: bool = True
    behind_proxy: bool = False
    tls: Tls | None = None
    access_log: LogForm | None = None
    seat: Seat | None = None


def _say_ready(url: str) -> None:
    sys.stderr.write(f"keypool: serving on {url}\n")
    sys.stderr.flush()


def run_daemon(
    settings: Settings, options: ServeOptions, *, on_ready: Callable[[str], None] = _say_ready
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; on_ready is told the base URL. Raises before it serves."""
    _check(settings, options)
    address = Address(settings.host, settings.port, reuse_port=options.workers > 1, tls=options.tls)
    if options.workers == 1:
        uvloop.run(_serve(settings, options, address, on_ready))
    else:
        _run_workers(settings, options, address, on_ready)


def _check(settings: Settings, options: ServeOptions) -> None:
    if options.workers < 1:
        raise UsageError("at least one worker is needed")
    if options.tls is not None:
        options.tls.check(warn=log.warning)
    if is_loopback_host(settings.host):
        return
    if not options.auth:
        raise UsageError(
            "--no-auth is accepted on loopback only",
            hint="listen on 127.0.0.1, or use client tokens",
        )
    if options.tls is None and not options.behind_proxy:
        raise UsageError(
            f"listening on {settings.host} would send tokens and keys in clear",
            hint="say --tls-cert and --tls-key, or --behind-proxy with a TLS proxy in front",
        )


def _run_workers(
    settings: Settings, options: ServeOptions, address: Address, on_ready: Callable[[str], None]
) -> None:
    """Fork the workers and wait for them; the pipe's end tells them that we are gone."""
    reserved, bound = listen(address)
    alive, ours = os.pipe()
    pids: list[int] = []
    # A signal waits until there is someone to tell.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    for index, seat in enumerate(seats(options.workers)):
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            reserved.close()
            mine = replace(options, seat=seat)
            _worker(settings, mine, bound, alive, on_ready if index == 0 else lambda _: None)
        pids.append(pid)
    reserved.close()
    for number in STOPPING:
        signal.signal(number, lambda *_: _end_all(pids))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    failed = [pid for pid in pids if os.waitpid(pid, 0)[1] != 0]
    if failed:
        raise KeypoolError(f"{len(failed)} of {len(pids)} workers failed", hint="see the log above")


def _end_all(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def _worker(
    settings: Settings,
    options: ServeOptions,
    address: Address,
    alive: int,
    on_ready: Callable[[str], None],
) -> None:
    code = int(ExitCode.FAILURE)
    try:
        uvloop.run(_serve(settings, options, address, on_ready, parent=alive))
        code = int(ExitCode.OK)
    except KeypoolError as err:
        sys.stderr.write(f"keypool: {err}\n")
        code = int(err.exit_code)
    except Exception:
        log.exception("a worker ended")
    finally:
        os._exit(code)


async def _serve(
    settings: Settings,
    options: ServeOptions,
    address: Address,
    on_ready: Callable[[str], None],
    *,
    parent: int | None = None,
) -> None:
    embedded = EmbeddedServer(settings.home)
    _end_when_told(embedded, by_parent=parent is not None)
    if parent is not None:
        loop = asyncio.get_running_loop()
        loop.add_reader(parent, partial(_end_now, embedded, ExitCode.FAILURE))
    async with opened(settings, embedded=embedded, daemon=True) as ports:
        await ports.call(ports.registry.check_master_key)
        if (doubt := ports.engine.store.doubt) and not (options.seat and options.seat.index):
            log.warning(doubt)
        async with _running(ports, options) as app:
            _favour_the_loop()
            # A line for each call is written where its task ends.
            served = logged(app, options.access_log) if options.access_log else app
            await serve(
                served,
                address,
                on_ready=lambda bound: on_ready(bound.url),
                on_stop=app.end,
                quick=None if options.access_log else app.quick,
            )


def _end_when_told(embedded: EmbeddedServer, *, by_parent: bool) -> None:
    """Before and after it serves, a signal ends the process at once.

    by_parent: SIGTERM alone does. A Ctrl-C and a hang-up reach workers too, whom their parent then
    tells: as a second signal that would break off what is being drained.
    """
    numbers = STOPPING[:1] if by_parent else STOPPING
    for number in numbers:
        signal.signal(number, lambda *_: _end_now(embedded, ExitCode.OK))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


def _end_now(embedded: EmbeddedServer, code: ExitCode) -> NoReturn:
    """End as by a crash, but leave the embedded store, which otherwise stays until its next user.

    The kernel's alarm ends a process that cannot leave in time.
    """
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    signal.alarm(_LEAVE_S)
    embedded.end_process(int(code))


def _favour_the_loop() -> None:
    """Let nothing else hold calls up for long.

    The catalog is spared from the garbage collector, which took a quarter of each lease's time;
    and a thread at work (the database, a long estimate) gives way after a millisecond, not five.
    """
    sys.setswitchinterval(_SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@asynccontextmanager
async def _running(ports: Ports, options: ServeOptions) -> AsyncIterator[App]:
    """The application and its background work."""
    watch = Watch(ports, await read_configured(ports))
    waiting = Waiting(ports.engine)
    books = Bookkeeping(ports)
    leasing = Leasing(ports, watch, waiting, books)
    settling = Settling(ports, watch, waiting, books.activity)
    closing = Closing(settling, Holding(ports.engine))
    reporting = Reporting(ports.engine, waiting, books.activity)
    estimating, affinity, bodies = Estimating(ports, watch), Affinity(ports, watch), Bodies()
    await estimating.refresh()
    leases = Leases(watch, leasing, settling, affinity, estimating, bodies)
    hearing = partial(_listen, ports, watch, waiting)
    near = is_loopback_host(ports.settings.host) and not options.behind_proxy
    auth = Auth(watch, required=options.auth, near=near)
    parts = Parts(
        ports,
        watch,
        waiting,
        leasing,
        settling,
        closing,
        estimating,
        affinity,
        Egress(ports),
        auth,
        bodies,
        Counting(books.activity.counts, options.seat),
    )
    try:
        async with (
            _at_work(watch.run, watch.unseal, hearing, books.run, reporting.run),
            _at_work(estimating.run, closing.holding.run, ports.engine.store.follow),
            proxy_of(parts) as proxy,
            pages_of(parts, proxy.resources) as served,
        ):
            yield App(ports, watch, auth, leases, proxy, served)
    finally:
        await waiting.close()
        await reporting.leave()
        with suppress(UnreachableError):
            await books.write()


@asynccontextmanager
async def _at_work(*work: _Work) -> AsyncIterator[None]:
    """Work goes on in the background meanwhile."""
    tasks = [asyncio.create_task(_forever(each)) for each in work]
    try:
        yield
    finally:
        await stop(tasks)


async def _forever(work: _Work) -> None:
    """Background work must not end unnoticed; it begins here, so what never began needs no end."""
    try:
        await work()
    except Exception:
        log.exception("background work ended")
        os.kill(os.getpid(), signal.SIGTERM)


async def _listen(ports: Ports, watch: Watch, waiting: Waiting) -> None:
    """Hear of registry changes and of grants to our waiters; polling covers what is missed."""
    while True:
        with suppress(UnreachableError):
            async for channel, data in ports.engine.listen([CHANGES, WAKE + waiting.daemon]):
                if channel == CHANGES:
                    watch.notice()
                else:
                    waiting.wake_tag(data)
        # A server that cannot be started now is tried again: leases say 503 in the meantime.
        with suppress(KeypoolError, OSError):
            await ports.engine.store.ensure_running()
        await asyncio.sleep(0.2)
