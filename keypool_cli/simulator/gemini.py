"""The Gemini side: who calls, which call it is, and the free calls countTokens and models."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from keypool_cli.http.message import answer_json, query_pairs
from keypool_cli.http.rsgi import Exchange, Scope
from keypool_cli.simulator import batches, openai, openai_kept, resources, uploads
from keypool_cli.simulator.caller import Caller, take_faults, unknown_model, wants_sse
from keypool_cli.simulator.embeddings import batch_embed, embed, predict
from keypool_cli.simulator.generate import MOST_TOKENS, generate
from keypool_cli.simulator.interaction_errors import as_interaction_error
from keypool_cli.simulator.interactions import interact
from keypool_cli.simulator.paging import page_of
from keypool_cli.simulator.refusals import GeminiError, Json, key_invalid
from keypool_cli.simulator.reply import prompt_details
from keypool_cli.simulator.request import (
    field_of,
    read_body,
    read_counted,
    read_json,
    read_key,
    read_path,
)
from keypool_cli.simulator.scripted import refusal_of, shape_of
from keypool_cli.simulator.sending import send_error
from keypool_cli.simulator.shelf import cached_tokens, check_mentions
from keypool_cli.simulator.state import State
from keypool_cli.simulator.tokens import count_prompt
from keypool_cli.simulator.uploads import upload_id

_PAGE = 50
_DOES = {
    "embedding": ["embedContent", "countTokens"],
    "imagen": ["predict"],
    "veo": ["predictLongRunning"],
    "": ["generateContent", "countTokens", "createCachedContent", "batchGenerateContent"],
}
"""By a word of the model's name, what it does."""


async def handle(state: State, scope: Scope, exchange: Exchange) -> None:
    """Answer one call, and record how it ended."""
    streams = scope.path.endswith(":streamGenerateContent") and not wants_sse(scope)
    in_array = streams or scope.path.split("/")[2:3] == ["openai"]
    if (own := upload_id(scope)) is not None:
        await _go_on(state, own, scope, exchange)
        return
    try:
        caller = _authenticated(state, scope, exchange)
    except GeminiError as err:
        state.outside[err.kind] += 1
        send_error(exchange, err, in_array=in_array)
        return
    try:
        await _dispatch(state, caller)
    except GeminiError as err:
        state.refused(caller.project, caller.key, model=caller.call.model, kind=err.kind)
        told = (
            as_interaction_error(err, tier=caller.project.spec.tier) if _interacts(caller) else err
        )
        send_error(exchange, told, in_array=in_array)


async def _go_on(state: State, own: str, scope: Scope, exchange: Exchange) -> None:
    try:
        await uploads.go_on(state, own, scope, exchange)
    except GeminiError as err:
        state.outside[err.kind] += 1
        send_error(exchange, err, in_array=False)


def _authenticated(state: State, scope: Scope, exchange: Exchange) -> Caller:
    call = read_path(scope)
    key = read_key(scope)
    project = state.owner(key)
    if project is None:
        raise key_invalid()
    project.shelf.drop_expired(state.now_ms())
    return Caller(project, key, call, scope, exchange)


def _interacts(caller: Caller) -> bool:
    return caller.call.method == "interactions" or caller.call.resource.startswith("interactions/")


async def _dispatch(state: State, caller: Caller) -> None:
    if caller.key in state.revoked:
        raise key_invalid()
    handler = _HANDLERS.get(caller.call.method)
    if handler is None:
        raise unknown_model(caller)
    await handler(state, caller)


async def _count(state: State, caller: Caller) -> None:
    body = await read_body(caller.scope, caller.exchange)
    await _apply_faults(state, caller, "count")
    _require_model(state, caller)
    asked = read_json(body)
    check_mentions(caller.project.shelf, asked)
    inner = field_of(asked, "generateContentRequest")
    counted = replace(
        count_prompt(read_counted(asked), state.count_text),
        cached_tokens=cached_tokens(caller.project.shelf, inner if isinstance(inner, dict) else {}),
    )
    caller.project.keys[caller.key].counted += 1
    answer = {"totalTokens": counted.tokens, **prompt_details(counted)}
    answer_json(caller.exchange, 200, answer)


async def _list(state: State, caller: Caller) -> None:
    await _apply_faults(state, caller, "models")
    query = dict(query_pairs(caller.scope.query_string))
    names, following = page_of(state.model_names, query, default=_PAGE)
    answer: Json = {"models": [_model(name) for name in names]}
    if following is not None:
        answer["nextPageToken"] = following
    answer_json(caller.exchange, 200, answer)


async def _get(state: State, caller: Caller) -> None:
    await _apply_faults(state, caller, "models")
    _require_model(state, caller)
    answer_json(caller.exchange, 200, _model(caller.model))


async def _apply_faults(state: State, caller: Caller, on: str) -> None:
    faults = take_faults(state, caller, on)
    await asyncio.sleep(shape_of(state, faults).first_byte_s)
    refusal = refusal_of(state, faults, project=caller.project, key=caller.key, model=caller.model)
    if refusal is not None:
        raise refusal


def _require_model(state: State, caller: Caller) -> None:
    if not state.has_model(caller.model):
        raise unknown_model(caller)


def _model(name: str) -> Json:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name.replace("-", " ").title(),
        "description": "Simulated by keypool.",
        "inputTokenLimit": MOST_TOKENS,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": next(does for word, does in _DOES.items() if word in name),
    }


_HANDLERS: Mapping[str, Callable[[State, Caller], Awaitable[None]]] = {
    "generateContent": generate,
    "streamGenerateContent": generate,
    "countTokens": _count,
    "embedContent": embed,
    "batchEmbedContents": batch_embed,
    "predict": predict,
    "interactions": interact,
    "POST openai/chat/completions": openai.chat,
    "POST openai/embeddings": openai.embeddings,
    "GET openai/models": openai.models,
    "GET openai/models/*": openai.model,
    "POST openai/files": openai_kept.upload,
    "GET openai/files/*": openai_kept.show_file,
    "GET openai/files/*/content": openai_kept.content,
    "POST openai/batches": openai_kept.make,
    "GET openai/batches/*": openai_kept.show_batch,
    "POST openai/batches/*/cancel": openai_kept.cancel,
    **{f"GET openai/{name}": openai_kept.listed for name in ("files", "batches")},
    **{f"DELETE openai/{name}/*": openai_kept.removed for name in ("files", "batches")},
    "list": _list,
    "get": _get,
    "upload": uploads.begin,
    **{
        f"GET {name}": resources.listed
        for name in ("files", "cachedContents", "batches", "fileSearchStores", "agents")
    },
    **{
        f"GET {name}/*": resources.show
        for name in ("files", "cachedContents", "fileSearchStores", "interactions", "agents")
    },
    **{
        f"DELETE {name}/*": resources.removed
        for name in (
            "files",
            "cachedContents",
            "batches",
            "fileSearchStores",
            "interactions",
            "agents",
        )
    },
    "GET files/*:download": resources.download,
    "POST cachedContents": resources.make_cache,
    "PATCH cachedContents/*": resources.put_off,
    "POST fileSearchStores": resources.make_store,
    "POST agents": resources.make_agent,
    "POST batches/*:cancel": resources.cancelled,
    "POST interactions/*:cancel": resources.cancelled,
    "batchGenerateContent": batches.make,
    "GET batches/*": batches.show,
    "predictLongRunning": batches.predict_long,
    "GET operations/*": batches.show_operation,
}
