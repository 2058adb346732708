"""The OpenAI-compatible paths: chat, embeddings and models, with the key as a bearer token."""

from collections.abc import Mapping
from typing import Any

import msgspec

from keypool_cli.http.message import answer_json
from keypool_cli.simulator.admitting import admitted
from keypool_cli.simulator.caller import Caller
from keypool_cli.simulator.embeddings import MOST_ITEMS, embedding_json, vector
from keypool_cli.simulator.refusals import Json, invalid_argument, model_unknown
from keypool_cli.simulator.reply import in_chunks, reply_to
from keypool_cli.simulator.sending import send_stream, send_whole
from keypool_cli.simulator.state import State
from keypool_cli.simulator.structured import json_text
from keypool_cli.simulator.tokens import Prompt, count_prompt

_ID = "chatcmpl-simulated"


async def chat(state: State, caller: Caller) -> None:
    """One chat completion, whole or as a stream that ends with ``[DONE]``."""
    body = await caller.json()
    model, prompt = _model(body), _prompt(body)
    (counted,), shape = await admitted(state, caller, [prompt], model=model)
    if body.get("stream") is True:
        asked = body.get("stream_options")
        told = isinstance(asked, dict) and asked.get("include_usage") is True
        text = _text(body, prompt)
        usage = _usage(counted.tokens, state.count_text(text))
        frames = _frames(model, text, usage if told else None)
        await send_stream(caller.scope, caller.exchange, frames, sse=True, shape=shape)
        return
    answer = _completion(state, model, _text(body, prompt), counted.tokens)
    await send_whole(caller.scope, caller.exchange, answer, shape=shape)


def completion(state: State, body: Mapping[str, Any]) -> Json:
    """The answer to a chat that a batch holds; it books nothing."""
    model, prompt = _model(body), _prompt(body)
    tokens = count_prompt(prompt, state.count_text).tokens
    return _completion(state, model, _text(body, prompt), tokens)


def _text(body: Mapping[str, Any], prompt: Prompt) -> str:
    """The answer: JSON where a schema is given for it."""
    wanted = body.get("response_format")
    given = wanted.get("json_schema") if isinstance(wanted, dict) else None
    return json_text(given.get("schema")) if isinstance(given, dict) else reply_to(prompt)


def _completion(state: State, model: str, text: str, tokens: int) -> Json:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = _usage(tokens, state.count_text(text))
    return {**_head(model, "chat.completion"), "choices": [choice], "usage": usage}


async def embeddings(state: State, caller: Caller) -> None:
    """Embeddings of one text or of several."""
    body = await caller.json()
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not 0 < len(texts) <= MOST_ITEMS:
        raise invalid_argument("input is not specified")
    model, prompts = _model(body), [Prompt((str(text),), 1) for text in texts]
    counted, _ = await admitted(state, caller, prompts, model=model)
    encoding = body.get("encoding_format")
    tokens = sum(each.tokens for each in counted)
    answer = {
        "object": "list",
        "model": model,
        "data": [
            embedding_json(at, vector(each), encoding=encoding) for at, each in enumerate(prompts)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    answer_json(caller.exchange, 200, answer)


async def models(state: State, caller: Caller) -> None:
    """The list of models."""
    data = [_described(name) for name in state.model_names]
    answer_json(caller.exchange, 200, {"object": "list", "data": data})


async def model(state: State, caller: Caller) -> None:
    """One model, by its id with ``models/`` or without."""
    name = caller.call.resource.removeprefix("models/")
    if not state.has_model(name):
        raise model_unknown(name, caller.call.version, "get")
    answer_json(caller.exchange, 200, _described(name))


def _described(name: str) -> Json:
    return {"id": f"models/{name}", "object": "model", "owned_by": "google"}


def _model(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid_argument("model is not specified")
    return model.removeprefix("models/")


def _prompt(body: Mapping[str, Any]) -> Prompt:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid_argument("messages is not specified")
    spoken = [each for each in messages if each.get("role") != "system"]
    texts = [str(each.get("content") or "") for each in messages]
    return Prompt(tuple(texts), len(spoken), has_instruction=len(spoken) < len(messages))


def _usage(prompt: int, completion: int) -> Json:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _head(model: str, kind: str) -> Json:
    return {"id": _ID, "object": kind, "created": 0, "model": model}


def _frames(model: str, text: str, usage: Json | None) -> list[bytes]:
    """Events of a stream; usage, where it was asked for, comes last and without choices."""
    head = _head(model, "chat.completion.chunk")
    parts: list[Json] = [
        {"delta": {"role": "assistant", "content": part}} for part in in_chunks(text)
    ]
    ends = [*parts, {"delta": {}, "finish_reason": "stop"}]
    events = [{**head, "choices": [{"index": 0, **each}]} for each in ends]
    if usage is not None:
        events.append({**head, "choices": [], "usage": usage})
    return [b"data: " + msgspec.json.encode(each) + b"\n\n" for each in events] + [
        b"data: [DONE]\n\n"
    ]
