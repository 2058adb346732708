"""The drop-in Gemini proxy over HTTP: who asks, what for, and the answer passed on as it comes."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

from keypool_cli.daemon.bodies import StalledError
from keypool_cli.daemon.gemini_errors import Form, answer_gemini_error, mark
from keypool_cli.daemon.hanging_up import GoneError, Lookout
from keypool_cli.daemon.not_forwarded import not_forwarded
from keypool_cli.daemon.proxy_ordering import Asked, Ordering
from keypool_cli.daemon.proxy_relay import relay
from keypool_cli.daemon.proxy_request import wants_sse
from keypool_cli.daemon.resources import Noting
from keypool_cli.daemon.resources_lists import Lists
from keypool_cli.daemon.resources_stream import NamedStream
from keypool_cli.daemon.uploads import UploadCalls, upload_token
from keypool_cli.errors import KeypoolError
from keypool_cli.http.connection import stop_reading
from keypool_cli.http.message import Arrived
from keypool_cli.http.rsgi import Exchange, Scope
from keypool_cli.service.alarms import Alarms
from keypool_cli.service.passage import Passage
from keypool_cli.service.proxying import Proxying, Ticketing
from keypool_cli.service.resources import Resources
from keypool_cli.upstream.calls import Call, Cost, Touch, read_call

PREFIXES = ("/v1beta/", "/v1/", "/v1alpha/", "/upload/", "/download/")

SHORT_ENDINGS = (":generateContent", ":streamGenerateContent", ":embedContent", ":countTokens")
"""Of paths whose bodies are read whole, and mostly short."""

# Each time an enum's member is looked up costs 0.2 us on Python 3.11.
_UPLOAD, _LIST = Touch.UPLOAD, Touch.LIST

_FORMS = (
    (re.compile(r"/[^/]+/openai(?:/|$)"), Form.OPENAI),
    (re.compile(r"/[^/]+/interactions(?:/|$)"), Form.INTERACTIONS),
)

Tickets = Mapping[Cost, Ticketing]
"""Where attempts come from, by what a call costs."""

log = logging.getLogger("keypool.proxy")


@dataclass(frozen=True, slots=True)
class Desks:
    """What handles calls that are more than one answer passed on."""

    resources: Resources
    noting: Noting
    lists: Lists
    uploads: UploadCalls


class Proxy:
    """Handlers of Gemini's paths. resources: what they know of files and the like."""

    def __init__(
        self,
        ordering: Ordering,
        proxying: Proxying,
        tickets: Tickets,
        desks: Desks,
    ) -> None:
        self._ordering = ordering
        self._proxying = proxying
        self._tickets = tickets
        self._desks = desks
        self.resources = desks.resources
        self._alarms = Alarms()

    async def handle(self, scope: Scope, proto: Exchange, arrived: Arrived) -> None:
        """Answer one call; our own errors take the shape that the path's clients read."""
        call = read_call(scope.method, scope.path)
        try:
            with Lookout(proto, self._alarms):
                await self._serve(call, scope, proto, arrived)
        except GoneError:
            raise  # nobody is there to be answered
        except KeypoolError as err:
            code = answer_gemini_error(proto, err, _form(call, scope))
            if code >= 500:
                log.warning("%s %s answered %d: %s", scope.method, scope.path, code, err)
            if isinstance(err, StalledError):
                stop_reading(scope.client)

    def stalled(self, scope: Scope, proto: Exchange) -> None:
        """Answer a call whose body has not come."""
        form = _form(read_call(scope.method, scope.path), scope)
        answer_gemini_error(proto, StalledError(), form)

    async def _serve(
        self, call: Call | None, scope: Scope, proto: Exchange, arrived: Arrived
    ) -> None:
        touch = call.touch if call is not None else None
        if touch is _UPLOAD and (token := upload_token(scope)):
            await self._desks.uploads.go_on(token, scope, proto)
            return
        caller = self._ordering.caller(scope, arrived.headers)
        if call is None:
            raise not_forwarded(scope)
        asked = await self._ordering.asked(call, caller, scope, arrived)
        if touch is _UPLOAD:
            await self._desks.uploads.begin(asked, proto)
        elif touch is _LIST:
            await self._desks.lists.answer(asked, proto)
        else:
            await self._forward(asked, proto)

    async def _forward(self, asked: Asked, proto: Exchange) -> None:
        call, order = await self._ordering.order(asked, proto)
        try:
            attempt = await self._proxying.answer(order, self._tickets[call.cost])
        finally:
            self._ordering.let_go(order)
        try:
            if order.session:
                await self._ordering.keep(order, attempt)
            answer: Passage | NamedStream = attempt.answer
            if call.touch:
                answer = await self._desks.noting.note(call, order, attempt)
            del order  # and its body: the answer may go on for minutes
            marks = mark(attempt.ticket.project.name, attempt.ticket.lease_id)
            await relay(answer, asked.scope, proto, marks=marks)
        finally:
            await attempt.close()


def answer_fault(scope: Scope, proto: Exchange) -> None:
    """Answer a call that met a fault of ours, in the shape that the path's clients read."""
    fault = KeypoolError("Internal error", hint="see the daemon's log")
    answer_gemini_error(proto, fault, _form(read_call(scope.method, scope.path), scope))


def _form(call: Call | None, scope: Scope) -> Form:
    if call is not None and call.in_array and not wants_sse(scope):
        return Form.ARRAY
    return next((form for path, form in _FORMS if path.match(scope.path)), Form.GEMINI)
