"""From a client's call to an order: whose it is, where it may go, what it takes, what it sends."""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from time import monotonic

import msgspec

from keypool_cli.core.model import Pool
from keypool_cli.daemon.auth import Auth, Caller, pool_of
from keypool_cli.daemon.bodies import Bodies
from keypool_cli.daemon.proxy_body import METHODS, read_plain
from keypool_cli.daemon.proxy_demand import Wanted, measured, wanted_of
from keypool_cli.daemon.proxy_request import (
    deadline_s,
    name_in,
    session_of,
    target_of,
    token_of,
    wait_s,
)
from keypool_cli.errors import UnreachableError
from keypool_cli.http.message import Arrived
from keypool_cli.http.rsgi import Exchange, Headers, Scope
from keypool_cli.service.affinity import Affinity
from keypool_cli.service.estimating import Estimating
from keypool_cli.service.proxying import Attempt, Order
from keypool_cli.service.resources import Held, Resources
from keypool_cli.service.watch import Watch
from keypool_cli.upstream.calls import WHOLE, Call, Cost, Family, Touch
from keypool_cli.upstream.headers import to_upstream

# Each time an enum's member is looked up costs 0.2 us on Python 3.11.
_MAKE, _USE, _OPENAI = Touch.MAKE, Touch.USE, Family.OPENAI
_ON_ONE = frozenset({Touch.USE, Touch.WATCH, Touch.REMOVE})
_MAKING = frozenset({Touch.MAKE, Touch.UPLOAD})
_TELLING = _MAKING | {Touch.WATCH}
"""Whose answers name what is new, which must be read."""

_COMBINED = frozenset({"files", "cachedContents", "fileSearchStores", "corpora", "tunedModels"})
"""What one request may name several of, so that a client's own belong into one project."""

_JSON = "application/json"
_OF_BODIES = frozenset({"content-type", "content-encoding"})

Body = bytes | AsyncIterator[bytes] | None


class Asked(msgspec.Struct, frozen=True):
    """A call, its caller, and how it came."""

    call: Call
    caller: Caller
    scope: Scope
    arrived: Arrived
    pool: Pool


