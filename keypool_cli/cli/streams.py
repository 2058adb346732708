"""The three streams of a run, where one of them was closed or takes nothing more."""

import errno
import os
import sys
from io import TextIOWrapper

_UTF_8 = {"utf-8", "utf8"}
_UNWRITTEN = {errno.ENOSPC, errno.EBADF, errno.EIO, errno.EDQUOT, errno.EFBIG}


def fill_closed_streams() -> None:
    """Put something in the place of closed streams, whose numbers the next open file would get.

    Stdin is then empty, what is written to stdout fails, and words on stderr are lost.
    """
    for number, mode, how in ((0, "r", os.O_RDONLY), (1, "w", os.O_RDONLY), (2, "w", os.O_WRONLY)):
        name = ("stdin", "stdout", "stderr")[number]
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, how)  # gets the lowest number that is free: this one
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - to stay open


def write_utf_8() -> None:
    """Print UTF-8 whatever the locale: a name of another script must not end a run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.encoding.lower() not in _UTF_8:
            stream.reconfigure(encoding="utf-8")


def is_unwritten(err: BaseException) -> bool:
    """Whether an error says that what was printed could not be written; a file has its name."""
    return isinstance(err, OSError) and err.filename is None and err.errno in _UNWRITTEN


def drop_stdout() -> None:
    """Write nothing more there; the interpreter must not try to flush again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
