"""The embedded live store: one Valkey server that all users of a home share.

Three locks in the server's folder, all dropped by the kernel when their holder dies:

start.lock   exclusive, held while a server is started or shut down: one at a time
users.lock   shared, held by every user from join to leave; who gets it exclusively was the last
server.lock  exclusive, held by the server process itself: whether one still uses the folder

No decision rests on a pid or on the socket file: both survive a crash.
"""

import hashlib
import os
import stat
import threading
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from keypool_cli.config import ensure_home, file_lock, sync_folder
from keypool_cli.engine import power_cut, valkey_process
from keypool_cli.engine.valkey_process import Line
from keypool_cli.errors import NotPermittedError, UnreachableError

FOLDER = "valkey"
SOCKET = "valkey.sock"

SOCKET_PATH_BYTES = 100
"""The longest socket path used; systems allow 103 (macOS) or 107 (Linux) bytes."""

START_S = 10.0
"""How long a start, a shutdown, or waiting for another process to finish either, may take."""


class EmbeddedServer:
    """One user's share of the embedded server of a home.

    Threads may share one; a forked process needs its own, for locks are shared across a fork.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home.resolve() / FOLDER
        self._socket = socket_path(self._folder)
        self._users: int | None = None
        self._line: Line | None = None
        self._guard = threading.RLock()
        self._leaving = threading.Event()

    def join(self) -> str:
        """Become a user, starting the server if none runs; its ``unix://`` URL.

        Raises UnreachableError if no server can be started or the one there does not answer,
        NotPermittedError if the folders are not this user's own.
        """
        with self._guard:
            if self._users is None:
                self._enter()
            else:
                self.ensure_running()
        return f"unix://{quote(str(self._socket))}"

    def ensure_running(self) -> None:
        """After a lost connection: have a server again, with the state that was on disk.

        Raises as :meth:`join` does.
        """
        with self._guard:
            if self._users is not None and self._folder_was_replaced():
                self.leave()
            if self._users is None:
                self._enter()
            elif not self._answers():
                with self._turn():
                    self._bring_up()

    def running(self) -> bool:
        """Whether a server answers now; starts none and holds no lock."""
        try:
            line = valkey_process.call(self._socket)
        except TimeoutError:
            return False
        if line is not None:
            line.close()
        return line is not None

    def leave(self) -> None:
        """Stop being a user, or waiting to be one; the last one ends the server, not its state."""
        self._leaving.set()
        with self._guard:
            self._leaving.clear()
            if self._users is None:
                return
            try:
                # If another process is stuck in a start, the next one to leave does it.
                with suppress(UnreachableError, FileNotFoundError):
                    self._leave_in_turn()
            finally:
                self._hang_up()
                self._let_go()

    def end_process(self, code: int) -> NoReturn:
        """Leave, and end this process at once, whatever its threads are doing."""
        with self._guard:  # to the end: no thread joins again
            try:
                self.leave()
            finally:
                os._exit(code)

    def _enter(self) -> None:
        private_folder(ensure_home(self._folder.parent) / FOLDER)
        private_folder(self._socket.parent)
        with self._turn(unless=self._leaving):
            path = self._folder / "users.lock"
            users = file_lock.shared(path, within_s=START_S, unless=self._leaving)
            try:
                self._bring_up()
            except BaseException:
                file_lock.let_go(users)
                raise
            self._users = users

    def _turn(self, *, unless: threading.Event | None = None) -> AbstractContextManager[None]:
        """The right to start or shut down the server."""
        longest_s = valkey_process.LOADING_S + START_S
        return file_lock.alone(self._folder / "start.lock", within_s=longest_s, unless=unless)

    def _bring_up(self) -> None:
        """Have a line to a server of this folder. Called with start.lock held."""
        self._hang_up()
        line = self._call()
        if line is None:
            self._start()
            line = self._await_answer()
            sync_folder(self._folder)  # with the pid file, by which power_cut knows
        self._line = line

    def _call(self) -> Line | None:
        """A line to the server of this folder; None if there is none, or it is just ending."""
        try:
            return self._reach()
        except TimeoutError:
            raise self._mute() from None

    def _reach(self) -> Line | None:
        """The same; raises TimeoutError if a server listens but does not answer."""
        try:
            line = valkey_process.call(self._socket)
            if line is not None:
                self._check_folder(line)
        except TimeoutError:
            raise
        except PermissionError as err:
            raise _not_ours(self._socket) from err
        except OSError:
            return None
        return line

    def _check_folder(self, line: Line) -> None:
        works_in = os.fsdecode(line.ask("CONFIG", "GET", "dir")[-1])
        if not self._folder.samefile(works_in):
            line.close()
            raise UnreachableError(
                f"the server at {self._socket} is not the one of {self._folder}",
                hint=f"it works in {works_in}: end it and run again",
            )

    def _mute(self) -> UnreachableError:
        return UnreachableError(
            f"the embedded Valkey at {self._socket} runs but does not answer",
            hint="run it again; if that does not help, end the process named in "
            f"{self._folder / valkey_process.PID_FILE}",
        )

    def _start(self) -> None:
        """Start a server once the one before it has ended."""
        held = file_lock.open_lock(self._folder / "server.lock")
        try:
            if not file_lock.alone_within(held, START_S):
                raise self._mute()
            power_cut.drop_what_it_tore(self._folder)
            valkey_process.start(self._folder, self._socket, held=held)
        finally:
            # Closed, not unlocked: the server holds the same lock through its own copy.
            os.close(held)

    def _await_answer(self) -> Line:
        """The line to a server just started. Raises UnreachableError if it ended instead."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with suppress(TimeoutError):  # it listens before a busy disk has taken its files
                if line := self._reach():
                    return line
            if self._server_ended():
                raise self._did_not_start()
            time.sleep(file_lock.POLL_S)
        raise self._mute()

    def _did_not_start(self) -> UnreachableError:
        log = self._folder / valkey_process.LOG_FILE
        return UnreachableError(
            f"the embedded Valkey did not start: {valkey_process.last_words(self._folder)}",
            hint=f"see {log}; if the disk is full, make room (df -h); if its files are damaged, "
            f"run: mv '{self._folder}' "
            f"'{self._folder}.damaged' (cooldowns and limits are restored from the database)",
        )

    def _server_ended(self, *, within_s: float = 0) -> bool:
        held = file_lock.open_lock(self._folder / "server.lock")
        try:
            return file_lock.alone_within(held, within_s)
        finally:
            os.close(held)

    def _leave_in_turn(self) -> None:
        if self._folder_was_replaced():
            # Nobody can come to this server any more, and the turn is the new folder's.
            self._shut_down_if_last()
            return
        with self._turn():
            if self._shut_down_if_last():
                self._server_ended(within_s=START_S)
            # Within the turn: who leaves next must not take us for a user that stays.
            self._let_go()

    def _shut_down_if_last(self) -> bool:
        """Tell the server to end if no other user is left; whether it was told."""
        if self._users is None or not file_lock.try_alone(self._users):
            return False
        if not self._answers() and not self._folder_was_replaced():
            self._line = self._call()
        if self._line is None:
            return False
        with suppress(OSError):
            # NOW and FORCE: no replica is waited for, and a full disk does not keep it alive.
            self._line.ask("SHUTDOWN", "NOSAVE", "NOW", "FORCE")
        return True

    def _answers(self) -> bool:
        if self._line is None:
            return False
        try:
            self._line.ask("PING")
        except OSError:
            self._line = None
        return self._line is not None

    def _folder_was_replaced(self) -> bool:
        """Whether someone removed the folder under its users: a new one is not ours to end."""
        try:
            there = (self._folder / "users.lock").stat()
        except FileNotFoundError:
            return True
        return self._users is not None and not os.path.samestat(os.fstat(self._users), there)

    def _let_go(self) -> None:
        if self._users is not None:
            file_lock.let_go(self._users)
            self._users = None

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def socket_path(folder: Path) -> Path:
    """Where the server of ``folder`` listens: there, or in a short folder of this user.

    Not below TMPDIR: two sessions of one user may have two, and must meet at one socket.
    """
    path = folder / SOCKET
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:24]
    return Path("/tmp") / f"keypool-{os.getuid()}" / f"{name}.sock"  # noqa: S108  # checked: 0700, ours


def private_folder(folder: Path) -> None:
    """Make ``folder`` with mode 0700, or check that it is this user's own and nobody else's."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as err:
        raise _not_ours(folder) from err
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise _not_ours(folder)
    if stat.S_IMODE(found.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise NotPermittedError(
            f"others may use the folder {folder}",
            hint=f"run: chmod 700 '{folder}'",
        )


def _not_ours(path: Path) -> NotPermittedError:
    return NotPermittedError(
        f"{path} is not this user's own",
        hint="run as the user who owns it, or name another folder with KEYPOOL_HOME",
    )
