"""Reading leases; for tellers, not for the hot path."""

from collections.abc import Collection
from typing import Any, NamedTuple

from keypool_cli.engine.keyspace import tag
from keypool_cli.engine.store import Store
from keypool_cli.engine.wire import LEASE

_CHUNK = 1000


class Granted(NamedTuple):
    """Which key a lease was granted, and when."""

    key_id: int
    granted_at_ms: int


async def grant_of(store: Store, model: str, lease_id: str) -> Granted | None:
    """What a lease was granted, open or not; None for one that is not known (any more)."""
    with store.errors():
        found: Any = await store.client.get(f"{tag(model)}:lease:{lease_id}")
    if found is None:
        return None
    _, _, key_id, _, _, _, _, _, granted_at_ms, *_ = LEASE.unpack_from(found)
    return Granted(key_id, granted_at_ms)


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
    known = [LEASE.unpack_from(each) for each in leases if each is not None]
    return [key_id for status, _, key_id, *_ in known if status == b"o"]


def _lease_id(member: bytes, project_ids: Collection[int]) -> str | None:
    project, _, lease_id = member.decode().partition(":")
    return lease_id if int(project) in project_ids else None
