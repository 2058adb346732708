"""Reading leases; for tellers, not for the hot path."""

from collections.abc import Collection
from typing import Any, NamedTuple

from keypool_cli.engine.engine import Engine
from keypool_cli.engine.keyspace import tag
from keypool_cli.engine.wire import LEASE

_CHUNK = 1000


class Granted(NamedTuple):
    """Which key a lease was granted, and when."""

    key_id: int
    granted_at_ms: int


async def grant_of(engine: Engine, model: str, lease_id: str) -> Granted | None:
    """What a lease was granted, open or not; None for one that is not known (any more)."""
    (found,) = await engine.leases(model, [lease_id])
    if not found:
        return None
    _, _, _, key_id, _, _, _, granted_at_ms, *_ = LEASE.unpack_from(found)
    return Granted(key_id, granted_at_ms)


async def open_leases(
    engine: Engine, model: str, project_ids: Collection[int], *, now_ms: int
) -> list[int]:
    """The key ids of a model's open leases of some projects, one for each lease."""
    with engine.store.errors():
        # Answers are bytes; the client's own types allow for much that cannot come here.
        found: list[Any] = await engine.store.client.zrangebyscore(
            f"{tag(model)}:leases", f"({now_ms}", "+inf"
        )
    ids = [name for each in found if (name := _lease_id(each, project_ids)) is not None]
    leases: list[bytes] = []
    for start in range(0, len(ids), _CHUNK):
        leases += await engine.leases(model, ids[start : start + _CHUNK])
    known = [LEASE.unpack_from(each) for each in leases if each]
    return [key_id for status, _, _, key_id, *_ in known if status == b"o"]


def _lease_id(member: bytes, project_ids: Collection[int]) -> str | None:
    project, _, lease_id = member.decode().partition(":")
    return lease_id if int(project) in project_ids else None
