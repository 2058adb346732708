"""What a call's body asks of a project: its model, its tokens, and how many requests it counts as."""

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from keypool_cli.core.estimator import Estimate
from keypool_cli.core.json_reading import list_of, mapping_of
from keypool_cli.core.json_text import json_text
from keypool_cli.core.known_sizes import UNTOLD, Size, with_sizes
from keypool_cli.daemon.json_bodies import decoded
from keypool_cli.errors import UsageError
from keypool_cli.http.message import UNREADABLE
from keypool_cli.service.estimating import LARGE, Estimates
from keypool_cli.upstream.calls import LONGEST_NAME, Call, Cost, Family
from keypool_cli.upstream.names import may_mention, maybe_own, meant, mentioned

MOST_REQUESTS = 100
"""Upstream takes no larger batch of embeddings."""

SHORTEST_CACHED = 2048
"""Tokens of the shortest prompt that Gemini caches by itself, on 2.5 models.

Source: https://ai.google.dev/gemini-api/docs/caching (2026-10-13).
"""

BEGINNING = 64 * 1024
"""Bytes of a large body by which prompts that begin alike are known."""

_BATCHES = {"batchEmbedContents": "requests", "embeddings": "input"}

_UNCACHED = frozenset(
    {*_BATCHES, "embedContent", "predict", "predictLongRunning", "images/generations"}
)
"""Calls that no cache makes cheaper, so that each may go wherever there is room."""

_WITH_AGENTS = ("interactions", "agents")

_WITHIN = ("batch", "generateContentRequest", "generate_content_request")
_MODEL_HOLDERS = frozenset({"model", "requests", *_WITHIN})

_FREE = Cost.FREE  # looking it up costs 0.2 us on Python 3.11

_body = msgspec.json.Decoder(dict[str, object])


class Wanted(msgspec.Struct, frozen=True):
    """What to reserve for one call. prefix: what its prompt begins with; empty for a short one.

    estimate: where tokens come from; None for a call that costs none. mentions: names of what only
    one project has. maybe_own: of what one project has if it is not Google's own. passing: nothing
    that the call makes is kept upstream. unmeasured: a cache whose tokens are not known.
    """

    model: str
    tokens: int
    requests: int = 1
    prefix: str = ""
    estimate: Estimate | None = None
    mentions: tuple[str, ...] = ()
    passing: bool = False
    maybe_own: tuple[str, ...] = ()
    unmeasured: str = ""


def _free(call: Call, body: bytes) -> Wanted:
    request = _read(body) if body else {}
    _check_models(call, request)
    said = request.get("model")
    model = call.model or (said.removeprefix("models/") if isinstance(said, str) else "")
    # An id without its collection is plain text to may_mention.
    openai = call.family is Family.OPENAI and request
    mentions = tuple(mentioned(request)) if openai else _mentions(request, body)
    return Wanted(model, 0, mentions=mentions, maybe_own=_maybe_own(call, request))


def wanted_of(call: Call, body: bytes, estimates: Estimates) -> Wanted:
    """What a body asks for. Raises UsageError for one that upstream would refuse anyway."""
    if call.cost is _FREE:
        return _free(call, body)
    request = _read(body)
    _check_models(call, request)
    model = call.model or _named(request)
    requests = _requests(call, request)
    estimate = _estimate(call, request, model, estimates)
    tokens = max(estimate.tokens + estimate.margin, 1)
    return Wanted(
        model,
        tokens,
        requests,
        _prefix(call, request, body, tokens),
        estimate,
        mentions=_mentions(request, body),
        passing=request.get("store") is False,
        maybe_own=_maybe_own(call, request),
    )


def measured(wanted: Wanted, sizes: Mapping[str, Size]) -> Wanted:
    """The same, once it is known how large what it names is. sizes: by name."""
    guessed = wanted.estimate
    if guessed is None or not guessed.unknown:
        return wanted
    told = {each.name: sizes.get(meant(each.name) or "", UNTOLD) for each in guessed.unknown}
    estimate = with_sizes(guessed, told, model=wanted.model)
    caches = [each.name for each in estimate.unknown if each.name.startswith("cachedContents/")]
    return msgspec.structs.replace(
        wanted,
        estimate=estimate,
        tokens=max(estimate.tokens + estimate.margin, 1),
        unmeasured=caches[0] if len(caches) == 1 else "",
    )


def _read(body: bytes) -> dict[str, object]:
    try:
        return decoded(_body, body)
    except UNREADABLE as err:
        raise UsageError("Invalid JSON payload received. Expected an object.") from err


def _check_models(call: Call, request: Mapping[str, object]) -> None:
    """Raise UsageError where a body names another model than its path does.

    Clients may be held to some models, and quota is each model's own.
    """
    if call.model is None or _MODEL_HOLDERS.isdisjoint(request):
        return
    within = [*map(request.get, _WITHIN), *list_of(request.get("requests"))]
    for each in (request, *map(mapping_of, within)):
        said = each.get("model")
        if said and said not in (call.model, f"models/{call.model}"):
            raise UsageError(f"the path names the model {call.model}, and the body another")


def _mentions(request: Mapping[str, object], body: bytes) -> tuple[str, ...]:
    return tuple(mentioned(request)) if may_mention(body) else ()


def _prefix(call: Call, request: Mapping[str, object], body: bytes, tokens: int) -> str:
    """A name for the prompt's beginning, which the project that saw it last may hold in its cache.

    What is cached begins with tools and system instruction. A large body is named by how it begins
    itself: what would be copied of it may be most of it.
    """
    if tokens < SHORTEST_CACHED or call.verb in _UNCACHED:
        return ""
    if len(body) >= LARGE:
        return sha256(body[:BEGINNING]).hexdigest()
    spoken = request.get("contents") or request.get("messages") or request.get("input")
    first = spoken[0] if isinstance(spoken, list) and spoken else spoken
    system = request.get("systemInstruction") or request.get("system_instruction")
    begins = json_text([request.get("tools"), system, first])
    return sha256(begins.encode(errors="replace")).hexdigest()


def _named(request: Mapping[str, object]) -> str:
    """The model, or the agent, that a body names; both have quota of their own."""
    said = request.get("model") or request.get("agent")
    if not isinstance(said, str) or not 0 < len(said) <= LONGEST_NAME:
        raise UsageError("the body must name a model")
    return said.removeprefix("models/")


def _maybe_own(call: Call, request: Mapping[str, object]) -> tuple[str, ...]:
    return maybe_own(request) if call.resource.startswith(_WITH_AGENTS) else ()


def _estimate(
    call: Call, request: Mapping[str, object], model: str, estimates: Estimates
) -> Estimate:
    if call.verb in {"predict", "predictLongRunning"}:
        return estimates.text(json_text(request.get("instances")), model=model)
    if call.verb == "images/generations":
        return estimates.text(json_text(request.get("prompt")), model=model)
    return estimates.request(request, model=model)


def _requests(call: Call, request: Mapping[str, object]) -> int:
    """Each item of a batch of embeddings counts as a request, as users report."""
    field = _BATCHES.get(call.verb)
    batch = request.get(field) if field else None
    count = len(batch) if isinstance(batch, list) and batch else 1
    if count > MOST_REQUESTS:
        raise UsageError(f"at most {MOST_REQUESTS} requests can be in one batch")
    return count
