"""``keypool``: how a run begins, and how every run ends."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

import typer

from keypool_cli.cli.status import with_watch_interval
from keypool_cli.cli.streams import drop_stdout, fill_closed_streams, is_unwritten, write_utf_8
from keypool_cli.cli.verbs import app_for, asks_for_help, first_verb, options_first
from keypool_cli.errors import ExitCode, KeypoolError

_ASK_FOR_SECRETS = ("add", "rotate")


def main() -> NoReturn:
    """Run the command line; always leaves by SystemExit."""
    words = sys.argv[1:]
    fill_closed_streams()
    write_utf_8()
    try:
        code = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        drop_stdout()
        code = int(ExitCode.FAILURE)
    except OSError as err:
        drop_stdout()
        code = _tell_unwritten(words, err)
    raise SystemExit(code)


def _run(words: Sequence[str]) -> int:
    try:
        # Not standalone: Typer then neither prints nor ends, and every error is told in one way.
        meant = options_first(with_watch_interval(asks_for_help(words)))
        ended = app_for(meant)(meant, prog_name="keypool", standalone_mode=False)
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
        if "--debug" in words or is_unwritten(err):
            raise
        return _tell_unforeseen(words, err)
    return ended if isinstance(ended, int) else ExitCode.OK


def _tell_unwritten(words: Sequence[str], err: OSError) -> int:
    told = f"what it has to tell cannot be written: {err.strerror}"
    return _tell(words, told, "what it was to change is changed", ExitCode.FAILURE)


def _tell_unforeseen(words: Sequence[str], err: Exception) -> int:
    from typer.exceptions import TyperException

    if isinstance(err, TyperException):
        typed = f"keypool {first_verb(words)}".strip()
        path = getattr(getattr(err, "ctx", None), "command_path", typed)
        told = err.format_message().replace("Value error, ", "")  # pydantic's words, not ours
        if told.startswith("Got unexpected extra arg") and first_verb(words) in _ASK_FOR_SECRETS:
            told = "a secret is no word of this command: it is asked for, or read from a source"
        return _tell(words, told, f"see: {path} --help", ExitCode(err.exit_code))
    if isinstance(err, UnicodeEncodeError) and not all(map(_is_text, words)):
        told = "a word of this command is not UTF-8"
        return _tell(words, told, "no name is like that; or look at LC_ALL", ExitCode.USAGE)
    about = str(err).partition("\n")[0]
    text = f"unexpected {type(err).__name__}" + (f": {about}" if about else "")
    return _tell(words, text, "run again with --debug", ExitCode.FAILURE)


def _is_text(word: str) -> bool:
    """Whether a word was typed in UTF-8; a file's name need not be."""
    return word.encode("utf-8", "replace") == word.encode("utf-8", "surrogatepass")


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
