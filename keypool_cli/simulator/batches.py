"""Batches and long operations: accepted at once, done when they are first asked for."""

from typing import Any

import msgspec

from keypool_cli.http.message import answer_json
from keypool_cli.simulator.admitting import admitted
from keypool_cli.simulator.caller import Caller, unknown_model
from keypool_cli.simulator.openai import completion
from keypool_cli.simulator.refusals import Json
from keypool_cli.simulator.reply import answers, reply_to, usage
from keypool_cli.simulator.request import read_prompt
from keypool_cli.simulator.shelf import Content, check_mentions, instant, keep_file, new_id, wrong
from keypool_cli.simulator.state import State
from keypool_cli.simulator.tokens import Prompt, count_prompt

_TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"


async def make(state: State, caller: Caller) -> None:
    """A batch of inline requests, or of those in a file."""
    body = await caller.json()
    if not state.has_model(caller.model):
        raise unknown_model(caller)
    batch = body.get("batch")
    source = (
        batch.get("inputConfig", batch.get("input_config")) if isinstance(batch, dict) else None
    )
    if not isinstance(batch, dict) or not isinstance(source, dict):
        raise wrong("batch.input_config")
    check_mentions(caller.project.shelf, source)
    name = f"batches/{new_id()}"
    metadata = {
        "@type": _TYPE,
        "model": f"models/{caller.model}",
        "displayName": batch.get("displayName", batch.get("display_name", "")),
        "createTime": instant(state.now_ms()),
        "state": "BATCH_STATE_PENDING",
        "name": name,
        "inputConfig": source,
    }
    item = {"name": name, "metadata": metadata}
    answer_json(caller.exchange, 200, caller.project.shelf.put(name, item))


async def show(state: State, caller: Caller) -> None:
    """A batch; whoever asks a second time finds it done."""
    answer_json(caller.exchange, 200, further(state, caller))


def further(state: State, caller: Caller) -> Json:
    """A batch, one step on with each look at it."""
    item = caller.project.shelf.get(caller.call.resource)
    metadata = item["metadata"]
    if metadata["state"] == "BATCH_STATE_RUNNING":
        metadata["state"] = "BATCH_STATE_SUCCEEDED"
        metadata["output"] = _output(state, caller, metadata["inputConfig"])
        item |= {"done": True, "response": metadata["output"]}
    elif metadata["state"] == "BATCH_STATE_PENDING":
        metadata["state"] = "BATCH_STATE_RUNNING"
    return item


def _output(state: State, caller: Caller, source: Json) -> Json:
    name = source.get("fileName", source.get("file_name"))
    if name is None:
        inline = source["requests"]["requests"]
        done = [{"response": _answer(state, each["request"])} for each in inline]
        return {"inlinedResponses": {"inlinedResponses": done}}
    lines = caller.project.shelf.contents[str(name)].splitlines()
    content = Content()
    for line in lines:
        content.add(msgspec.json.encode(_done(state, msgspec.json.decode(line))) + b"\n")
    meta = {"name": f"files/batch-{new_id()}", "mimeType": "application/jsonl"}
    shelf = caller.project.shelf
    file = keep_file(shelf, meta, content, now_ms=state.now_ms(), made=True)
    return {"responsesFile": file["name"]}


def _done(state: State, asked: dict[str, Any]) -> Json:
    """One line's answer, in the form of its request: Gemini's, or OpenAI's."""
    if "body" not in asked:
        return {"key": asked.get("key"), "response": _answer(state, asked["request"])}
    response = {"status_code": 200, "body": completion(state, asked["body"])}
    return {"id": new_id(), "custom_id": asked.get("custom_id"), "response": response}


def _answer(state: State, request: Json) -> Json:
    counted = count_prompt(read_prompt(request), state.count_text)
    text = reply_to(counted.prompt)
    told = usage(counted, state.count_text(text))
    return answers([text], model="simulated", usages=[told], response_id=new_id())[0]


async def predict_long(state: State, caller: Caller) -> None:
    """A video, to be asked for later; it books one request."""
    body = await caller.json()
    instances = body.get("instances")
    if not isinstance(instances, list) or not instances:
        raise wrong("instances")
    await admitted(state, caller, [Prompt((str(instances[0]),), 1)])
    name = f"models/{caller.model}/operations/{new_id()}"
    answer_json(caller.exchange, 200, caller.project.shelf.put(name, {"name": name}))


async def show_operation(state: State, caller: Caller) -> None:
    """An operation; it is done, and names the file it made."""
    item, shelf = caller.project.shelf.get(caller.call.resource), caller.project.shelf
    if "done" not in item:
        content = Content()
        content.add(b"a video")
        meta = {"mimeType": "video/mp4"}
        file = keep_file(shelf, meta, content, now_ms=state.now_ms(), made=True)
        samples = {"generatedSamples": [{"video": {"uri": file["downloadUri"]}}]}
        item |= {"done": True, "response": {"generateVideoResponse": samples}}
    answer_json(caller.exchange, 200, item)
