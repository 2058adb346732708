"""Opening whatever wrapping an upstream error came in, down to the error itself.

Bodies are untrusted: any JSON value, or text that is none, is opened without an error, and at
most 64 KiB of any text is read. Wrappings seen until late 2026: an array around the error (streams
without SSE, and the OpenAI-compatible paths: github.com/n4ze3m/page-assist/issues/406), an error as
text inside another's message, an event of a stream, and the Interactions API's code and message.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

_MAX_TEXT = 64 * 1024
_MAX_WORDS = 8 * 1024
_MAX_LAYERS = 8
_MAX_ITEMS = 100

_UNREADABLE = 502  # an error inside a 2xx that does not say which: the fault of whoever answered

_FIELDS = ("code", "status", "message", "details")
# The Interactions API's codes as its answers had them in 2026, the canonical names, and the numbers
# that long-running operations carry (google/rpc/code.proto of googleapis).
_CODES_OF_STATUS: dict[int, tuple[str | int, ...]] = {
    400: ("invalid_request", "invalid_argument", "parameter_unknown", "failed_precondition", 3, 9),
    401: ("authentication", "unauthenticated", 16),
    402: ("payment_required",),
    403: ("permission_denied", 7),
    404: ("not_found", "model_not_found", 5),
    409: ("already_exists", "aborted", 6, 10),
    416: ("out_of_range", 11),
    429: ("too_many_requests", "rate_limit_exceeded", "quota_exceeded", "resource_exhausted", 8),
    499: ("cancelled", 1),
    500: ("api_error", "internal", "unknown", "data_loss", 2, 13, 15),
    501: ("unimplemented", 12),
    503: ("service_unavailable", "unavailable", 14),
    504: ("deadline_exceeded", 4),
}
_STATUS_OF_CODE = {code: status for status, codes in _CODES_OF_STATUS.items() for code in codes}


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The error inside an answer, freed of its wrappings.

    named: the answer calls itself an error (an ``error`` member or event), so that it is one
    even in a 2xx. status: the HTTP status its code stands for; 502 where it names none.
    """

    named: bool
    status: int
    message: str
    details: tuple[dict[str, object], ...]


def open_body(body: object) -> ErrorBody:
    """The error in ``body``; one without message and details where there is none.

    Where layers repeat a member, the innermost that has it counts.
    """
    layers = _layers(body)
    error: dict[str, object] = {}
    for layer in layers:
        error |= {name: layer[name] for name in _FIELDS if layer.get(name)}
    return ErrorBody(
        named=bool(layers) and _is_error(layers[0]),
        status=_named_status(error),
        message=text_of(error.get("message")),
        details=objects_of(error.get("details")),
    )


def text_of(value: object) -> str:
    """A text's first 8 KiB, ten times what upstream writes; "" for anything else."""
    return value[:_MAX_WORDS] if isinstance(value, str) else ""


def objects_of(value: object) -> tuple[dict[str, object], ...]:
    """The objects among a list's first 100 items; none for anything else."""
    items = value[:_MAX_ITEMS] if isinstance(value, list) else ()
    return tuple(item for item in items if isinstance(item, dict))


def _layers(body: object) -> list[dict[str, object]]:
    """The objects around and in the error, from the outside in.

    Arrays, ``error`` members and JSON held in strings are opened; text that is no JSON becomes
    an object with that message.
    """
    value, layers = body, list[dict[str, object]]()
    for _ in range(_MAX_LAYERS):
        if isinstance(value, dict):
            layers.append(value)
            value = value.get("error") or _parsed(value.get("message"))
        elif isinstance(value, list):
            value = _failing(value)
        elif isinstance(value, bytes):
            value = value[:_MAX_TEXT].decode(errors="replace")
        elif isinstance(value, str):
            parsed = _parsed(value)
            value = {"message": value} if parsed is None else parsed
    return layers


def _failing(elements: Sequence[object]) -> object:
    """The element of an array that holds the error, else the first; streams end with it."""
    last = elements[-_MAX_ITEMS:]
    return next((e for e in last if isinstance(e, dict) and _is_error(e)), next(iter(last), None))


def _is_error(value: dict[str, object]) -> bool:
    return bool(value.get("error")) or value.get("event_type") == "error"


def _parsed(text: object) -> object:
    """The JSON a string holds, a list of them for server-sent events; None for prose."""
    head = text[:_MAX_TEXT].strip() if isinstance(text, str) else ""
    if head.startswith(("data:", "event:", "id:", "retry:", ":")):
        lines = head.splitlines()[-_MAX_ITEMS:]
        return [_json(line[5:].strip()) for line in lines if line[:5] == "data:"]
    return _json(head)


def _json(text: str) -> object:
    if not text.startswith(("{", "[", '"')):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _named_status(error: dict[str, object]) -> int:
    """The HTTP status an error inside a 2xx stands for, by its code or else its status."""
    code = error.get("code")
    if isinstance(code, int) and 400 <= code < 600:
        return code
    names = (_code_name(code), _code_name(error.get("status")))
    return next((_STATUS_OF_CODE[name] for name in names if name in _STATUS_OF_CODE), _UNREADABLE)


def _code_name(code: object) -> str | int:
    return code if isinstance(code, int) else text_of(code).lower()
