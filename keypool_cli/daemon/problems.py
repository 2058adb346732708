"""Errors as RFC 9457 problem details."""

from math import ceil

from keypool_cli.daemon.bodies import CrowdedError, StalledError
from keypool_cli.errors import (
    ConflictError,
    KeypoolError,
    NotFoundError,
    NotPermittedError,
    UnreachableError,
    UsageError,
)
from keypool_cli.http.message import BodyTooLargeError, Problem, answer_problem
from keypool_cli.http.rsgi import Exchange, Header
from keypool_cli.service.leasing import PoolExhaustedError, PoolUnusableError, TooLargeError

_STORE_S = 1
"""What a client waits when a store is away: it mostly comes back by itself, and soon."""

_REPAIR_S = 10
"""What it waits where no project is usable: someone has to act first, and nobody knows when.

Clients that obey keep their callers waiting so long at each of their retries, which are two in
OpenAI's (openai 3.54, ``_constants.py``): the reason must reach someone soon.
"""


class UnauthenticatedError(KeypoolError):
    """No token, or one that is not known (any more)."""


class WrongTypeError(KeypoolError):
    """The body is not declared as JSON."""


class WrongMethodError(KeypoolError):
    """The path exists, the method does not. wanted: the one that does."""

    def __init__(self, method: str, *, wanted: str) -> None:
        super().__init__(f"{method} is not possible here", hint=f"use {wanted}")
        self.wanted = wanted


class LimitProblem(Problem, kw_only=True):
    """A 429: when there is room, and what refused.

    limit: rpm, tpm, rpd, in_flight, cooldown, queue or client. scope: project or client.
    """

    retry_after_s: float
    limit: str
    scope: str


_STATUS: tuple[tuple[type[KeypoolError], int, str], ...] = (
    (UnauthenticatedError, 401, "Not authenticated"),
    (WrongMethodError, 405, "Method not allowed"),
    (StalledError, 408, "Body missing"),
    (BodyTooLargeError, 413, "Body too large"),
    (WrongTypeError, 415, "Wrong content type"),
    (TooLargeError, 422, "Request larger than every limit"),
    (UsageError, 400, "Bad request"),
    (NotFoundError, 404, "Not found"),
    (NotPermittedError, 403, "Not permitted"),
    (ConflictError, 409, "Conflict"),
    (PoolUnusableError, 503, "No usable project"),
    (CrowdedError, 503, "Too many large bodies"),
    (UnreachableError, 503, "Store unreachable"),
    (KeypoolError, 500, "Internal error"),
)


def answer_error(proto: Exchange, err: KeypoolError) -> int:
    """Answer with what an error means over HTTP; returns the status."""
    if isinstance(err, PoolExhaustedError):
        problem: Problem = LimitProblem(
            title="No room now",
            status=429,
            detail=err.told,
            retry_after_s=round(err.retry_after_s, 3),
            limit=err.limit,
            scope=err.scope,
        )
        answer_problem(proto, problem, headers=_headers(err))
        return 429
    status, title = next((code, title) for kind, code, title in _STATUS if isinstance(err, kind))
    answer_problem(
        proto, Problem(title=title, status=status, detail=err.told), headers=_headers(err)
    )
    return status


def retry_s(err: KeypoolError) -> float | None:
    """When it makes sense to try again, in seconds from now; None where nobody knows."""
    if isinstance(err, PoolExhaustedError):
        return err.retry_after_s
    if isinstance(err, PoolUnusableError):
        return _REPAIR_S
    return _STORE_S if isinstance(err, UnreachableError) else None


def _headers(err: KeypoolError) -> list[Header]:
    if (wait_s := retry_s(err)) is not None:
        return [("retry-after", str(ceil(wait_s)))]
    if isinstance(err, StalledError):
        # What is left of the body would be taken for the next call.
        return [("connection", "close")]
    if isinstance(err, UnauthenticatedError):
        return [("www-authenticate", 'Bearer realm="keypool"')]
    if isinstance(err, WrongMethodError):
        return [("allow", "GET, HEAD" if err.wanted == "GET" else err.wanted)]
    return []
