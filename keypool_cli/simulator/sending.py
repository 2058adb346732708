"""Send answers as Gemini frames them, as slowly or as broken as a fault wants."""

import asyncio
from collections.abc import Sequence

import msgspec

from keypool_cli.http.connection import drop_client
from keypool_cli.http.message import JSON_TYPE, answer_json
from keypool_cli.http.rsgi import Exchange, Header, Scope
from keypool_cli.simulator.refusals import GeminiError, Json
from keypool_cli.simulator.scripted import Shape

_TIER: Header = ("x-gemini-service-tier", "standard")
_SSE: Header = ("content-type", "text/event-stream")
_TEXT: Header = ("content-type", "text/plain; charset=UTF-8")

_FLUSH_S = 0.05
"""Enough for what was sent to reach a local client before its connection is broken."""


def send_error(exchange: Exchange, err: GeminiError, *, in_array: bool) -> None:
    """An error answer; streams without SSE get it inside an array."""
    if isinstance(err.body, str):
        exchange.response_bytes(err.status, [_TEXT], err.body.encode())
    else:
        answer_json(exchange, err.status, [err.body] if in_array else err.body)


async def send_whole(scope: Scope, exchange: Exchange, answer: Json, *, shape: Shape) -> None:
    """One JSON answer."""
    if shape.drop_after is None:
        answer_json(exchange, 200, answer, headers=[_TIER])
    elif shape.drop_after == 0:
        drop_client(scope.client)
    else:
        data = msgspec.json.encode(answer)
        stream = exchange.response_stream(200, [JSON_TYPE, _TIER])
        await stream.send_bytes(data[: len(data) // 2])
        await asyncio.sleep(_FLUSH_S)
        drop_client(scope.client)


async def send_stream(
    scope: Scope, exchange: Exchange, frames: Sequence[bytes], *, sse: bool, shape: Shape
) -> None:
    """Frames, each in a chunk of its own, with the shape's pause between them."""
    if shape.drop_after == 0:
        drop_client(scope.client)
        return
    stream = exchange.response_stream(200, [_SSE if sse else JSON_TYPE, _TIER])
    for number, frame in enumerate(frames):
        if number and shape.chunk_s:
            await asyncio.sleep(shape.chunk_s)
        await stream.send_bytes(frame)
        if number + 1 == shape.drop_after:
            await asyncio.sleep(_FLUSH_S)
            drop_client(scope.client)
            return


def sse_frames(answers: Sequence[object]) -> list[bytes]:
    """Server-sent events; Gemini's own end is the end of the body."""
    return [b"data: " + msgspec.json.encode(answer) + b"\r\n\r\n" for answer in answers]


def array_frames(answers: Sequence[object]) -> list[bytes]:
    """One JSON array, sent element by element."""
    frames = [b",\r\n%b\n" % msgspec.json.encode(answer) for answer in answers]
    frames[0] = b"[" + frames[0].removeprefix(b",\r\n")
    frames[-1] = frames[-1].removesuffix(b"\n") + b"]"
    return frames
