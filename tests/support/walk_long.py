"""Walks that last as long as they are told to.

python -m tests.support.walk_long FIRST LAST --steps 300 --projects 400 --pools 5
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.support.live_engine import live_engine
from tests.support.valkey import private_valkey
from tests.support.walk import Walk


def main() -> None:
    """Walk seeds from the command line; tells what was done, and of the first that fails."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("first", type=int, help="first seed")
    parser.add_argument("last", type=int, help="the seed before which to end")
    for name, usual in (("--steps", 300), ("--projects", 400), ("--pools", 5)):
        parser.add_argument(name, type=int, default=usual)
    words, counts = parser.parse_args(), Counter[str]()
    with (
        tempfile.TemporaryDirectory() as folder,
        private_valkey(Path(folder)) as url,
        live_engine(url) as live,
    ):
        for seed in range(words.first, words.last):
            walk = Walk(live, seed, size=words.projects, pool_count=words.pools)
            try:
                walk.walk(words.steps)
            except BaseException as err:
                err.add_note(f"seed {seed}: {walk.world.kind}, waits {walk.world.waits}")
                raise
            counts += walk.counts
    sys.stdout.write(f"{dict(counts)}\n")


if __name__ == "__main__":
    main()
