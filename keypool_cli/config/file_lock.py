"""Locks on files, between processes: the kernel drops them when their holder dies."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Final

from keypool_cli.errors import UnreachableError

POLL_S: Final = 0.003
"""How often a lock that another process holds is tried again."""

TOLD_AFTER_S: Final = 1.0
"""How long a lock is waited for in silence."""

log = logging.getLogger("keypool.lock")


def open_lock(path: Path) -> int:
    """The lock file at ``path``, made if it is missing, as a handle that programs do not inherit.

    It stays for good: removing it would let two processes lock two files of one name.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def shared(path: Path, *, within_s: float, unless: Event | None = None) -> int:
    """A handle that holds the lock file together with others. As :func:`alone` in all else."""
    handle = open_lock(path)
    try:
        _wait(handle, path, fcntl.LOCK_SH, within_s, unless)
    except BaseException:
        let_go(handle)
        raise
    return handle


def try_alone(handle: int) -> bool:
    """Whether nobody else holds the lock; if so it is now held alone, else not at all."""
    return _take(handle, fcntl.LOCK_EX)


def alone_within(handle: int, seconds: float) -> bool:
    """Hold the lock alone, waiting for others no longer than ``seconds``; whether it is held."""
    deadline = time.monotonic() + seconds
    while not try_alone(handle):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def let_go(handle: int) -> None:
    """Drop the lock and close its file."""
    # A child between fork and exec still has a copy; closing alone would leave it locked.
    fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


@contextmanager
def alone(path: Path, *, within_s: float, unless: Event | None = None) -> Iterator[None]:
    """Hold the lock file at ``path``; a wait of over a second is told.

    unless: ends the wait, for whoever does not need it any more.
    Raises UnreachableError, which names the holder, if another holds it too long.
    """
    handle = open_lock(path)
    try:
        _wait(handle, path, fcntl.LOCK_EX, within_s, unless)
        yield
    finally:
        let_go(handle)


def _take(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(handle: int, path: Path, how: int, within_s: float, unless: Event | None) -> None:
    begun = time.monotonic()
    tell_after_s = TOLD_AFTER_S
    while not _take(handle, how):
        waited_s = time.monotonic() - begun
        if waited_s > within_s or (unless is not None and unless.is_set()):
            raise UnreachableError(
                f"{_holder(path)} holds {path}",
                hint="it hangs: end that process and run again",
            )
        if waited_s > tell_after_s:
            log.warning("waiting for %s, which %s holds", path, _holder(path))
            tell_after_s = within_s
        time.sleep(POLL_S)


def _holder(path: Path) -> str:
    """The process that holds a lock on a file, as far as the system tells."""
    # Lines like "1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF". Only Linux has them, a process
    # of another container has no number here, and it may have ended meanwhile.
    with suppress(OSError, ValueError):
        found = path.stat()
        device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
        for line in Path("/proc/locks").read_text().splitlines():
            _, kind, *_, pid, file, _, _ = line.split()
            if kind == "FLOCK" and file == f"{device}:{found.st_ino}":
                return f"process {pid} ({Path('/proc', pid, 'comm').read_text().strip()})"
    return "another process"
