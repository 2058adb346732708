"""Reading which leases are open; for tellers, not for the hot path."""

import struct
from collections.abc import Collection
from typing import Any

from keypool_cli.engine.keyspace import tag
from keypool_cli.engine.store import Store

_CHUNK = 1000

# The head of LEASE in lua/state.lua: status, project, key.
_HEAD = struct.Struct("<cII")


async def open_leases(
    store: Store, model: str, project_ids: Collection[int], *, now_ms: int
) -> list[int]:
    """The key ids of a model's open leases of some projects, one for each lease."""
    with store.errors():
        # Answers are bytes; the client's own types allow for much that cannot come here.
        found: list[Any] = await store.client.zrangebyscore(
            f"{tag(model)}:leases", f"({now_ms}", "+inf"
        )
        ids = [_lease_id(each, project_ids) for each in found]
        names = [f"{tag(model)}:lease:{each}" for each in ids if each is not None]
        leases: list[Any] = []
        for start in range(0, len(names), _CHUNK):
            leases += await store.client.mget(names[start : start + _CHUNK])
    heads = [_HEAD.unpack_from(each) for each in leases if each is not None]
    return [key_id for status, _, key_id in heads if status == b"o"]


def _lease_id(member: bytes, project_ids: Collection[int]) -> str | None:
    project, _, lease_id = member.decode().partition(":")
    return lease_id if int(project) in project_ids else None