class Ordering:
    """Makes orders of calls. Raises UsageError and what finding resources raises."""

    def __init__(
        self,
        watch: Watch,
        auth: Auth,
        affinity: Affinity,
        resources: Resources,
        estimating: Estimating,
        bodies: Bodies,
    ) -> None:
        self._estimating = estimating
        self._bodies = bodies
        self._watch = watch
        self._auth = auth
        self._affinity = affinity
        self._resources = resources

    def caller(self, scope: Scope, headers: Headers) -> Caller:
        """Who calls; raises NotPermittedError for a client that may not use the proxy."""
        caller = self._auth.holder(scope, token_of(scope, headers))
        caller.require("proxy")
        return caller

    async def asked(self, call: Call, caller: Caller, scope: Scope, arrived: Arrived) -> Asked:
        """A call on the pool that it names, or the caller's own."""
        pool = await pool_of(caller, self._watch, name_in(arrived.headers, "x-keypool-pool"))
        return Asked(call, caller, scope, arrived, pool)

    async def order(self, asked: Asked, proto: Exchange) -> tuple[Call, Order]:
        """The order for a call whose body is read whole; and the call as its body makes it.

        Whoever gets it must let its body go.
        """
        if asked.scope.method not in METHODS:
            return await self._order(asked, None)
        body = await read_plain(self._bodies, asked.arrived, proto, asked.caller.client)
        try:
            return await self._order(asked, body)
        except BaseException:
            self._bodies.let_go(len(body))
            raise

    def let_go(self, order: Order) -> None:
        """The body of an order is needed no longer."""
        if isinstance(order.body, bytes):
            self._bodies.let_go(len(order.body))

    async def _order(self, asked: Asked, body: bytes | None) -> tuple[Call, Order]:
        said, client = body or b"", asked.caller.client
        estimates = self._estimating.of(client)
        wanted = await self._estimating.read(
            len(said), client, wanted_of, asked.call, said, estimates
        )
        if wanted.model:
            asked.caller.check_model(wanted.model)
        if asked.call.touch is _MAKE and asked.call.family is _OPENAI:
            asked.caller.check_every_model("a batch names its models in its file")
        if wanted.passing and asked.call.touch is _MAKE:
            plain = replace(asked.call, touch=Touch.NONE)
            asked = msgspec.structs.replace(asked, call=plain)
        return asked.call, await self.of(asked, wanted, body)

    async def of(self, asked: Asked, wanted: Wanted, body: Body) -> Order:
        """The order for a call with this body."""
        call, pool, headers = asked.call, asked.pool, asked.arrived.headers
        now = monotonic()
        deadline = now + deadline_s(headers)
        session = session_of(headers) or _session(asked.caller, wanted)
        held, prefer = None, ""
        if wanted.mentions or wanted.maybe_own or call.touch:
            held = await self._holder(asked, wanted)
        if held is not None:
            prefer, wanted = str(held.project.id), measured(wanted, held.sizes)
        elif session or call.touch:
            prefer = await self._preferred(asked, session)
        return Order(
            pool=pool,
            client=asked.caller.client,
            model=wanted.model,
            tokens=wanted.tokens,
            requests=wanted.requests,
            estimate=wanted.estimate,
            wait_until=min(now + wait_s(headers, pool.wait_s), deadline),
            deadline=deadline,
            method=asked.scope.method,
            target=target_of(asked.scope, whole=call.touch in _TELLING),
            headers=_headers(headers, body),
            body=body,
            session=session,
            prefer=prefer,
            bearer=call.family is _OPENAI,
            whole=call.verb in WHOLE,
            only=held.project if held is not None else None,
            unmeasured=wanted.unmeasured,
            makes=_may_make(call, asked.scope.method),
        )

    async def keep(self, order: Order, attempt: Attempt) -> None:
        """Remember where a session went; without it, the next call of it may go elsewhere."""
        project = attempt.ticket.project
        if attempt.told is None:
            await self._affinity.keep(order.pool, order.session, project.id)

    async def _holder(self, asked: Asked, wanted: Wanted) -> Held | None:
        """The one project that has what a call is about; None where any will do."""
        names = [*wanted.mentions, *_own(asked.call)]
        if wanted.maybe_own:
            names += await self._resources.known(wanted.maybe_own, asked.pool)
        if not names:
            return None
        return await self._resources.holder(names, asked.pool, asked.caller.client)

    async def _preferred(self, asked: Asked, session: str) -> str:
        call, client = asked.call, asked.caller.client
        makes = call.touch in _MAKING and call.resource in _COMBINED
        with suppress(UnreachableError):
            if session and (makes or call.cost is Cost.SPENDS):
                return await self._affinity.project(asked.pool, session)
            if makes:
                return await self._resources.home(asked.pool, client)
        return ""


def _may_make(call: Call, method: str) -> bool:
    """Whether a call that is sent twice may make something twice, as importing a file into a store."""
    uses = call.touch is _USE and call.cost is Cost.FREE and method == "POST"
    return call.touch is _MAKE or uses


def _own(call: Call) -> list[str]:
    """What the path itself names."""
    store = call.touch is Touch.UPLOAD and "/" in call.resource
    return [call.resource] if call.touch in _ON_ONE or store else []


def _headers(headers: Headers, body: Body) -> list[tuple[str, str]]:
    """The client's headers for upstream.

    A body that was read as JSON is called so, and nothing else: what was unpacked is not compressed
    any more, and upstream must not read as protobuf or in another charset what we read otherwise.
    """
    kept = to_upstream(headers.items())
    if not isinstance(body, bytes) or [v for n, v in kept if n in _OF_BODIES] == [_JSON]:
        return kept
    told = [each for each in kept if each[0] not in _OF_BODIES]
    return [*told, ("content-type", _JSON)] if body else told


def _session(caller: Caller, wanted: Wanted) -> str:
    """A session for calls whose prompts begin alike: its project may hold the beginning cached."""
    client = caller.client.id if caller.client is not None else 0
    return f"{client}:{wanted.model}:{wanted.prefix}" if wanted.prefix else ""
