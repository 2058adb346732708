"""Trouble with the live store, told as ours: what it refuses, and what to do about it."""

import os
import re
import socket
import ssl
from asyncio import StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager

import redis.exceptions
from redis.exceptions import ConnectionError as LostError

from keypool_cli.config import masked_url
from keypool_cli.errors import UnreachableError

_REFUSED_CREDENTIALS = (
    redis.exceptions.AuthenticationError,
    redis.exceptions.AuthenticationWrongNumberOfArgsError,
)
_UNREACHABLE = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.InvalidResponse,
    redis.exceptions.RedisClusterException,
    redis.exceptions.ClusterError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.NoPermissionError,
    ConnectionError,
    TimeoutError,
    socket.gaierror,
)
# Answers of a server that lives, which the client has no class for: what is wrong, and what to do.
_LIVES = {
    "MISCONF": (
        "takes no writes",
        "if its disk is full, make room (df -h); else see the server's log",
    ),
    "NOREPLICAS": (
        "takes no writes",
        "bring replicas back, which min-replicas-to-write asks for",
    ),
    "DB index is out of range": (
        "has no such database",
        "name a lower number in KEYPOOL_REDIS_URL, or raise the server's databases",
    ),
    "unknown command 'SENTINEL'": (
        "is no sentinel",
        "name sentinels in KEYPOOL_REDIS_URL (mostly on port 26379), or the server as redis://",
    ),
}
_REFUSED_WRITES = {
    redis.exceptions.ReadOnlyError: "name the primary in KEYPOOL_REDIS_URL, or use redis+sentinel://",
    redis.exceptions.OutOfMemoryError: "raise the server's maxmemory, or take other data out of it",
}
_NOT_NOW = (*_LIVES, "MASTERDOWN", "LOADING", "NOAUTH", "BUSY ")

_RENEW = "renew the server's certificate; if it is in date, set this machine's clock right"
_OTHER_NAME = "name the host as its certificate does in KEYPOOL_REDIS_URL"
_DISTRUST = {9: _RENEW, 10: _RENEW, 62: _OTHER_NAME, 64: _OTHER_NAME}
"""What to do by OpenSSL's X509_V_ERR: not yet valid, expired, another host's, another address's."""


def unreachable(err: BaseException, url: str) -> UnreachableError:
    """What to tell the user about ``err``, which came from the store at ``url``."""
    where = f"the live store at {masked_url(url)}"
    if isinstance(err, _REFUSED_CREDENTIALS) or str(err).startswith("NOAUTH"):
        return UnreachableError(
            f"{where} refuses these credentials",
            hint="check user and password in KEYPOOL_REDIS_URL",
        )
    says, hint = _trouble(err)
    return UnreachableError(f"{where} {says}: {_reason(err)}", hint=hint)


def _trouble(err: BaseException) -> tuple[str, str]:
    """What is wrong, in two or three words, and what to do."""
    match err:
        case redis.exceptions.NoPermissionError():
            needed = "~kp:* ~{kp:* &kp:* +@all -@dangerous +info"
            return "permits this user too little", f"keypool's user needs the rules {needed}"
        case redis.exceptions.ReadOnlyError() | redis.exceptions.OutOfMemoryError():
            return "takes no writes", _REFUSED_WRITES[type(err)]
        case redis.exceptions.ConnectionError() if "max number of clients" in str(err):
            return "takes no more connections", "raise the server's maxclients, or end others'"
        case redis.exceptions.ResponseError() if str(err).startswith(tuple(_LIVES)):
            return next(v for words, v in _LIVES.items() if str(err).startswith(words))
    cause = _cause(err)
    if isinstance(cause, ssl.SSLCertVerificationError):
        hint = "add ?ssl_ca_certs=FILE with the authority's certificate to KEYPOOL_REDIS_URL"
        return "cannot be trusted", _DISTRUST.get(cause.verify_code, hint)
    hint = "run it again; if that does not help, check the server, and KEYPOOL_REDIS_URL if set"
    return "cannot be reached", hint


def _cause(err: BaseException) -> OSError | None:
    """The system's or TLS's own error below the client's, where there is one."""
    cause: BaseException | None = err
    while cause is not None and not (isinstance(cause, OSError) and cause.errno):
        cause = cause.__cause__ or cause.__context__
    return cause


def _reason(err: BaseException) -> str:
    """The system's own words where there are any: the client's are long and repeat the address."""
    match _cause(err):
        case ssl.SSLCertVerificationError() as refused:
            return refused.verify_message
        case ssl.SSLError() as failed:
            return f"TLS: {failed.reason}"
        case socket.gaierror() as unknown:
            return str(unknown.strerror)
        case OSError(errno=int(number)):
            return os.strerror(number)
        case _:
            pass
    words = re.split(r"\n| : <", str(err))[0].rstrip(".")
    return words or "no answer in time"


def is_over(connection: object) -> bool:
    """Whether a connection was ended below redis-py, as by the system whose peer was cut off.

    A reader of what is published takes that error, which is a TimeoutError, for silence, at once
    and again and again.
    """
    # redis-py has no other way to its transport; without one it connects anew by itself.
    writer = getattr(connection, "_writer", None)
    return isinstance(writer, StreamWriter) and writer.is_closing()


def was_over(err: RuntimeError | AttributeError) -> bool:
    """Whether a connection was ended before it was written to.

    uvloop says so; redis-py, when another call ended it meanwhile, has nothing to write to.
    """
    if isinstance(err, AttributeError):
        return err.obj is None and err.name == "writelines"
    return "handler is closed" in str(err)


@contextmanager
def errors_as_ours(url: str) -> Iterator[None]:
    """Turn the client's connection errors into UnreachableError; others pass."""
    try:
        yield
    except _UNREACHABLE as err:
        raise unreachable(err, url) from err
    except (RuntimeError, AttributeError) as err:
        if not was_over(err):
            raise
        raise unreachable(LostError("the connection was given up"), url) from err
    except redis.exceptions.ResponseError as err:
        if str(err).startswith("KPCLOCK"):
            raise UnreachableError(
                f"the clocks of this machine and of the live store at {masked_url(url)} "
                "differ by more than a day",
                hint="set them right: keypool counts the day's requests by both",
            ) from err
        if not str(err).startswith(_NOT_NOW):
            raise
        raise unreachable(err, url) from err
