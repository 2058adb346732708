"""``top`` in plain words, and as a line of JSON."""

from collections.abc import Iterator, Sequence

import msgspec

from keypool_cli.cli import status_text
from keypool_cli.cli.status_text import Row
from keypool_cli.service.instances import InstanceView
from keypool_cli.service.standing import Unread, Use
from keypool_cli.service.top import Top


class PoolLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pool's headline: how many projects are in each state, and when the next is ready."""

    pool: str
    ready: int
    full: int
    cooling: int
    excluded: int
    disabled: int
    dead: int
    next_ready_at: str | None = None
    next_ready_s: float | None = None


class RowLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A project on a model; model, use and leases are absent where it has none to show."""

    project: str
    state: str
    model: str | None = None
    leases: int | None = None
    rpm: Use | None = None
    tpm: Use | None = None
    rpd: Use | None = None
    reason: str | None = None
    until: str | None = None
    remaining_s: float | None = None
    rule: str | None = None


class TopLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One moment of ``top``. more: rows that the limit left out; see ``service.top`` for the rest."""

    schema: int
    at: str
    pools: list[PoolLine]
    rows: list[RowLine]
    more: int
    leases: int
    leases_per_s: float
    queue: dict[str, int]
    errors: dict[str, int]
    refused: dict[str, int]
    instances: list[InstanceView]
    unread: list[Unread] = []
    unreported: str | None = None


def json_line(top: Top, rows: Sequence[Row], limit: int) -> TopLine:
    """One moment as programs read it, with the first rows only."""
    return TopLine(
        schema=1,
        at=top.status.at,
        pools=msgspec.convert(top.status.pools, list[PoolLine], from_attributes=True),
        rows=[_row(row) for row in rows[:limit]],
        more=max(len(rows) - limit, 0),
        leases=top.leases,
        leases_per_s=top.leases_per_s,
        queue=dict(top.queue),
        errors=dict(top.errors),
        refused=dict(top.refused),
        instances=list(top.instances),
        unread=top.status.unread,
        unreported=top.unreported,
    )


def _row(row: Row) -> RowLine:
    project, model, state = row
    told = model or project
    return RowLine(
        project.project,
        state,
        model=model.model if model else None,
        leases=model.leases if model else None,
        rpm=model.rpm if model else None,
        tpm=model.tpm if model else None,
        rpd=model.rpd if model else None,
        reason=status_text.reason_text(project, model) or None,
        until=told.until,
        remaining_s=told.remaining_s,
        rule=told.rule,
    )


def lines(top: Top, rows: Sequence[Row], limit: int) -> Iterator[str]:
    """One moment for a terminal that can place nothing: summary, then tab-separated rows."""
    from keypool_cli.cli.top_view import summary

    yield from (each.plain for each in summary(top))
    for project, model, state in rows[:limit]:
        uses = [] if model is None else map(status_text.use_text, (model.rpm, model.tpm, model.rpd))
        yield "\t".join([project.project, model.model if model else "-", state, *uses])
    if len(rows) > limit:
        yield f"{len(rows) - limit} more rows: see --limit"
