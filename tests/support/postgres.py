"""A PostgreSQL server for tests, started from installed binaries, and databases on it."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg


def postgres_binaries() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextmanager
def private_server(binaries: Path, folder: Path) -> Iterator[str]:
    # initdb refuses root; the server then belongs to an account that owns nothing else.
    account = "nobody" if os.geteuid() == 0 else None
    if account:
        shutil.chown(folder, account)
    data = folder / "data"
    initdb: list[str | Path] = [
        binaries / "initdb",
        "-D",
        data,
        "-U",
        "keypool",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "-N",
    ]
    subprocess.run(initdb, check=True, user=account, cwd=folder, capture_output=True)
    options = ["-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
    command: list[str | Path] = [binaries / "postgres", "-D", data, *options]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, user=account, cwd=folder, stderr=quiet) as server:
        try:
            url = f"postgresql+psycopg://keypool@/postgres?host={folder}"
            _wait_for(url)
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing in it is kept
            server.wait(30)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(_dsn(url)).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # a server that starts can only be asked again
        else:
            return


@contextmanager
def new_database(server_url: str, template: str = "template1") -> Iterator[str]:
    name = f"keypool_{uuid4().hex}"
    base, _, query = server_url.partition("?")
    with psycopg.connect(_dsn(server_url), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield f"{base.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _dsn(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
