"""The home folder, and the key that seals secrets in the registry."""

import base64
import binascii
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from keypool_cli.config.settings import Settings
from keypool_cli.errors import NotPermittedError, UsageError

KEY_BYTES = 32
KEY_FILE = "master.key"

OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
OTHERS_MAY_USE = stat.S_IRWXG | stat.S_IRWXO
# A mounted secret of a container often belongs to root and is read through its group.
_STRANGERS_MAY_USE = stat.S_IWGRP | stat.S_IRWXO

OWNERS_HOME = "run as the user who owns it, or name another with KEYPOOL_HOME"


def ensure_home(home: Path) -> Path:
    """The data folder, made with mode 0700 if it is missing.

    Raises NotPermittedError if others may write in it, this user may not use it, or it cannot be
    made.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = home.stat().st_mode
    except OSError as err:
        raise NotPermittedError(
            f"the data folder {home} cannot be made: {err.strerror}",
            hint="name another with KEYPOOL_HOME",
        ) from err
    if mode & OTHERS_MAY_WRITE:
        raise NotPermittedError(
            f"others may write in the data folder {home}",
            hint=f"run: chmod 700 '{home}' (or name a folder of its own with KEYPOOL_HOME)",
        )
    if not os.access(home, os.X_OK):
        raise NotPermittedError(f"this user may not use the data folder {home}", hint=OWNERS_HOME)
    return home


def has_master_key(settings: Settings) -> bool:
    """Whether a master key is there, without making one."""
    if settings.master_key is not None or settings.master_key_file is not None:
        return True
    try:
        return (settings.home / KEY_FILE).exists()
    except OSError:  # reading it will say why
        return True


def master_key(settings: Settings) -> bytes:
    """The 32 bytes that seal secrets: from the environment, a named file, or home's key file.

    The key file in home is made on first use. Raises UsageError if the key is malformed or the
    named file is missing, NotPermittedError if others may read the file.
    """
    if settings.master_key is not None:
        return _decoded(settings.master_key.text, settings.origin("master_key"))
    if settings.master_key_file is not None:
        file = settings.master_key_file
        return _decoded(_read(file, _STRANGERS_MAY_USE), str(file))
    file = ensure_home(settings.home) / KEY_FILE
    if not file.exists():
        _create(file)
    return _decoded(_read(file, OTHERS_MAY_USE), str(file))


def _decoded(text: str, origin: str) -> bytes:
    """A key written as 64 hex digits, or as base64 in either alphabet, padded or not."""
    word = text.strip()
    key = b""
    with suppress(ValueError, binascii.Error):
        if len(word) == 2 * KEY_BYTES:
            key = bytes.fromhex(word)
        else:
            plain = word.rstrip("=").replace("-", "+").replace("_", "/")
            key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    if len(key) != KEY_BYTES:
        raise UsageError(
            f"the master key is not 32 bytes in hex or base64 ({origin})",
            hint="put back the one that the secrets were sealed with; for a registry without "
            "secrets make one: openssl rand -base64 32",
        )
    return key


def _read(file: Path, forbidden: int) -> str:
    """The text of a key file. forbidden: mode bits that must not be set."""
    try:
        with file.open(encoding="ascii") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if mode & forbidden:
                raise NotPermittedError(
                    f"others may read or change the master key: {file} has mode {mode:04o}",
                    hint=f"run: chmod 600 '{file}'",
                )
            return stream.read(1024)
    except OSError as err:
        told = f"the master key file {file} cannot be read: {err.strerror}"
        if isinstance(err, PermissionError):
            raise NotPermittedError(told, hint="run as the user who owns it") from err
        raise UsageError(told, hint="check KEYPOOL_MASTER_KEY_FILE") from err
    except UnicodeDecodeError:
        raise UsageError(f"the master key file {file} is not text (hex or base64)") from None


def _create(file: Path) -> None:
    """Make the key file whole or not at all; if another process was first, its key stays.

    Written under another name and then linked: a reader never sees half a key, and a crash
    leaves none behind.
    """
    draft = file.with_name(f"{KEY_FILE}.{os.getpid()}.{secrets.token_hex(4)}")
    text = base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink()
    sync_folder(file.parent)  # secrets sealed by a lost key are lost too


def sync_folder(folder: Path) -> None:
    """Make the names of files in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
