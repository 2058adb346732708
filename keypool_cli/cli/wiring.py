"""From a parsed command to the adapters: settings, the actor, and the one event loop."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from keypool_cli.errors import KeypoolError, UnreachableError

if TYPE_CHECKING:
    from keypool_cli.config import Settings
    from keypool_cli.registry.values import Actor
    from keypool_cli.service.mirror import Look
    from keypool_cli.service.ports import Ports

T = TypeVar("T")
A = TypeVar("A")

AGAIN_S = 0.3
"""After so long what was interrupted, and goes on, is interrupted again."""


@dataclass(frozen=True, slots=True)
class Session:
    """The options that every verb knows. color: None lets the terminal decide."""

    home: Path | None = None
    quiet: bool = False
    color: bool | None = None


def session(ctx: typer.Context) -> Session:
    """The options that every verb knows."""
    return ctx.obj if isinstance(ctx.obj, Session) else Session()


def settings(ctx: typer.Context, **flags: object) -> "Settings":
    """The settings in force; flags of the verb win over everything."""
    from keypool_cli.config import load

    return load({"home": session(ctx).home, **flags})


def where_stored(chosen: "Settings") -> str:
    """Which registry it is, for whoever finds it empty and expected another."""
    return f"{chosen.shown('database_url')} (KEYPOOL_HOME, KEYPOOL_DATABASE_URL)"


def actor(reason: str | None = None) -> "Actor":
    """Who runs this command, for the audit log."""
    import getpass
    import os
    import socket

    from keypool_cli.registry.values import Actor

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = f"uid {os.getuid()}"
    return Actor(name, socket.gethostname(), reason)


def read(ctx: typer.Context, work: Callable[["Ports"], Awaitable[T]]) -> T:
    """Do what needs the registry alone: it works while the live store is away."""
    return run(_using(_registry_only(settings(ctx)), work))


def change(ctx: typer.Context, work: Callable[["Ports"], Awaitable[T]]) -> T:
    """Do what changes the registry; a live store that runs hears of it, see :func:`live`."""
    return _changing(ctx, work, start=False)


def live(ctx: typer.Context, work: Callable[["Ports"], Awaitable[T]]) -> T:
    """Do what needs the live store; an embedded one is started.

    Changes that it could not be told are told to the person when the verb has printed its outcome.
    """
    return _changing(ctx, work, start=True)


def _changing(ctx: typer.Context, work: Callable[["Ports"], Awaitable[T]], *, start: bool) -> T:
    from keypool_cli.service.ports import opened

    unheard: list[KeypoolError] = []

    async def noting(ports: "Ports") -> T:
        try:
            return await work(ports)
        finally:
            unheard.extend(ports.unheard)

    try:
        return run(_using(opened(settings(ctx), start=start), noting))
    except (UnreachableError, KeyboardInterrupt) as err:
        if unheard:
            raise unheard[0] from err
        raise
    finally:
        if unheard:
            ctx.call_on_close(partial(_raise, unheard[0]))


def _raise(err: KeypoolError) -> None:
    raise err


def look(ctx: typer.Context, work: Callable[["Look"], Awaitable[T]]) -> T:
    """Do what only shows how things stand: from the live store, and its mirror of the registry."""
    import gc

    from keypool_cli.service.mirror import looking

    # A pool of 100,000 keys is a million values that all live to the end: looking through them
    # for garbage took a quarter of the time.
    gc.set_threshold(100_000, 50, 100)
    return run(_using(looking(settings(ctx)), work))


def run(work: Awaitable[T]) -> T:
    """Run a coroutine to its end; the only event loop of the command line.

    Raises KeyboardInterrupt after a Ctrl-C, when what was open is closed.
    """
    import asyncio

    collect_again()

    async def whole() -> T:
        return await work

    try:
        return asyncio.run(whole())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


@contextmanager
def _interrupts() -> Iterator[None]:
    """Let Ctrl-C cancel what runs here, until it ends.

    Once is not enough: ``asyncio.wait_for``, in which redis-py sends, forgets before Python 3.12
    that it was cancelled where that comes together with the end of what it waits for.
    """
    import asyncio
    import signal
    from threading import current_thread, main_thread

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is None or current_thread() is not main_thread():
        yield
        return
    again: list[asyncio.TimerHandle] = []

    def interrupt() -> None:
        task.cancel()
        again[:] = [loop.call_later(AGAIN_S, interrupt)]

    before = signal.getsignal(signal.SIGINT)
    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)
        for each in again:
            each.cancel()


def collect_again() -> None:
    """Look for garbage again, but not among what was imported, which stays to the end."""
    import gc

    if not gc.isenabled():
        gc.freeze()
        gc.enable()


async def _using(adapters: AbstractAsyncContextManager[A], work: Callable[[A], Awaitable[T]]) -> T:
    async with adapters as opened:
        with _interrupts():
            return await work(opened)


@asynccontextmanager
async def _registry_only(chosen: "Settings") -> AsyncIterator["Ports"]:
    import asyncio

    from keypool_cli.service.ports import Ports, open_registry

    registry = await asyncio.to_thread(open_registry, chosen)
    try:
        yield Ports(chosen, registry, None)
    finally:
        registry.close()
