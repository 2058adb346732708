"""``python -m keypool_cli.simulator``: the simulator as a process, for tests and load runs.

When it is ready it prints one JSON line, ``{"url": …}``. Without --config it is the default world.
"""

import argparse
import sys
from pathlib import Path

import msgspec
import uvloop

from keypool_cli.errors import KeypoolError
from keypool_cli.http.address import Address
from keypool_cli.http.server import end_process
from keypool_cli.simulator.app import run
from keypool_cli.simulator.world import default_world, load_world


def main() -> None:
    """Serve until a signal; exits as the error says when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m keypool_cli.simulator")
    parser.add_argument("--config", type=Path, help="a world as JSON or TOML")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 lets the system choose")
    wanted = parser.parse_args()
    try:
        world = load_world(wanted.config) if wanted.config else default_world()
        uvloop.run(run(world, host=wanted.host, port=wanted.port, on_ready=_say_ready))
    except KeypoolError as err:
        sys.stderr.write(f"simulator: {err}\n")
        raise SystemExit(err.exit_code) from err
    end_process()


def _say_ready(address: Address) -> None:
    sys.stdout.write(msgspec.json.encode({"url": address.url}).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
