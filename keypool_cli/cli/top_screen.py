"""``top`` on the whole screen: look, draw, obey a key, and leave the terminal as it was."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from keypool_cli.cli.status_text import Row, rows_of
from keypool_cli.cli.top_history import History
from keypool_cli.cli.top_keys import keyboard
from keypool_cli.cli.top_state import State, matching, press
from keypool_cli.cli.top_view import Picture, page

if TYPE_CHECKING:
    from keypool_cli.cli.top import How
    from keypool_cli.service.top import Top


_REST = 4
"""The time between looks is at least this many times what one takes."""


async def show(console: Console, read: "Callable[[], Awaitable[Top]]", how: "How") -> None:
    """Fill the screen until the person quits; a SIGTERM quits as well."""
    screen = _Screen(console, await read(), how.sort)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, screen.changed.set)
    loop.add_signal_handler(signal.SIGTERM, screen.quit)
    try:
        with (
            Live(console=console, screen=True, auto_refresh=False) as live,
            keyboard(loop, screen.press),
        ):
            await _run(live, screen, read, how.every_s)
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
        loop.remove_signal_handler(signal.SIGTERM)


async def _run(
    live: Live, screen: "_Screen", read: "Callable[[], Awaitable[Top]]", every_s: float
) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time() + every_s
    while True:
        live.update(screen.picture(), refresh=True)
        if await screen.touched(due - loop.time()):
            if screen.state.done:
                return
            continue
        looked_at = loop.time()
        if not screen.state.paused:
            screen.see(await read(), loop.time())
        # A large registry is looked at less often rather than all the time.
        due = looked_at + max(every_s, _REST * (loop.time() - looked_at))


class _Screen:
    """What was seen last, and what the person made of it."""

    def __init__(self, console: Console, top: "Top", sort: str) -> None:
        self.state = State(sort=sort)
        self.changed = asyncio.Event()
        self._console = console
        self._history = History()
        self.see(top, asyncio.get_running_loop().time())

    def see(self, top: "Top", at_s: float) -> None:
        """Take in a new look."""
        self._top = top
        self._history.add(top.projects, at_s)
        self._sort_rows()

    def _sort_rows(self) -> None:
        rows = rows_of(self._top.projects, self.state.sort)
        self._rows: list[Row] = matching(rows, self.state.wanted)

    def press(self, key: str) -> None:
        """Obey a key."""
        height = page(self._top, self._console.height)
        was, self.state = self.state, press(self.state, key, self._rows, page=height)
        if (was.sort, was.wanted) != (self.state.sort, self.state.wanted):
            self._sort_rows()
        self.changed.set()

    def quit(self) -> None:
        """End as soon as possible."""
        self.state = replace(self.state, done=True)
        self.changed.set()

    async def touched(self, within_s: float) -> bool:
        """Whether a key was pressed, or the size changed, before so much time has passed."""
        if within_s <= 0:
            return False
        try:
            # Not wait_for: before Python 3.12 it forgets a Ctrl-C that comes together with a key.
            async with asyncio.timeout(within_s):
                await self.changed.wait()
        except TimeoutError:
            return False
        self.changed.clear()
        return True

    def picture(self) -> Picture:
        """What to draw."""
        return Picture(self._top, self._rows, self.state, self._history)
