"""Where ``keypool`` and ``python -m keypool_cli`` begin."""

import gc
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; always leaves by SystemExit."""
    # Importing makes a million values and no garbage: to look for it was a tenth of a short run.
    # ``wiring.collect_again`` takes that back before anything that may run long.
    gc.disable()
    # Imported only now: a shell that completes a word must not wait for all the verbs.
    if sys.argv[1:2] == ["__complete"]:
        from keypool_cli.cli.complete import answer  # noqa: PLC0415

        answer(sys.argv[2:])
    from keypool_cli.cli.main import main as command_line  # noqa: PLC0415

    command_line()


if __name__ == "__main__":
    main()
