"""What is asked of a person, and what is read in a person's stead."""

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keypool_cli.errors import KeypoolError, StoppedError, UsageError


def confirm(question: str, *, yes: bool) -> None:
    """Return if the answer is yes; raises UsageError where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "this asks for confirmation, and there is no terminal", hint="add --yes to go ahead"
        )
    with _ended_line():
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        answer = sys.stdin.readline()
        if not answer:
            raise EOFError
    if answer.strip().lower() not in {"y", "yes"}:
        raise KeypoolError("nothing was changed")


def hidden(prompt: str) -> str:
    """Ask for a secret without showing it."""
    if not sys.stdin.isatty():
        raise UsageError(
            "there is no terminal to ask for the secret",
            hint="give it with --from-stdin, --from-env VAR or --from-file PATH",
        )
    with _ended_line():
        return getpass.getpass(f"{prompt}: ", stream=sys.stderr)


@contextmanager
def _ended_line() -> Iterator[None]:
    """Where Ctrl-C or Ctrl-D comes in place of an answer: end the question's line, and stop."""
    try:
        yield
    except (KeyboardInterrupt, EOFError) as err:
        sys.stderr.write("\n")
        kind = StoppedError if isinstance(err, KeyboardInterrupt) else KeypoolError
        raise kind("nothing was changed") from None


def stdin_secret(prompt: str) -> str:
    """All of stdin, or, where a person types it, a line that is not shown."""
    return hidden(prompt) if sys.stdin.isatty() else stdin_text()


def stdin_text() -> str:
    """All of stdin."""
    return _decoded(sys.stdin.buffer.read())


def given_text(path: str) -> str:
    """A file's text; ``-`` is stdin."""
    return stdin_text() if path == "-" else file_text(path)


def env_text(variable: str) -> str:
    """An environment variable; raises UsageError if it is not set."""
    if not variable.isidentifier():  # its value in place of its name: it is not repeated
        raise UsageError(
            "--from-env takes the name of a variable", hint="without $: --from-env GEMINI_KEY"
        )
    if variable not in os.environ:
        raise UsageError(f"the environment variable {variable} is not set")
    return os.environ[variable]


def file_text(path: str) -> str:
    """A file's text; raises UsageError if it cannot be read."""
    try:
        return _decoded(Path(path).read_bytes())
    except OSError as err:
        raise UsageError(f"{path} cannot be read: {err.strerror}") from err


def _decoded(data: bytes) -> str:
    # What is not UTF-8 becomes a character that no secret may hold; an error would show it.
    return data.decode("utf-8-sig", "replace")
