"""Read requests and write JSON answers over RSGI."""

from collections.abc import Iterable
from urllib.parse import parse_qsl

import msgspec

from keypool_cli.errors import KeypoolError, UsageError
from keypool_cli.http.rsgi import Exchange, Header, Headers

JSON_TYPE: Header = ("content-type", "application/json; charset=UTF-8")
PROBLEM_TYPE: Header = ("content-type", "application/problem+json")

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding JSON raises for what is none, or is nested too deep."""

_encode = msgspec.json.Encoder().encode
_JSON_HEADERS = [JSON_TYPE]


class BodyTooLargeError(KeypoolError):
    """The request's body is larger than the server reads."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than {limit} bytes")


class Problem(msgspec.Struct, kw_only=True):
    """An error answer as RFC 9457 describes it; its type is always about:blank, and left out.

    title: the kind of problem, the same words each time. detail: this occurrence of it.
    """

    title: str
    status: int
    detail: str


class Arrived(msgspec.Struct):
    """What has come of a call: its headers, which a scope copies each time, and a short body.

    body: None where it is still to be read. It is to be taken out: the answer may go on for
    minutes.
    """

    headers: Headers
    body: bytes | None = None


async def read_body(headers: Headers, proto: Exchange, *, limit: int) -> bytes:
    """The whole body; raises BodyTooLargeError beyond ``limit`` bytes without holding it."""
    declared = headers.get("content-length")
    if declared is not None:
        # The server has checked that it is a number and that the body is no longer.
        if int(declared) > limit:
            raise BodyTooLargeError(limit)
        return await proto()
    return await _read_chunks(proto, limit)


async def _read_chunks(proto: Exchange, limit: int) -> bytes:
    body = bytearray()
    async for chunk in proto:
        body += chunk
        if len(body) > limit:
            raise BodyTooLargeError(limit)
    return bytes(body)


def query_pairs(query: str) -> list[tuple[str, str]]:
    """The decoded pairs of a query string, in order, blank values kept."""
    return parse_qsl(query, keep_blank_values=True) if query else []


def whole_number(text: str, name: str, *, least: int, most: int) -> int:
    """A number that a query says, in plain digits. Raises UsageError."""
    if not text.isascii() or not text.isdigit() or not least <= int(text[:20]) <= most:
        raise UsageError(f"{name} is a whole number from {least} to {most}")
    return int(text)


def answer_json(
    proto: Exchange, status: int, value: object, *, headers: Iterable[Header] = ()
) -> None:
    """Answer with ``value`` as JSON: a msgspec struct, a dataclass, or plain data."""
    proto.response_bytes(status, [*_JSON_HEADERS, *headers], _encode(value))


def answer_problem(proto: Exchange, problem: Problem, *, headers: Iterable[Header] = ()) -> None:
    """Answer with an error of our own; its status is the answer's."""
    proto.response_bytes(problem.status, [PROBLEM_TYPE, *headers], _encode(problem))
