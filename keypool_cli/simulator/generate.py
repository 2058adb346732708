"""generateContent and streamGenerateContent: book the quota, then answer."""

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from keypool_cli.simulator.caller import Caller, take_faults, unknown_model, wants_sse
from keypool_cli.simulator.faults import Fault
from keypool_cli.simulator.refusals import GeminiError, Json, invalid_argument
from keypool_cli.simulator.reply import THOUGHT, answers, in_chunks, reply_to, usage
from keypool_cli.simulator.request import read_body, read_json, read_prompt, thinking_of
from keypool_cli.simulator.scripted import refusal_of, shape_of
from keypool_cli.simulator.sending import array_frames, send_stream, send_whole, sse_frames
from keypool_cli.simulator.shelf import cached_tokens, check_mentions
from keypool_cli.simulator.state import Project, State
from keypool_cli.simulator.structured import wanted_call, wanted_json
from keypool_cli.simulator.tokens import Counted, count_prompt

MOST_TOKENS = 1_048_576


async def generate(state: State, caller: Caller) -> None:
    """Answer a prompt; raises GeminiError for what Gemini, its quota or a fault refuses."""
    body = await read_body(caller.scope, caller.exchange)
    faults = take_faults(state, caller, "generate")
    shape = shape_of(state, faults)
    if shape.first_byte_s:
        await asyncio.sleep(shape.first_byte_s)
    streams = caller.call.method == "streamGenerateContent"
    late = [each for each in faults if streams and each.within is not None]
    asked, counted = _admitted(state, caller, body, [each for each in faults if each not in late])
    state.accepted(caller.project, caller.key, model=caller.model, tokens=counted.tokens)
    if shape.drop_after is not None:
        state.dropped(caller.project, caller.model)
    chunks = _chunks(state, caller, counted, asked)
    if not streams:
        await send_whole(caller.scope, caller.exchange, chunks[0], shape=shape)
        return
    sse = wants_sse(caller.scope)
    told = _broken_off(state, caller, chunks, late)
    frames = sse_frames(told) if sse else array_frames(told)
    await send_stream(caller.scope, caller.exchange, frames, sse=sse, shape=shape)


def _admitted(
    state: State, caller: Caller, body: bytes, faults: list[Fault]
) -> tuple[Json, Counted]:
    """The body and its prompt, once booked. Calls that fail with 400 or 500 are booked as well."""
    project, model = caller.project, caller.model
    scripted = refusal_of(state, faults, project=project, key=caller.key, model=model)
    if scripted is not None and not scripted.counts:
        raise scripted
    if not state.has_model(model):
        raise unknown_model(caller)
    try:
        asked = read_json(body)
        counted = _counted(state, project, asked)
    except GeminiError:
        state.admit(project, model, 0)
        raise
    state.admit(project, model, counted.tokens)
    if scripted is not None:
        raise scripted
    return asked, counted


def _counted(state: State, project: Project, asked: Json) -> Counted:
    check_mentions(project.shelf, asked)
    cached = cached_tokens(project.shelf, asked)
    counted = replace(count_prompt(read_prompt(asked), state.count_text), cached_tokens=cached)
    if counted.tokens > MOST_TOKENS:
        raise invalid_argument(
            f"The input token count ({counted.tokens}) exceeds the maximum number of tokens "
            f"allowed ({MOST_TOKENS})."
        )
    return counted


def _chunks(state: State, caller: Caller, counted: Counted, asked: Json) -> list[Json]:
    call = wanted_call(asked)
    text = "" if call else wanted_json(asked) or reply_to(counted.prompt)
    streams = caller.call.method == "streamGenerateContent"
    texts = in_chunks(text) if streams else [text]
    thinking = thinking_of(asked)
    thoughts = state.count_text(THOUGHT) if thinking.on else 0
    chunks = answers(
        texts,
        model=caller.model,
        usages=[usage(counted, state.count_text(each), thoughts) for each in accumulate(texts)],
        response_id=f"{zlib.crc32(text.encode()):08x}{state.now_ms():x}",
        thought=THOUGHT if thinking.shown else "",
    )
    if call is not None:
        chunks[-1]["candidates"][0]["content"]["parts"][-1] = call
    return chunks


def _broken_off(
    state: State, caller: Caller, chunks: list[Json], faults: list[Fault]
) -> Sequence[object]:
    """What a stream says until a fault ends it with an error."""
    project, key, model = caller.project, caller.key, caller.model
    err = refusal_of(state, faults, project=project, key=key, model=model)
    return chunks if err is None else [*chunks[: faults[0].within], err.body]
