"""Packed records that the scripts of the hot path take and answer; their fields: ``lua/records.lua``."""

from collections.abc import Sequence
from struct import Struct

from keypool_cli.engine.types import (
    Acquired,
    Demand,
    Grant,
    LeaseEnd,
    LiveMark,
    MarkAction,
    Refused,
    Settled,
    Settlement,
    Stale,
    Waits,
)

_DEMAND = Struct("<HddIIqqHBBH")
_RESULT = Struct("<BIqB")
_ANSWER = Struct("<Bqq")
_ITEM = Struct("<dIBBqqqdH")
_SIZE = Struct("<I")
LEASE = Struct("<cqIIIHdqqdBq")
"""A lease as it is stored, but for the name of its project behind it."""
_GRANT = Struct("<9xII14xqq17x")
"""What it tells whoever asked for it: project, key, granted at, expires at."""

_REFUSED = 0
_OPEN = ord("o")
_MARKS = {action: index for index, action in enumerate(MarkAction, 1)}
_NO_MARK = LiveMark(MarkAction.COOL)
_WAITS = Waits()


def pack_demand(demand: Demand) -> bytes:
    """What acquire and explain take."""
    # All of ours, and ASCII: as many bytes as characters.
    lease_id, prefer, daemon, avoid = demand.lease_id, demand.prefer, demand.daemon, demand.avoid
    head = _DEMAND.pack(
        demand.requests,
        demand.tokens,
        demand.deadline_ms,
        demand.ttl_ms,
        demand.client,
        demand.client_rpm,
        demand.client_tpm,
        len(lease_id),
        len(prefer),
        len(daemon),
        len(avoid),
    )
    return head + f"{lease_id}{prefer}{daemon}{avoid}".encode("ascii")


def read_acquired(answer: bytes, demands: Sequence[Demand]) -> Acquired | Stale:
    """The answer of acquire to these demands."""
    if answer[0] == _OPEN:
        grant = Grant(demands[0].lease_id, *_GRANT.unpack_from(answer))
        return Acquired(grant.granted_at_ms, [grant])
    known, now, revision = _ANSWER.unpack_from(answer)
    if not known:
        return Stale(revision)
    results: list[Grant | Refused | Waits] = []
    at = _ANSWER.size
    for demand in demands:
        if answer[at] == _OPEN:
            results.append(Grant(demand.lease_id, *_GRANT.unpack_from(answer, at)))
            at = _behind_name(answer, at + _GRANT.size)
        else:
            result, at = _read_result(answer, at)
            results.append(result)
    return Acquired(now, results)


def _behind_name(answer: bytes, start: int) -> int:
    """Where the name of a project, which starts there, and its zero end."""
    return answer.index(0, start) + 1


def _read_result(answer: bytes, start: int) -> tuple[Refused | Waits, int]:
    """A demand that was not granted, and where the next result starts."""
    kind, project, at, size = _RESULT.unpack_from(answer, start)
    start += _RESULT.size
    end = start + size
    if kind == _REFUSED:
        return Refused(at or None, answer[start:end].decode(), project), end
    return _WAITS, end


def read_grant(row: bytes) -> Grant:
    """A grant of pump."""
    lease_id = row[_behind_name(row, _GRANT.size) :].decode()
    return Grant(lease_id, *_GRANT.unpack_from(row))


def pack_settlement(item: Settlement) -> bytes:
    """What settle takes."""
    lease_id = item.lease_id.encode()
    mark = item.mark or _NO_MARK
    head = _ITEM.pack(
        -1 if item.tokens is None else item.tokens,
        item.client,
        item.success,
        0 if item.mark is None else _MARKS[mark.action],
        mark.until_ms,
        mark.base_ms,
        mark.cap_ms,
        mark.jitter,
        len(lease_id),
    )
    return b"".join((head, lease_id, item.answer.encode()))


def read_outcomes(answer: bytes, count: int) -> list[Settled | LeaseEnd]:
    """The answer of settle to so many items."""
    if count == 1:
        return [_read_outcome(answer)]
    outcomes, at, end = [], 0, len(answer)
    while at < end:
        (size,) = _SIZE.unpack_from(answer, at)
        at += _SIZE.size
        outcomes.append(_read_outcome(answer[at : at + size]))
        at += size
    return outcomes


def _read_outcome(answer: bytes) -> Settled | LeaseEnd:
    if not answer:
        return LeaseEnd.MISSING
    found = LEASE.unpack_from(answer, 1)
    status, tokens, project, key, _, _, _, granted_at, _, _, applied, until_at = found
    if status == b"r":
        return LeaseEnd.RELEASED
    return Settled(
        tokens=tokens,
        applied=bool(applied),
        until_ms=until_at,
        answer=answer[_behind_name(answer, 1 + LEASE.size) :].decode(),
        project_id=project,
        key_id=key,
        granted_at_ms=granted_at,
        first=answer[:1] == b"1",
    )
