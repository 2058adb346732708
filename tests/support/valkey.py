"""Real servers for tests: private, on sockets in a folder of the test, gone with it."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from keypool_cli.engine.valkey_process import call, server_binary


@contextmanager
def private_valkey(
    folder: Path,
    *,
    aof: bool = False,
    options: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """A Valkey server of its own in ``folder``; yields its ``unix://`` URL.

    aof: keep an append-only file, for tests that start a second server on the same folder. It has
    what was answered, however slow the disk: Valkey never waits for that.
    options: further settings of Valkey by name.
    """
    with _short_folder(folder) as short:
        path = short / "s"
        settings = {
            "port": "0",
            "unixsocket": str(path),
            "dir": str(folder),
            "save": "",
            "appendonly": "yes" if aof else "no",
            "appendfsync": "no",
            "loglevel": "warning",
            **(options or {}),
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        with (folder / "valkey.log").open("ab") as log:
            process = subprocess.Popen([server_binary(), *words], stdout=log, stderr=log)
        try:
            wait_for_answer(path, process)
            yield f"unix://{path}"
        finally:
            process.kill()
            process.wait()


def wait_for_answer(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Return once the server at ``path`` answers; fail if it ended or takes 30 s."""
    deadline = time.monotonic() + 30
    while (line := call(path)) is None:
        assert process.poll() is None, "the server ended at once: see valkey.log"
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.002)
    line.close()


@contextmanager
def _short_folder(folder: Path) -> Iterator[Path]:
    """``folder``, or one with a shorter name where a socket's path would grow too long."""
    if len(str(folder)) < 90:
        yield folder
        return
    short = Path(tempfile.mkdtemp(prefix="kp-"))
    try:
        yield short
    finally:
        shutil.rmtree(short)
