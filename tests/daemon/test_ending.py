"""A daemon that is told to end, at whatever moment, ends in time and leaves no live store behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx2
import pytest
import redis

from keypool_cli.config import file_lock
from keypool_cli.engine.embedded import EmbeddedServer
from tests.support.daemon import ROOT, a_home, eventually
from tests.support.serving import serving

pytestmark = pytest.mark.e2e

END_S = 20.0
"""How long an end may take here; the kernel's alarm comes after 4 s."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with a_home(tmp_path_factory.mktemp("ending") / "home") as made:
        made.add_project("p", rpm=1)
        assert made.token
        yield made


@contextmanager
def starting(home, workers):
    """A daemon whose live store has just been started."""
    words = ["serve", "--port", "0", "--workers", workers]
    process = subprocess.Popen(
        [sys.executable, "-m", "keypool_cli", *words],
        env=home.env,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        eventually(lambda: home.valkey_pid() is not None, within_s=30)
        yield process
    finally:
        process.kill()
        process.wait(END_S)


@contextmanager
def store(home):
    """The live store, by a user of its own."""
    server = EmbeddedServer(home.path)
    server.join()
    try:
        with redis.Redis(unix_socket_path=str(home.socket)) as live:
            yield live
    finally:
        server.leave()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=["term", "int", "hup"]
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_daemon_told_to_end_as_it_starts_leaves_the_store(home, workers, number):
    for later_s in (0.0, 0.05):
        with store(home) as live:
            live.set("kept", later_s)
        with starting(home, workers) as process:
            time.sleep(later_s)
            process.send_signal(number)
            assert process.wait(END_S) == 0
        assert home.valkey_pid() is None
        with store(home) as live:
            assert float(live.get("kept")) == later_s


@contextmanager
def mute(home):
    """A live store that does not answer."""
    valkey = home.valkey_pid()
    os.kill(valkey, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(valkey, signal.SIGCONT)


@contextmanager
def stuck_start(home):
    """Another process that starts the live store, and does not come to an end."""
    with file_lock.alone(home.path / "valkey" / "start.lock", within_s=END_S):
        yield


@pytest.mark.parametrize("trouble", [mute, stuck_start])
def test_a_daemon_that_cannot_leave_the_store_ends_all_the_same(home, trouble):
    with starting(home, "1") as process, trouble(home):
        process.terminate()
        process.wait(END_S)
    with store(home):
        pass
    assert home.valkey_pid() is None


def test_workers_whose_parent_was_killed_leave_the_store(home):
    with serving(home, "--workers", "2") as served:
        served.process.kill()
        eventually(lambda: home.valkey_pid() is None, within_s=END_S)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["int", "hup"])
def test_an_interrupt_from_the_terminal_lets_calls_under_way_end(tmp_path, workers, number):
    """A terminal sends it to the daemon and to its workers alike."""
    with a_home(tmp_path / "home", window_s=1) as home:
        home.add_project("p", rpm=1)
        with home.daemon(workers=int(workers)) as daemon:
            daemon.granted()
            answers = []
            parked = threading.Thread(target=lambda: answers.append(daemon.lease(wait_s=15)))
            parked.start()
            eventually(lambda: answers or daemon.waiting())
            os.killpg(daemon.process.pid, number)
            parked.join(20)
            assert [each.status_code for each in answers] == [201]
            assert daemon.process.wait(END_S) == 0
        assert home.valkey_pid() is None


@pytest.mark.parametrize(("module", "words"), [("typer", ["list"]), ("uvloop", ["serve"])])
def test_an_interrupt_while_it_imports_ends_it_at_once(home, tmp_path, module, words):
    """As an exception it may be raised where Python forgets it."""
    code = "import sys, time\nprint('importing', flush=True)\ntime.sleep(20)\n"
    (tmp_path / f"{module}.py").write_text(code)
    with subprocess.Popen(
        [sys.executable, "-m", "keypool_cli", *words],
        env={**home.env, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (-signal.SIGINT, b"")


def test_one_that_was_started_to_outlive_its_terminal_does(home):
    words = ["serve", "--port", "0"]
    with subprocess.Popen(
        ["nohup", sys.executable, "-m", "keypool_cli", *words],
        env=home.env,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert httpx2.get(f"{url}/healthz").status_code == 200
        process.terminate()
        assert process.wait(END_S) == 0
