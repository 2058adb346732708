"""Interactions: one turn, whole or as a stream of named events, kept unless that is not wanted."""

import msgspec

from keypool_cli.simulator.admitting import admitted
from keypool_cli.simulator.caller import Caller
from keypool_cli.simulator.refusals import Json, invalid_argument
from keypool_cli.simulator.reply import in_chunks, reply_to
from keypool_cli.simulator.sending import send_stream, send_whole
from keypool_cli.simulator.shelf import check_mentions, new_id
from keypool_cli.simulator.state import State
from keypool_cli.simulator.tokens import Prompt


async def interact(state: State, caller: Caller) -> None:
    """Answer one input."""
    body = await caller.json()
    model, given = _model(state, caller, body), body.get("input")
    if not isinstance(model, str) or not given:
        raise invalid_argument("model and input must be specified")
    prompt = Prompt((given if isinstance(given, str) else str(given),), 1)
    check_mentions(caller.project.shelf, body)
    (counted,), shape = await admitted(state, caller, [prompt], model=model)
    text = reply_to(prompt)
    own = f"v1_{new_id()}"
    answer = _interaction(own, model, text, counted.tokens, state.count_text(text))
    environment = _environment(caller, body)
    if environment is not None:
        answer["environment_id"] = environment
    if body.get("store") is not False:
        caller.project.shelf.put(f"interactions/{own}", answer)
    if body.get("stream") is True:
        frames = _frames(answer, text)
        await send_stream(caller.scope, caller.exchange, frames, sse=True, shape=shape)
    else:
        await send_whole(caller.scope, caller.exchange, answer, shape=shape)


def _model(state: State, caller: Caller, body: Json) -> object:
    """The model that answers; for an agent of the project's own making, any."""
    agent = body.get("agent")
    if not isinstance(agent, str) or state.has_model(agent):
        return body.get("model", agent)
    caller.project.shelf.get(f"agents/{agent}")
    return next(iter(state.model_names))


def _environment(caller: Caller, body: Json) -> str | None:
    """The environment that an agent works in: a new one, or one that the project has."""
    said = body.get("environment")
    if isinstance(said, dict):
        said = said.get("environment_id", "remote")
    if not isinstance(said, str):
        return None
    shelf = caller.project.shelf
    if said == "remote":
        said = f"env_{new_id()}"
        shelf.put(f"environments/{said}", {"id": said})
    shelf.get(f"environments/{said}")
    return said


def _interaction(own: str, model: str, text: str, tokens: int, said: int) -> Json:
    return {
        "id": own,
        "object": "interaction",
        "model": model,
        "status": "completed",
        "role": "model",
        "steps": [{"type": "model_output", "content": [{"type": "text", "text": text}]}],
        "usage": {
            "total_input_tokens": tokens,
            "total_output_tokens": said,
            "total_thought_tokens": 0,
            "total_cached_tokens": 0,
            "total_tool_use_tokens": 0,
            "total_tokens": tokens + said,
        },
    }


def _frames(answer: Json, text: str) -> list[bytes]:
    """Events as of the revision of 2026-05-20; the last one tells usage, and no steps."""
    begun = {"id": answer["id"], "object": "interaction", "status": "in_progress"}
    ended = {name: value for name, value in answer.items() if name != "steps"}
    events: list[Json] = [
        {"interaction": begun, "event_type": "interaction.created"},
        {"index": 0, "step": {"type": "model_output"}, "event_type": "step.start"},
        *(
            {"index": 0, "delta": {"type": "text", "text": part}, "event_type": "step.delta"}
            for part in in_chunks(text)
        ),
        {"index": 0, "event_type": "step.stop"},
        {"interaction": ended, "event_type": "interaction.completed"},
    ]
    return [
        f"event: {each['event_type']}\ndata: ".encode() + msgspec.json.encode(each) + b"\n\n"
        for each in events
    ]
