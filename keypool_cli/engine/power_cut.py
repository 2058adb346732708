"""Whether the machine went down under a server: what it had not flushed to disk is lost then.

A process may die as it likes: the kernel keeps what it wrote. So the embedded server writes before
it answers and never waits for the disk, and its state is dropped after a crash of the machine.
"""

import os
import shutil
import subprocess
from pathlib import Path

from keypool_cli.engine.valkey_process import PID_FILE, STATE_FOLDER
from keypool_cli.errors import UnreachableError

_BOOT_FILE = "boot-id"

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def drop_what_it_tore(folder: Path) -> None:
    """Before a start: drop the state if this boot of the machine is not the one it was written in.

    A server that ended in order, which flushes its state, has taken its pid file away. Raises
    UnreachableError if the folder cannot be written to.
    """
    kept, boot = folder / _BOOT_FILE, boot_id()
    if boot and kept.exists() and _read(kept) == boot:
        return
    try:
        if (folder / PID_FILE).exists() and (folder / STATE_FOLDER).exists():
            shutil.rmtree(folder / STATE_FOLDER)
        with kept.open("w") as file:
            file.write(boot)
            file.flush()
            os.fsync(file.fileno())
    except OSError as err:
        raise UnreachableError(
            f"the embedded Valkey cannot start: {folder}: {err.strerror}",
            hint="if the disk is full, make room (df -h)",
        ) from err


def boot_id() -> str:
    """What tells this boot of the machine from any other; empty if the system does not say."""
    if _BOOT_ID.exists():
        return _read(_BOOT_ID)
    words = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
    try:
        told = subprocess.run(words, capture_output=True, text=True, check=True)  # noqa: S603  # ours
    except (OSError, subprocess.CalledProcessError):
        return ""
    return told.stdout.strip()


def _read(path: Path) -> str:
    return path.read_text(errors="replace").strip()
