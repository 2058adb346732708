"""The drop-in Gemini proxy over HTTP: who asks, what for, and the answer passed on as it comes."""

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic

from keypool_cli.core.model import Pool
from keypool_cli.daemon.auth import Auth, Caller
from keypool_cli.daemon.gemini_errors import Form, answer_gemini_error, mark
from keypool_cli.daemon.leases import LARGEST_BODY, unless_gone
from keypool_cli.daemon.proxy_demand import Wanted, read_wanted
from keypool_cli.daemon.proxy_relay import relay
from keypool_cli.daemon.proxy_request import (
    deadline_s,
    session_of,
    target_of,
    token_of,
    wait_s,
    wants_sse,
)
from keypool_cli.errors import KeypoolError, NotFoundError, UnreachableError
from keypool_cli.http.message import read_body
from keypool_cli.http.rsgi import Exchange, Scope
from keypool_cli.service.affinity import Affinity
from keypool_cli.service.proxying import Attempt, Order, Proxying, Ticketing
from keypool_cli.service.watch import Watch
from keypool_cli.upstream.calls import WHOLE, Call, Cost, Family, read_call
from keypool_cli.upstream.headers import to_upstream

PREFIXES = ("/v1beta/", "/v1/", "/v1alpha/")

_OPENAI = re.compile(r"/[^/]+/openai(?:/|$)")

Tickets = Mapping[Cost, Ticketing]
"""Where attempts come from, by what a call costs."""

log = logging.getLogger("keypool.proxy")


class Proxy:
    """Handlers of Gemini's paths."""

    def __init__(
        self, watch: Watch, auth: Auth, proxying: Proxying, tickets: Tickets, affinity: Affinity
    ) -> None:
        self._watch = watch
        self._auth = auth
        self._proxying = proxying
        self._affinity = affinity
        self._tickets = tickets

    async def handle(self, scope: Scope, proto: Exchange) -> None:
        """Answer one call; our own errors take the shape that the path's clients read."""
        call = read_call(scope.method, scope.path)
        try:
            await unless_gone(self._serve(call, scope, proto), proto)
        except KeypoolError as err:
            code = answer_gemini_error(proto, err, _form(call, scope))
            if code >= 500:
                log.warning("%s %s answered %d: %s", scope.method, scope.path, code, err)

    async def _serve(self, call: Call | None, scope: Scope, proto: Exchange) -> None:
        caller = self._auth.holder(scope, token_of(scope))
        caller.require("proxy")
        if call is None:
            raise NotFoundError(
                f"the proxy does not forward {scope.method} {scope.path}",
                hint="files, uploads, caches and batches: call Gemini with a leased key",
            )
        order = await self._order(call, caller, scope, proto)
        attempt = await self._proxying.answer(order, self._tickets[call.cost])
        try:
            await self._keep(order, attempt)
            marks = mark(attempt.ticket.project.name, attempt.ticket.lease_id)
            await relay(attempt.answer, scope, proto, marks=marks)
        finally:
            await attempt.close()

    async def _keep(self, order: Order, attempt: Attempt) -> None:
        """Remember where a session went; without it, the next call of it may go elsewhere."""
        project = attempt.ticket.project
        if order.session and attempt.told is None and str(project.id) != order.prefer:
            with suppress(UnreachableError):
                await self._affinity.keep(order.pool, order.session, project.id)

    async def _order(self, call: Call, caller: Caller, scope: Scope, proto: Exchange) -> Order:
        headers, now = scope.headers, monotonic()
        pool = caller.pool(self._watch.configured, headers.get("x-keypool-pool"))
        waits = wait_s(headers, pool.wait_s)
        deadline = now + deadline_s(headers)
        body = (
            await read_body(headers, proto, limit=LARGEST_BODY) if scope.method == "POST" else None
        )
        wanted = await _wanted(call, body or b"")
        if wanted.model:
            caller.check_model(wanted.model)
        session = session_of(headers) or _session(caller, wanted)
        return Order(
            pool=pool,
            client=caller.client,
            model=wanted.model,
            tokens=wanted.tokens,
            requests=wanted.requests,
            wait_until=min(now + waits, deadline),
            deadline=deadline,
            method=scope.method,
            target=target_of(scope),
            headers=to_upstream(headers.items()),
            body=body,
            session=session,
            prefer=await self._preferred(pool, session) if call.cost is Cost.SPENDS else "",
            bearer=call.family is Family.OPENAI,
            whole=call.verb in WHOLE,
        )

    async def _preferred(self, pool: Pool, session: str) -> str:
        if not session:
            return ""
        with suppress(UnreachableError):
            return await self._affinity.project(pool, session)
        return ""


def _session(caller: Caller, wanted: Wanted) -> str:
    """A session for calls whose prompts begin alike: its project may hold the beginning cached."""
    client = caller.client.id if caller.client is not None else 0
    return f"{client}:{wanted.model}:{wanted.prefix}" if wanted.prefix else ""


async def _wanted(call: Call, body: bytes) -> Wanted:
    if call.cost is Cost.FREE:
        return Wanted(call.model or "", 0)
    return await read_wanted(call, body)


def _form(call: Call | None, scope: Scope) -> Form:
    if call is not None and call.in_array and not wants_sse(scope):
        return Form.ARRAY
    return Form.OPENAI if _OPENAI.match(scope.path) else Form.GEMINI
