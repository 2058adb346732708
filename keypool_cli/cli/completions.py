"""``completions``: scripts that complete verbs, options and names in bash, zsh and fish."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from keypool_cli.cli import output
from keypool_cli.cli.options import Json, examples
from keypool_cli.errors import KeypoolError, UsageError

FILES = {"bash": "keypool.bash", "zsh": "_keypool", "fish": "keypool.fish"}
"""By shell: the name under which its completion system looks for the script."""


def completions(
    ctx: typer.Context,
    shell: Annotated[
        Literal["bash", "zsh", "fish"] | None,
        typer.Argument(metavar="[SHELL]", help="bash, zsh or fish."),
    ] = None,
    *,
    write: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write all three into this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the completion script of a shell.

    bash: eval "$(keypool completions bash)". fish: keypool completions fish | source. zsh: write
    them to a folder of fpath, before compinit.
    """
    if (shell is None) == (write is None):
        raise UsageError("name a shell, or --write DIR", hint="keypool completions bash|zsh|fish")
    if write is not None:
        written = _write(write)
        if as_json:
            output.print_json({"files": [str(each) for each in written]})
        else:
            output.print_table(ctx, ("FILE",), [(each,) for each in written])
    elif shell is not None:
        text = script_of(shell)
        if as_json:
            output.print_json({"shell": shell, "script": text})
        else:
            typer.echo(text, nl=False)


def script_of(shell: str) -> str:
    """The script of a shell, for the command line as it is."""
    from importlib.resources import files

    from keypool_cli.cli import completion_bash, completion_fish, completion_zsh
    from keypool_cli.cli.command_tree import entries, holders
    from keypool_cli.cli.verbs import whole

    case, holding = {
        "bash": (completion_bash.case, completion_bash.holding),
        "zsh": (completion_zsh.case, completion_zsh.holding),
        "fish": (completion_fish.case, completion_fish.holding),
    }[shell]
    tree = entries(whole())
    cases = "\n".join(map(case, tree))
    holds = "\n".join(holding(kind, places) for kind, places in holders(tree).items())
    script = files("keypool_cli.cli").joinpath(f"completion.{shell}").read_text("utf-8")
    return script.replace("@TABLE@", cases).replace("@HOLDS@", holds)


def _write(folder: Path) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for shell, name in FILES.items():
            (folder / name).write_text(script_of(shell), encoding="utf-8")
    except OSError as err:
        raise KeypoolError(f"{folder} cannot be written: {err.strerror}") from err
    return [folder / name for name in FILES.values()]


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(epilog=examples("keypool completions bash", "keypool completions --write scripts"))(
        completions
    )
