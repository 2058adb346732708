"""``GET /keypool/v1/events``: the audit log, the newest of it or each event as it happens."""

import msgspec

from keypool_cli.daemon.auth import Auth
from keypool_cli.daemon.hanging_up import unless_gone
from keypool_cli.daemon.schema import EventsAnswer
from keypool_cli.errors import UsageError
from keypool_cli.http.message import answer_json, query_pairs, whole_number
from keypool_cli.http.rsgi import Exchange, Header, Scope
from keypool_cli.registry.values import EventFilter
from keypool_cli.service.alarms import Alarms
from keypool_cli.service.events import follow_events, list_events
from keypool_cli.service.instants import now_ms
from keypool_cli.service.ports import Ports

MOST_EVENTS = 1000

_STREAM: list[Header] = [("content-type", "text/event-stream"), ("cache-control", "no-store")]
_NAMES = frozenset({"kind", "subject", "limit", "after", "since_s", "follow"})
_OLDEST_S = 10**9


class EventLog:
    """Answers with events; needs the scope ``read``."""

    def __init__(self, ports: Ports, auth: Auth) -> None:
        self._ports = ports
        self._auth = auth

    async def handle(self, scope: Scope, proto: Exchange) -> None:
        """Answer one call; with ``follow=true`` as server-sent events, without an end."""
        self._auth.reader(scope)
        asked = dict(query_pairs(scope.query_string))
        if (last := scope.headers.get("last-event-id")) is not None:
            asked["after"] = last
        wanted = filter_of(asked)
        if asked.get("follow", "false") == "true":
            await unless_gone(self._follow(wanted, proto), proto, Alarms())
            return
        found = await list_events(self._ports, wanted)
        answer_json(proto, 200, EventsAnswer(1, found))

    async def _follow(self, wanted: EventFilter, proto: Exchange) -> None:
        stream = proto.response_stream(200, _STREAM)
        async for each in follow_events(self._ports, wanted):
            data = msgspec.json.encode(each)
            await stream.send_bytes(b"id: %d\ndata: %b\n\n" % (each.id, data))


def filter_of(asked: dict[str, str]) -> EventFilter:
    """The filter that a query names. Raises UsageError for what it does not know."""
    unknown = sorted(asked.keys() - _NAMES)
    if unknown:
        raise UsageError(
            f"events cannot be asked for by {unknown[0]!r}", hint=f"by {', '.join(sorted(_NAMES))}"
        )
    if asked.get("follow", "false") not in {"true", "false"}:
        raise UsageError("follow is true or false")
    after, since = asked.get("after"), asked.get("since_s")
    return EventFilter(
        kind=asked.get("kind"),
        subject=asked.get("subject"),
        after_id=None if after is None else whole_number(after, "after", least=0, most=2**53),
        since_ms=None
        if since is None
        else _ago_ms(whole_number(since, "since_s", least=0, most=_OLDEST_S)),
        limit=whole_number(asked.get("limit", "50"), "limit", least=1, most=MOST_EVENTS),
    )


def _ago_ms(seconds: int) -> int:
    return now_ms() - seconds * 1000
