"""Calls a second through the proxy, beside a bare forwarder and the upstream itself.

PYTHONPATH=. python tests/benchmarks/proxy/measure.py [SECONDS] [CONNECTIONS]

Needs wrk. Everything runs on this machine: upstream (nginx where it is installed, else a constant
answer of the same server as the daemon's), the bare forwarder (the daemon's server and HTTP
client, and nothing else), the least that an exact proxy can do, and the daemon with one worker and
one project without limits.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.daemon import FLASH, a_home
from tests.support.servers import free_port
from tests.support.valkey import private_valkey

HERE = Path(__file__).parent
PATH = f"/v1beta/models/{FLASH}:generateContent"
SCRIPT = """
wrk.method = "POST"
wrk.body = '{"contents":[{"role":"user","parts":[{"text":"Tell me a short story about a fox."}]}]}'
wrk.headers["content-type"] = "application/json"
wrk.headers["x-goog-api-key"] = "TOKEN"
"""


@contextmanager
def served(app: str, *args: str) -> Iterator[str]:
    """The base URL of one of the apps beside this file, in a process of its own."""
    command = [sys.executable, str(HERE / "apps.py"), app, *args]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


@contextmanager
def nginx(folder: Path) -> Iterator[str]:
    """Nginx with a constant answer."""
    port = free_port()
    body = (HERE / "answer.json").read_text().strip().replace("'", "")
    (folder / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;"
        "events {} http { access_log off; keepalive_requests 1000000; server {"
        f"listen 127.0.0.1:{port}; default_type application/json; return 200 '{body}'; }} }}"
    )
    process = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def measured(url: str, token: str, folder: Path, seconds: int, connections: int) -> str:
    """What wrk found on Gemini's own path."""
    return rate_of(url + PATH, SCRIPT.replace("TOKEN", token), folder, seconds, connections)


def rate_of(url: str, text: str, folder: Path, seconds: int, connections: int) -> str:
    """What wrk found with a script: calls a second, latency, and answers that were no 2xx."""
    script = folder / "post.lua"
    script.touch(0o600)
    script.write_text(text)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "-s", str(script)]
    said = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+(\S+)", said)
    shares = dict(re.findall(r"(50|99)%\s+(\S+)", said))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return (
        f"{float(rate[1]) if rate else 0:8.0f}/s  p50 {shares.get('50')}  p99 {shares.get('99')}"
        + (f"  no 2xx: {bad[1]}" if bad else "")
    )


def main() -> None:
    """Measure each twice, in turn."""
    seconds, connections = (
        int(each) for each in (*sys.argv[1:], *("5", "32")[len(sys.argv) - 1 :])
    )
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        constant = running.enter_context(served("constant"))
        if shutil.which("nginx"):
            constant = running.enter_context(nginx(folder))
        bare = running.enter_context(served("bare", constant))
        store = running.enter_context(private_valkey(folder))
        home = running.enter_context(a_home(folder / "home", upstream=constant))
        least = running.enter_context(served("least", constant, store, home.token))
        home.add_project("p", rpm=10**9)
        daemon = running.enter_context(home.daemon())
        urls = {"upstream": constant, "bare": bare, "least": least, "proxy": daemon.url}
        for _ in range(2):
            for name, url in urls.items():
                found = measured(url, home.token, folder, seconds, connections)
                print(f"{name:8} {found}", flush=True)


if __name__ == "__main__":
    main()
