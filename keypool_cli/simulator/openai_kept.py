"""Files and batches on the OpenAI-compatible paths; they are the same ones as on Gemini's own.

Google's shim carries batches of files that were uploaded on Gemini's own paths, and names both as
Gemini does; its documentation says that files do not go through it yet. Here they do.
"""

from datetime import datetime

from keypool_cli.http.message import answer_json, query_pairs
from keypool_cli.simulator.batches import further
from keypool_cli.simulator.caller import Caller
from keypool_cli.simulator.refusals import Json, invalid_argument
from keypool_cli.simulator.request import read_body
from keypool_cli.simulator.shelf import Content, check_mentions, instant, keep_file, new_id, wrong
from keypool_cli.simulator.state import State

_LIMIT = "20"
_STATES = {
    "BATCH_STATE_PENDING": "validating",
    "BATCH_STATE_RUNNING": "in_progress",
    "BATCH_STATE_SUCCEEDED": "completed",
    "BATCH_STATE_CANCELLED": "cancelled",
}


async def upload(state: State, caller: Caller) -> None:
    """A file, as a form with its content and its purpose."""
    fields = _form(await read_body(caller.scope, caller.exchange), caller)
    if "file" not in fields or "purpose" not in fields:
        raise wrong("file and purpose")
    content = Content()
    content.add(fields["file"])
    meta = {"displayName": "upload", "mimeType": "application/jsonl"}
    file = keep_file(caller.project.shelf, meta, content, now_ms=state.now_ms())
    answer_json(caller.exchange, 200, _file(file))


async def make(state: State, caller: Caller) -> None:
    """A batch of the requests in a file."""
    body = await caller.json()
    given = body.get("input_file_id")
    if not isinstance(given, str):
        raise wrong("input_file_id")
    source = {"fileName": f"files/{given.removeprefix('files/')}"}
    check_mentions(caller.project.shelf, source)
    name = f"batches/{new_id()}"
    metadata = {
        "createTime": instant(state.now_ms()),
        "state": "BATCH_STATE_PENDING",
        "inputConfig": source,
    }
    item = caller.project.shelf.put(name, {"name": name, "metadata": metadata})
    answer_json(caller.exchange, 200, _batch(item))


async def show_file(_state: State, caller: Caller) -> None:
    """A file, without its content."""
    answer_json(caller.exchange, 200, _file(caller.project.shelf.get(caller.call.resource)))


async def show_batch(state: State, caller: Caller) -> None:
    """A batch; whoever asks a second time finds it done."""
    answer_json(caller.exchange, 200, _batch(further(state, caller)))


async def cancel(_state: State, caller: Caller) -> None:
    """Stop a batch; it stays to be seen."""
    item = caller.project.shelf.get(caller.call.resource)
    item["metadata"]["state"] = "BATCH_STATE_CANCELLED"
    answer_json(caller.exchange, 200, _batch(item))


async def content(_state: State, caller: Caller) -> None:
    """A file's content."""
    shelf, name = caller.project.shelf, caller.call.resource
    kind = ("content-type", shelf.get(name)["mimeType"])
    caller.exchange.response_bytes(200, [kind], shelf.contents[name])


async def removed(_state: State, caller: Caller) -> None:
    """Away with one."""
    name = caller.call.resource
    caller.project.shelf.remove(name)
    kind = {"files": "file", "batches": "batch"}[name.partition("/")[0]]
    answer_json(caller.exchange, 200, {"id": name, "object": kind, "deleted": True})


async def listed(_state: State, caller: Caller) -> None:
    """A page of a collection."""
    collection, query = caller.call.resource, dict(query_pairs(caller.scope.query_string))
    view = {"files": _file, "batches": _batch}[collection]
    items = [view(each) for each in caller.project.shelf.of(collection)]
    names = [each["id"] for each in items]
    after, limit = query.get("after"), int(query.get("limit") or _LIMIT)
    if after is not None and after not in names:
        raise invalid_argument("after names nothing")
    start = names.index(after) + 1 if after is not None else 0
    more = start + limit < len(items)
    page = {"object": "list", "data": items[start : start + limit], "has_more": more}
    answer_json(caller.exchange, 200, page)


def _file(item: Json) -> Json:
    return {
        "id": item["name"],
        "object": "file",
        "bytes": int(item["sizeBytes"]),
        "created_at": _second(item["createTime"]),
        "filename": item["displayName"],
        "purpose": "batch_output" if item["source"] == "GENERATED" else "batch",
        "status": "processed",
    }


def _batch(item: Json) -> Json:
    metadata = item["metadata"]
    return {
        "id": item["name"],
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "status": _STATES[metadata["state"]],
        "created_at": _second(metadata["createTime"]),
        "input_file_id": metadata["inputConfig"].get("fileName", ""),
        "output_file_id": metadata.get("output", {}).get("responsesFile"),
    }


def _second(said: str) -> int:
    return int(datetime.fromisoformat(said).timestamp())


def _form(body: bytes, caller: Caller) -> dict[str, bytes]:
    """The fields of a form, without their file names."""
    kind = caller.scope.headers.get("content-type") or ""
    boundary = kind.partition("boundary=")[2].strip('"')
    if not boundary:
        raise wrong("a form")
    fields: dict[str, bytes] = {}
    for part in body.split(b"--" + boundary.encode())[1:-1]:
        head, _, data = part.partition(b"\r\n\r\n")
        name = head.decode().partition(' name="')[2].partition('"')[0]
        fields[name] = data.removesuffix(b"\r\n")
    return fields
