"""embedContent, batchEmbedContents and predict: each item books one request."""

import base64
import struct
import zlib
from collections.abc import Sequence

from keypool_cli.http.message import answer_json
from keypool_cli.simulator.admitting import admitted, prompt_of
from keypool_cli.simulator.caller import Caller
from keypool_cli.simulator.refusals import Json, invalid_argument
from keypool_cli.simulator.state import State
from keypool_cli.simulator.tokens import Prompt

MOST_ITEMS = 100
_SIZE = 8


async def embed(state: State, caller: Caller) -> None:
    """One embedding."""
    body = await caller.json()
    prompt = prompt_of([body.get("content")])
    await admitted(state, caller, [prompt])
    answer_json(caller.exchange, 200, {"embedding": {"values": vector(prompt)}})


async def batch_embed(state: State, caller: Caller) -> None:
    """Several embeddings, in their order."""
    body = await caller.json()
    items = body.get("requests")
    if not isinstance(items, list) or not 0 < len(items) <= MOST_ITEMS:
        raise invalid_argument(f"at most {MOST_ITEMS} requests can be in one batch")
    prompts = [prompt_of([item.get("content")]) for item in items]
    await admitted(state, caller, prompts)
    answer_json(
        caller.exchange, 200, {"embeddings": [{"values": vector(each)} for each in prompts]}
    )


async def predict(state: State, caller: Caller) -> None:
    """One prediction: an image that is none."""
    body = await caller.json()
    instances = body.get("instances")
    if not isinstance(instances, list) or not instances:
        raise invalid_argument("instances is not specified")
    await admitted(state, caller, [Prompt((str(instances[0]),), 1)])
    image = {"mimeType": "image/png", "bytesBase64Encoded": base64.b64encode(b"image").decode()}
    answer_json(caller.exchange, 200, {"predictions": [image]})


def vector(prompt: Prompt) -> list[float]:
    """Numbers in [-1, 1], the same for the same text."""
    seed = " ".join(prompt.texts).encode(errors="replace")
    return [zlib.crc32(seed + bytes([at])) / 2**31 - 1 for at in range(_SIZE)]


def as_base64(values: Sequence[float]) -> str:
    """A vector as OpenAI's clients ask for it: little-endian floats of 32 bits."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def embedding_json(at: int, values: Sequence[float], *, encoding: object) -> Json:
    """One element of an OpenAI answer."""
    shown = as_base64(values) if encoding == "base64" else list(values)
    return {"object": "embedding", "index": at, "embedding": shown}
