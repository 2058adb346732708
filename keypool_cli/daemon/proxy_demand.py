"""What a call's body asks of a project: its model, its tokens, and how many requests it counts as."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from keypool_cli.core.estimator import estimate_request, estimate_text
from keypool_cli.core.request_shape import json_text
from keypool_cli.daemon.leases import LONG_REQUEST
from keypool_cli.errors import UsageError
from keypool_cli.upstream.calls import Call

MOST_REQUESTS = 100
"""Upstream takes no larger batch of embeddings (gemini-facts 7)."""

SHORTEST_CACHED = 2048
"""Tokens of the shortest prompt that Gemini caches by itself, on 2.5 models (gemini-facts 6)."""

_LONGEST_NAME = 200

_body = msgspec.json.Decoder(dict[str, object])


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to reserve for one call. prefix: what its prompt begins with; empty for a short one."""

    model: str
    tokens: int
    requests: int = 1
    prefix: str = ""


async def read_wanted(call: Call, body: bytes) -> Wanted:
    """Read a body; long ones in a thread, for others not to wait. Raises UsageError."""
    if len(body) < LONG_REQUEST:
        return wanted_of(call, body)
    return await asyncio.to_thread(wanted_of, call, body)


def wanted_of(call: Call, body: bytes) -> Wanted:
    """What a body asks for. Raises UsageError for one that upstream would refuse anyway."""
    try:
        request = _body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise UsageError("Invalid JSON payload received. Expected an object.") from err
    model = call.model or _named(request)
    tokens = max(_tokens(call, request, model), 1)
    return Wanted(model, tokens, _requests(call, request), _prefix(request, tokens))


def _prefix(request: Mapping[str, object], tokens: int) -> str:
    """A name for the prompt's beginning, which the project that saw it last may hold in its cache.

    Sources: gemini-facts 6; what is cached begins with tools and system instruction.
    """
    if tokens < SHORTEST_CACHED:
        return ""
    spoken = request.get("contents") or request.get("messages")
    first = spoken[0] if isinstance(spoken, list) and spoken else None
    system = request.get("systemInstruction") or request.get("system_instruction")
    begins = json_text([request.get("tools"), system, first])
    return sha256(begins.encode(errors="replace")).hexdigest()


def _named(request: Mapping[str, object]) -> str:
    """The model, or the agent, that a body names; both have quota of their own."""
    named = request.get("model") or request.get("agent")
    if not isinstance(named, str) or not 0 < len(named) <= _LONGEST_NAME:
        raise UsageError("the body must name a model")
    return named.removeprefix("models/")


def _tokens(call: Call, request: Mapping[str, object], model: str) -> int:
    if call.verb == "predict":
        estimate = estimate_text(json_text(request.get("instances")))
    elif call.verb == "images/generations":
        estimate = estimate_text(json_text(request.get("prompt")))
    else:
        estimate = estimate_request(request, model=model)
    return estimate.tokens + estimate.margin


def _requests(call: Call, request: Mapping[str, object]) -> int:
    """Each item of a batch of embeddings counts as a request (gemini-facts 1.1)."""
    items = {"batchEmbedContents": request.get("requests"), "embeddings": request.get("input")}
    batch = items.get(call.verb)
    count = len(batch) if isinstance(batch, list) and batch else 1
    if count > MOST_REQUESTS:
        raise UsageError(f"at most {MOST_REQUESTS} requests can be in one batch")
    return count
