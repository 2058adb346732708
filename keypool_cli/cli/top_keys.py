"""Single keys from the terminal, while the screen is drawn; at the end it is as it was."""

import os
import re
import sys
import termios
from asyncio import AbstractEventLoop
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

NAMES = {
    "\x1b[A": "up", "\x1bOA": "up", "k": "up",
    "\x1b[B": "down", "\x1bOB": "down", "j": "down",
    "\x1b[5~": "page up", "\x1b[6~": "page down",
    "\x1b[H": "first", "\x1bOH": "first", "\x1b[1~": "first", "g": "first",
    "\x1b[F": "last", "\x1bOF": "last", "\x1b[4~": "last", "G": "last",
    "\r": "enter", "\n": "enter", "\x1b": "escape",
    "\x7f": "rub out", "\x08": "rub out",
    " ": "pause", "p": "pause", "s": "sort", "S": "sort back", "/": "filter", "q": "quit",
}  # fmt: skip

_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Z])|.", re.DOTALL)
_LFLAG, _CC = 3, 6


def keys_in(text: str) -> list[str]:
    """The keys that make up what a terminal sent, arrow keys and their like in one piece."""
    return _SEQUENCE.findall(text)


@contextmanager
def keyboard(loop: AbstractEventLoop, pressed: Callable[[str], None]) -> Iterator[None]:
    """Tell ``pressed`` of each key, unless stdin is no terminal; Ctrl-C stays a signal."""
    handle = sys.stdin.fileno()
    if not os.isatty(handle):
        yield
        return
    before = termios.tcgetattr(handle)
    decoder = getincrementaldecoder("utf-8")("replace")

    def read() -> None:
        data = os.read(handle, 1024)
        if not data:  # the terminal is gone
            loop.remove_reader(handle)
        for key in keys_in(decoder.decode(data)):
            pressed(key)

    termios.tcsetattr(handle, termios.TCSADRAIN, _single_keys(handle))
    loop.add_reader(handle, read)
    try:
        yield
    finally:
        loop.remove_reader(handle)
        # Keys that were pressed meanwhile are not for the shell.
        termios.tcsetattr(handle, termios.TCSAFLUSH, before)


def _single_keys(handle: int) -> list[Any]:
    mode: list[Any] = termios.tcgetattr(handle)
    mode[_LFLAG] &= ~(termios.ICANON | termios.ECHO)
    # Ctrl-Z would leave the other screen and the hidden cursor to the shell.
    mode[_CC][termios.VSUSP] = b"\x00"
    return mode
