"""A bar on the terminal while something takes long."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(words: str, total: int, *, at_least: int) -> Iterator[Callable[[int], None]]:
    """A bar for work of ``at_least`` steps where a person watches; told how many are done."""
    if total < at_least or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(words, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def stoppable(told: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    """``told`` for work in another thread, which ends at its next step once we have left.

    Ctrl-C leaves the wait for a thread, but the process ends only with it.
    """
    left = threading.Event()

    def step(done: int) -> None:
        told(done)
        if left.is_set():
            raise KeyboardInterrupt

    try:
        yield step
    finally:
        left.set()
