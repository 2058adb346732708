"""``keypool``: the verbs, the options before them, and how every run ends."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from keypool_cli.cli import (
    bulk,
    client,
    config,
    demo,
    events,
    explain,
    keys,
    pool,
    project,
    quota,
    reset,
    serve,
    status,
)
from keypool_cli.cli.wiring import Session
from keypool_cli.errors import ExitCode, KeypoolError

app = typer.Typer(
    help="Administer a shared pool of Gemini API keys.",
    epilog="New here? keypool demo; then: keypool add NAME --project PROJECT",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for verbs in (keys, bulk, reset, status, explain, events, config, serve, demo):
    verbs.register(app)
for noun, group in (
    ("quota", quota.group),
    ("project", project.group),
    ("pool", pool.group),
    ("client", client.group),
    ("config", config.group),
):
    app.add_typer(group, name=noun)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"keypool {version('keypool')}")
        except PackageNotFoundError:  # run from a source tree
            typer.echo("keypool (not installed)")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def before_the_verb(
    ctx: typer.Context,
    *,
    home: Annotated[Path | None, typer.Option(help="Data folder.", metavar="DIR")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No words on stderr.")] = False,
    color: Annotated[
        bool | None, typer.Option("--color/--no-color", help="Colour, whatever the terminal.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show it.")
    ] = False,
) -> None:
    """Keep the options that stand before the verb."""
    del debug, version
    ctx.obj = Session(home=home, quiet=quiet, color=color)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def main() -> NoReturn:
    """Run the command line; always leaves by SystemExit."""
    words = sys.argv[1:]
    try:
        code = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough; the interpreter must not try to flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = int(ExitCode.FAILURE)
    raise SystemExit(code)


def _run(words: Sequence[str]) -> int:
    try:
        # Not standalone: Typer then neither prints nor ends, and every error is told in one way.
        ended = app(status.with_watch_interval(words), prog_name="keypool", standalone_mode=False)
    except KeypoolError as err:
        if "--debug" in words:
            raise
        return _tell(words, str(err), err.hint, err.exit_code)
    except typer.Abort:
        return _tell(words, "stopped: nothing was changed", None, ExitCode.FAILURE)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as err:
        if "--debug" in words:
            raise
        return _tell_unforeseen(words, err)
    return ended if isinstance(ended, int) else ExitCode.OK


def _tell_unforeseen(words: Sequence[str], err: Exception) -> int:
    from typer.exceptions import TyperException

    if isinstance(err, TyperException):
        path = getattr(getattr(err, "ctx", None), "command_path", "keypool")
        return _tell(words, err.format_message(), f"see: {path} --help", ExitCode(err.exit_code))
    about = str(err).partition("\n")[0]
    text = f"unexpected {type(err).__name__}" + (f": {about}" if about else "")
    return _tell(words, text, "run again with --debug before the verb", ExitCode.FAILURE)


def _tell(words: Sequence[str], message: str, hint: str | None, code: ExitCode) -> int:
    from keypool_cli.cli.output import clean
    from keypool_cli.core.redact import redact

    shown = clean(redact(message))
    advice = None if hint is None else clean(redact(hint))
    with suppress(BrokenPipeError):
        if "--json" in words:
            sys.stderr.write(_as_json(shown, advice, code))
        else:
            sys.stderr.write(f"keypool: {shown}\n")
            sys.stderr.write("" if advice is None else f"hint: {advice}\n")
    return code


def _as_json(message: str, hint: str | None, code: ExitCode) -> str:
    import json

    error = {"message": message, "hint": hint, "exit_code": int(code)}
    return json.dumps({"schema": 1, "error": error}, ensure_ascii=False) + "\n"
