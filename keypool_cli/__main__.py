"""Where ``keypool`` and ``python -m keypool_cli`` begin."""

import gc
import signal
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
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:
        # As an exception it may be raised in a callback of the import system, which forgets it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from keypool_cli.cli.main import main as command_line  # noqa: PLC0415

    signal.signal(signal.SIGINT, interrupt)
    command_line()


if __name__ == "__main__":
    main()
