"""``demo``: the whole thing at work."""

from typing import Annotated

import typer

from keypool_cli.cli import output, wiring
from keypool_cli.cli.options import Json, examples
from keypool_cli.errors import KeypoolError


def demo(
    ctx: typer.Context,
    *,
    as_json: Json = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the scratch home.")] = False,
) -> None:
    """Watch all of it at work against a simulated Gemini."""
    import shutil
    import tempfile
    from pathlib import Path

    from rich.console import Console

    from keypool_cli.demo.run import run
    from keypool_cli.demo.view import summary, watching

    # The end is what counts where it is read by a program; the play goes to stderr then.
    console = Console(stderr=as_json)
    home = Path(tempfile.mkdtemp(prefix="keypool-demo-"))
    try:
        with watching(console) as show:
            ending = wiring.run(run(home, show))
    finally:
        if keep:
            output.hint(ctx, f"to look around: keypool --home {home} status")
        else:
            shutil.rmtree(home, ignore_errors=True)
    if as_json:
        output.print_json(ending.as_json())
    else:
        summary(console, ending)
    if not all(each.kept for each in ending.promises):
        raise KeypoolError("a promise was broken", hint="see the lines marked BROKEN")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog=examples("keypool demo"))(demo)
