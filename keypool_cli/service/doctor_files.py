"""The data folder and the files in it: who else may read or change them."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

import platformdirs

from keypool_cli.config import KEY_FILE, Settings
from keypool_cli.config.loading import FILE_NAME
from keypool_cli.config.master_key import OTHERS_MAY_USE, OTHERS_MAY_WRITE, OWNERS_HOME
from keypool_cli.errors import ExitCode
from keypool_cli.service.doctor_finding import Finding, ok, problem, warning

CHECK = "files"
_PRIVATE = (KEY_FILE, "keypool.db", "keypool.db-wal", "keypool.db-shm")


def file_findings(settings: Settings) -> list[Finding]:
    """What is wrong with modes; one good finding where nothing is."""
    found = [*_home(settings), *_in_home(settings.home), *_config_file()]
    return found or [ok(CHECK, f"{settings.home} and its secrets are yours alone")]


def is_made(home: Path) -> bool:
    """Whether there is a data folder; one that cannot be looked for is, and a finding says so."""
    try:
        return home.exists()
    except OSError:
        return True


def _home(settings: Settings) -> Iterator[Finding]:
    home = settings.home
    try:
        mode = stat.S_IMODE(home.stat().st_mode)
    except OSError as err:
        text = f"{home} cannot be looked at: {err.strerror}"
        yield problem(CHECK, text, OWNERS_HOME, ExitCode.NOT_PERMITTED)
        return
    if not os.access(home, os.X_OK):
        text = f"this user may not use {home}"
        yield problem(CHECK, text, OWNERS_HOME, ExitCode.NOT_PERMITTED)
    elif not os.access(home, os.W_OK) and _holds_a_store(settings):
        text = f"this user may not write in {home}: nothing can be changed"
        yield problem(CHECK, text, OWNERS_HOME, ExitCode.NOT_PERMITTED)
    if mode & OTHERS_MAY_USE:
        yield _open_to_others(home, mode)


def _holds_a_store(settings: Settings) -> bool:
    return settings.redis_url is None or str(settings.home) in settings.database_url


def _open_to_others(home: Path, mode: int) -> Finding:
    remedy = f"run: chmod 700 {quote(str(home))}"
    if mode & OTHERS_MAY_WRITE:
        text = f"others may write in {home} (mode {mode:04o})"
        return problem(CHECK, text, remedy, ExitCode.NOT_PERMITTED)
    return warning(CHECK, f"others may look into {home} (mode {mode:04o})", remedy)


def _in_home(home: Path) -> Iterator[Finding]:
    folder = home / "valkey"
    for path, right in [*((home / name, "600") for name in _PRIVATE), (folder, "700")]:
        mode = _mode(path)
        if mode is not None and mode & OTHERS_MAY_USE:
            text = f"others may read or change {path} (mode {mode:04o})"
            yield problem(CHECK, text, f"run: chmod {right} '{path}'", ExitCode.NOT_PERMITTED)


def _config_file() -> Iterator[Finding]:
    """The user's own settings may hold a master key, or a database's password."""
    file = platformdirs.user_config_path("keypool") / FILE_NAME
    mode = _mode(file)
    if mode is not None and mode & OTHERS_MAY_USE:
        yield warning(
            CHECK, f"others may read {file} (mode {mode:04o})", f"run: chmod 600 '{file}'"
        )


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
