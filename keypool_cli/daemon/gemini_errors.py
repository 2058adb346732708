"""keypool's own errors in the shapes that Gemini's clients read, marked ``x-keypool-error``."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Any

from keypool_cli.daemon.bodies import CrowdedError, StalledError
from keypool_cli.daemon.problems import UnauthenticatedError, retry_s
from keypool_cli.daemon.proxy_body import READ, UnreadableCodingError
from keypool_cli.errors import (
    ConflictError,
    KeypoolError,
    NotFoundError,
    NotPermittedError,
    UnreachableError,
    UsageError,
)
from keypool_cli.http.message import BodyTooLargeError, answer_json
from keypool_cli.http.rsgi import Exchange, Header
from keypool_cli.http.websocket import UnreadableFrameError
from keypool_cli.service.leasing import PoolExhaustedError, PoolUnusableError, TooLargeError
from keypool_cli.service.proxying import RefusedError
from keypool_cli.upstream.forward import UpstreamError

Json = dict[str, Any]

_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"


class Form(StrEnum):
    """How the answers of a path look."""

    GEMINI = "gemini"
    ARRAY = "array"  # Gemini's streams without SSE: the error is the array's only element
    OPENAI = "openai"
    INTERACTIONS = "interactions"  # a word for the code, and no details


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error is over HTTP. status: Google's name of the code; kind: ours."""

    code: int
    status: str
    kind: str


_INTERNAL = Meaning(500, "INTERNAL", "internal")
_TIMED_OUT = Meaning(504, "DEADLINE_EXCEEDED", "no-answer")

_MEANINGS: tuple[tuple[type[KeypoolError], Meaning], ...] = (
    (PoolExhaustedError, Meaning(429, "RESOURCE_EXHAUSTED", "pool-exhausted")),
    (UnauthenticatedError, Meaning(401, "UNAUTHENTICATED", "unauthenticated")),
    (StalledError, Meaning(408, "DEADLINE_EXCEEDED", "body-missing")),
    (BodyTooLargeError, Meaning(413, "INVALID_ARGUMENT", "too-large")),
    (UnreadableFrameError, Meaning(413, "INVALID_ARGUMENT", "too-large")),
    (TooLargeError, Meaning(400, "INVALID_ARGUMENT", "too-large")),
    (UnreadableCodingError, Meaning(415, "INVALID_ARGUMENT", "unreadable-coding")),
    (UsageError, Meaning(400, "INVALID_ARGUMENT", "bad-request")),
    (NotFoundError, Meaning(404, "NOT_FOUND", "not-found")),
    (NotPermittedError, Meaning(403, "PERMISSION_DENIED", "not-permitted")),
    (ConflictError, Meaning(409, "ABORTED", "conflict")),
    (PoolUnusableError, Meaning(503, "UNAVAILABLE", "pool-unusable")),
    (RefusedError, Meaning(503, "UNAVAILABLE", "pool-unusable")),
    (UpstreamError, Meaning(503, "UNAVAILABLE", "no-answer")),
    (CrowdedError, Meaning(503, "UNAVAILABLE", "too-many-bodies")),
    (UnreachableError, Meaning(503, "UNAVAILABLE", "store-unreachable")),
)


def meaning_of(err: KeypoolError) -> Meaning:
    """What an error is to a client of the proxy."""
    if isinstance(err, UpstreamError) and err.timed_out:
        return _TIMED_OUT
    return next((meaning for kind, meaning in _MEANINGS if isinstance(err, kind)), _INTERNAL)


def answer_gemini_error(proto: Exchange, err: KeypoolError, form: Form) -> int:
    """Answer with an error of ours; returns the status."""
    meaning, wait_s = meaning_of(err), retry_s(err)
    headers = [("x-keypool-error", meaning.kind)]
    if wait_s is not None:
        headers.append(("retry-after", str(ceil(wait_s))))
    if isinstance(err, StalledError):
        # What is left of the body would be taken for the next call.
        headers.append(("connection", "close"))
    if isinstance(err, UnreadableCodingError):
        # RFC 9110, 12.5.3: such a refusal tells what would be taken.
        headers.append(("accept-encoding", READ))
    answer_json(proto, meaning.code, _BODIES[form](meaning, err, wait_s), headers=headers)
    return meaning.code


def _gemini(meaning: Meaning, err: KeypoolError, wait_s: float | None) -> Json:
    info = {"@type": _ERROR_INFO, "reason": _reason(meaning), "domain": "keypool"}
    details: list[Json] = [info]
    if wait_s is not None:
        details.append({"@type": _RETRY_INFO, "retryDelay": f"{wait_s:.3f}s"})
    error = {"code": meaning.code, "message": err.told, "status": meaning.status}
    return {"error": {**error, "details": details}}


def _array(meaning: Meaning, err: KeypoolError, wait_s: float | None) -> list[Json]:
    return [_gemini(meaning, err, wait_s)]


def _openai(meaning: Meaning, err: KeypoolError, _wait_s: float | None) -> Json:
    kind = _OPENAI_TYPES.get(meaning.code, "server_error")
    code = "rate_limit_exceeded" if meaning.code == 429 else meaning.kind
    return {"error": {"message": err.told, "type": kind, "param": None, "code": code}}


def _interactions(meaning: Meaning, err: KeypoolError, wait_s: float | None) -> Json:
    """As the Interactions API tells errors, but for those of credentials, which come before it."""
    if meaning.code == 401:
        return _gemini(meaning, err, wait_s)
    return {"error": {"message": err.told, "code": _WORDS.get(meaning.code, "invalid_request")}}


_BODIES = {
    Form.GEMINI: _gemini,
    Form.ARRAY: _array,
    Form.OPENAI: _openai,
    Form.INTERACTIONS: _interactions,
}

_WORDS: Mapping[int, str] = {
    403: "permission_denied",
    404: "not_found",
    409: "aborted",
    429: "too_many_requests",
    500: "api_error",
    503: "service_unavailable",
    504: "deadline_exceeded",
}

_OPENAI_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    408: "invalid_request_error",
    409: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
}


def _reason(meaning: Meaning) -> str:
    return meaning.kind.upper().replace("-", "_")


def mark(project: str, lease_id: str | None) -> list[Header]:
    """The headers that tell which project answered, and under which lease."""
    headers: list[Header] = [("x-keypool-project", project)]
    if lease_id is not None:
        headers.append(("x-keypool-lease", lease_id))
    return headers
