"""The audit log as it is read: the newest events, or each one as it happens."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace

import msgspec

from keypool_cli.core.model import DIMENSIONS, UNLIMITED, Event
from keypool_cli.core.quota import shown
from keypool_cli.errors import UnreachableError
from keypool_cli.registry.values import EventFilter
from keypool_cli.service.instants import iso, iso_or_none
from keypool_cli.service.ports import Ports

POLL_S = 0.5

_INSTANT = "_at_ms"


class EventView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the audit log."""

    id: int
    at: str
    kind: str
    subject: str
    actor: str
    host: str
    reason: str | None = None
    detail: Mapping[str, object] = {}


async def list_events(ports: Ports, wanted: EventFilter) -> list[EventView]:
    """The newest events that the filter lets through, oldest first."""
    return [_view(each) for each in await ports.call(ports.registry.events.read, wanted)]


async def follow_events(
    ports: Ports, wanted: EventFilter, *, away: Callable[[UnreachableError], None] | None = None
) -> AsyncIterator[EventView]:
    """The newest events, then every later one as it is written; never ends by itself.

    away: told once when the database goes away; nothing is missed by the time it is back. Raises
    UnreachableError without ``away``, or if the database is away at the beginning.
    """
    found = await list_events(ports, wanted)
    after, told = wanted.after_id or 0, False
    while True:
        for each in found:
            after = each.id
            yield each
        if not found:
            await asyncio.sleep(POLL_S)
        try:
            found = await list_events(ports, replace(wanted, after_id=after))
        except UnreachableError as err:
            if away is None:
                raise
            if not told:
                away(err)
            found, told = [], True
        else:
            told = False


def _view(event: Event) -> EventView:
    return EventView(
        id=event.id,
        at=iso(event.at_ms),
        kind=event.kind,
        subject=event.subject,
        actor=event.actor,
        host=event.host,
        reason=event.reason,
        detail=dict(map(_shown, event.detail.items())),
    )


def _shown(member: tuple[str, object]) -> tuple[str, object]:
    """A member of a detail, with instants and limits as JSON has them everywhere."""
    name, value = member
    if name.endswith(_INSTANT) and isinstance(value, int | None):
        return name.removesuffix(_INSTANT), iso_or_none(value)
    if name in DIMENSIONS and value == UNLIMITED:
        return name, shown(UNLIMITED)
    return name, _deep(value)


def _deep(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(map(_shown, value.items()))
    return [_deep(each) for each in value] if isinstance(value, list) else value
