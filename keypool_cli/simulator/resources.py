"""What a project keeps, over HTTP: made where that takes no quota, shown, listed, removed."""

from collections.abc import Mapping

from keypool_cli.http.message import answer_json, query_pairs
from keypool_cli.simulator.caller import Caller
from keypool_cli.simulator.paging import page_of
from keypool_cli.simulator.refusals import Json, foreign
from keypool_cli.simulator.request import read_prompt
from keypool_cli.simulator.shelf import CACHE_S, check_mentions, instant, new_id, wrong
from keypool_cli.simulator.state import State
from keypool_cli.simulator.tokens import count_prompt

_MEMBERS = {"batches": "operations"}


async def show(_state: State, caller: Caller) -> None:
    """One of them."""
    answer_json(caller.exchange, 200, caller.project.shelf.get(caller.call.resource))


async def listed(_state: State, caller: Caller) -> None:
    """A page of a collection."""
    collection = caller.call.resource
    query = dict(query_pairs(caller.scope.query_string))
    items, following = page_of(caller.project.shelf.of(collection), query, default=10)
    answer: Json = {_MEMBERS.get(collection, collection): items} if items else {}
    if following is not None:
        answer["nextPageToken"] = following
    answer_json(caller.exchange, 200, answer)


async def removed(_state: State, caller: Caller) -> None:
    """Away with one."""
    caller.project.shelf.remove(caller.call.resource)
    answer_json(caller.exchange, 200, {})


async def download(_state: State, caller: Caller) -> None:
    """A file's content; only those that Gemini made itself can be had."""
    shelf, name = caller.project.shelf, caller.call.resource
    if shelf.get(name)["source"] != "GENERATED":
        raise foreign(name)
    kind = ("content-type", shelf.get(name)["mimeType"])
    caller.exchange.response_bytes(200, [kind], shelf.contents[name])


async def make_cache(state: State, caller: Caller) -> None:
    """A cache of contents."""
    body = await caller.json()
    if not body.get("model"):
        raise wrong("model")
    check_mentions(caller.project.shelf, body)
    counted = count_prompt(read_prompt(body), state.count_text)
    name, now_ms = f"cachedContents/{new_id()}", state.now_ms()
    item = {
        "name": name,
        "model": body["model"],
        "displayName": body.get("displayName", ""),
        "createTime": instant(now_ms),
        "updateTime": instant(now_ms),
        "expireTime": instant(now_ms, _ttl_s(body)),
        "usageMetadata": {"totalTokenCount": counted.tokens},
    }
    answer_json(caller.exchange, 200, caller.project.shelf.put(name, item))


async def put_off(state: State, caller: Caller) -> None:
    """Change a cache's end."""
    body = await caller.json()
    item = caller.project.shelf.get(caller.call.resource)
    item["expireTime"] = instant(state.now_ms(), _ttl_s(body))
    answer_json(caller.exchange, 200, item)


async def make_store(state: State, caller: Caller) -> None:
    """A file search store."""
    body = await caller.json()
    name = f"fileSearchStores/{new_id()}"
    item = {
        "name": name,
        "displayName": body.get("displayName", ""),
        "createTime": instant(state.now_ms()),
    }
    answer_json(caller.exchange, 200, caller.project.shelf.put(name, item))


async def make_agent(_state: State, caller: Caller) -> None:
    """An agent, under the id that its maker chose."""
    body = await caller.json()
    own = body.get("id")
    if not isinstance(own, str) or not own:
        raise wrong("id")
    answer_json(caller.exchange, 200, caller.project.shelf.put(f"agents/{own}", body))


async def cancelled(_state: State, caller: Caller) -> None:
    """Stop one; it stays to be seen."""
    item = caller.project.shelf.get(caller.call.resource)
    if "metadata" in item:
        item["metadata"]["state"] = "BATCH_STATE_CANCELLED"
        answer_json(caller.exchange, 200, {})
    else:
        item["status"] = "cancelled"
        answer_json(caller.exchange, 200, item)


def _ttl_s(body: Mapping[str, object]) -> float:
    ttl = body.get("ttl")
    return float(ttl.removesuffix("s")) if isinstance(ttl, str) else CACHE_S
