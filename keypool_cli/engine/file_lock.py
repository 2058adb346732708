"""Locks on files, between processes: the kernel drops them when their holder dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keypool_cli.errors import UnreachableError

POLL_S = 0.003
"""How often a lock that another process holds is tried again."""


def open_lock(path: Path) -> int:
    """The lock file at ``path``, made if it is missing, as a handle that programs do not inherit."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def share(handle: int) -> None:
    """Hold the lock together with others that share it; waits for who holds it alone."""
    fcntl.flock(handle, fcntl.LOCK_SH)


def try_alone(handle: int) -> bool:
    """Whether nobody else holds the lock; if so it is now held alone, else not at all."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
def alone(path: Path, *, within_s: float) -> Iterator[None]:
    """Hold the lock file at ``path``. Raises UnreachableError if another holds it too long."""
    handle = open_lock(path)
    try:
        if not alone_within(handle, within_s):
            raise UnreachableError(
                f"another process holds {path}",
                hint="a start of the embedded Valkey hangs: end that process and run again",
            )
        yield
    finally:
        let_go(handle)
