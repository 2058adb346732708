"""Run keypool's command line: in this process, as a process of its own, and in a terminal."""

import codecs
import fcntl
import io
import os
import pty
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from keypool_cli.cli.main import main

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "keypool_cli"]


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.out)

    @property
    def rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.splitlines()]


class Keypool:
    """The real ``main()``, in this process."""

    def __init__(self, monkeypatch, capsys) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *words: str, stdin: str = "") -> Result:
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["keypool", *words])
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = self._capsys.readouterr()
        return Result(code, printed.out, printed.err)

    def line(self, text: str, *, stdin: str = "") -> Result:
        """Run a command line as it is written in a shell."""
        return self(*shlex.split(text)[1:], stdin=stdin)

    def add(self, name: str, project: str, *words: str) -> Result:
        """Store a key with a secret made from its name."""
        stdin = secret_of(name)
        return self("add", name, "--project", project, "--from-stdin", *words, stdin=stdin)


def secret_of(name: str) -> str:
    """A secret in the form of a Gemini key."""
    return "AIzaSy" + name.encode().hex().ljust(33, "x")[:33]


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a process that uses ``home``; a terminal's size is the terminal's own."""
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return {**kept, "KEYPOOL_HOME": str(home), "PYTHONPATH": str(ROOT), **more}


def process(home: Path, *words: str, stdin: str = "", **more: str) -> Result:
    """Run the command line as a process of its own."""
    done = subprocess.run(
        [*COMMAND, *words],
        input=stdin,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
        env=environment(home, **more),
    )
    return Result(done.returncode, done.stdout, done.stderr)


class Terminal:
    """A process in a pseudo-terminal, whose mode was first_mode before the process began."""

    def __init__(
        self, running: subprocess.Popen[bytes], master: int, first_mode: list[Any]
    ) -> None:
        self.running, self.first_mode = running, first_mode
        self._master = master
        # What is read at once may end within a character.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.text = ""

    def read_until(self, holds: Callable[[str], bool], *, seconds: float = 30) -> str:
        """Read until what was printed so far is as wanted, or the process ends."""
        deadline = time.monotonic() + seconds
        while not holds(self.text):
            assert time.monotonic() < deadline, f"not printed in time: {self.text!r}"
            if not select.select([self._master], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the other end is closed
                break
            self.text += self._decoder.decode(data)
        return self.text

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def resize(self, columns: int, lines: int) -> None:
        _set_size(self._master, columns, lines)
        self.running.send_signal(signal.SIGWINCH)

    @property
    def mode(self) -> list[Any]:
        """How the terminal treats what is typed: echo, line editing, signals."""
        return termios.tcgetattr(self._master)

    def end(self) -> int:
        """Read to the end; the exit code."""
        self.read_until(lambda _: False)
        return self.running.wait(timeout=60)


@contextmanager
def terminal(
    home: Path, *words: str, size: tuple[int, int] = (80, 24), **more: str
) -> Iterator[Terminal]:
    """Run the command line in a terminal of so many columns and lines."""
    master, slave = pty.openpty()
    _set_size(master, *size)
    first_mode = termios.tcgetattr(master)
    names: Mapping[str, str] = {"TERM": "xterm-256color", **more}
    running = subprocess.Popen(
        [*COMMAND, *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        # Only the controlling terminal turns Ctrl-C into a signal.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no threads run
        env=environment(home, **names),
    )
    os.close(slave)
    try:
        yield Terminal(running, master, first_mode)
    finally:
        running.kill()
        running.wait()
        os.close(master)


def _set_size(handle: int, columns: int, lines: int) -> None:
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
