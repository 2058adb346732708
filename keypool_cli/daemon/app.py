"""The daemon's RSGI application: who asks, what for, and what went wrong."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from time import perf_counter
from typing import cast

from keypool_cli.daemon.auth import Auth, Caller
from keypool_cli.daemon.bodies import StalledError
from keypool_cli.daemon.hanging_up import GoneError
from keypool_cli.daemon.leases import Leases
from keypool_cli.daemon.pages import Pages
from keypool_cli.daemon.problems import WrongMethodError, answer_error
from keypool_cli.daemon.proxy import PREFIXES, SHORT_ENDINGS, Proxy, answer_fault
from keypool_cli.daemon.schema import MOST_REQUESTS, MOST_TOKENS, Healthy
from keypool_cli.engine.readiness import serves
from keypool_cli.errors import KeypoolError, NotFoundError, UnreachableError, UsageError
from keypool_cli.http.calls import Quick
from keypool_cli.http.connection import stop_reading
from keypool_cli.http.message import (
    Arrived,
    Problem,
    answer_json,
    answer_problem,
    query_pairs,
    whole_number,
)
from keypool_cli.http.rsgi import ClientGone, Exchange, Headers, Scope
from keypool_cli.http.websocket import Handshake
from keypool_cli.service.explaining import Question, explain
from keypool_cli.service.loaded import loaded_models
from keypool_cli.service.ports import Ports
from keypool_cli.service.standing import promised, told_unread
from keypool_cli.service.status import stand
from keypool_cli.service.watch import Watch

READY_WITHIN_S = 3.0

_API = "/keypool/v1/"
_LEASES = "/keypool/v1/leases"

_AWAY = "x-keypool-away"
"""Which store is away, where what is told is as last heard of, or not all."""

_Handler = Callable[[Caller, Scope, Exchange], Awaitable[None]]

log = logging.getLogger("keypool.daemon")


class App:
    """Routes calls to handlers; every error becomes one answer.

    quick: paths whose calls need no task of their own, see :func:`keypool_cli.http.server.serve`.
    """

    def __init__(
        self, ports: Ports, watch: Watch, auth: Auth, leases: Leases, proxy: Proxy, pages: Pages
    ) -> None:
        self._proxy = proxy
        self._pages = pages
        self._ports = ports
        self._watch = watch
        self._auth = auth
        self._leases = leases
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[Exchange, asyncio.Task[None]] = {}
        proxied = dict.fromkeys(SHORT_ENDINGS, Quick(auth.knows, self._proxied, proxy.stalled))
        self.quick = {_LEASES: Quick(auth.knows, self._lease, self._stalled), **proxied}
        self._plain: dict[str, Callable[[Exchange], Awaitable[None]]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }
        self._calls: dict[str, tuple[str, _Handler]] = {
            _LEASES: ("POST", leases.grant),
            f"{_API}status": ("GET", self._status),
            f"{_API}explain": ("GET", self._explain),
        }

    def end(self) -> None:
        """No call shall be begun: who converses is sent away, as long as that can be said."""
        self._pages.live.end()

    async def __call__(self, scope: Scope, proto: Exchange) -> None:
        """Answer one call."""
        if scope.proto == "ws":
            await self._pages.live.handle(scope, cast(Handshake, proto))
            return
        await self._answered(scope, proto, self._route(scope, proto, Arrived(scope.headers)))

    def _lease(self, scope: Scope, headers: Headers, proto: Exchange, body: bytes) -> None:
        """``POST /keypool/v1/leases`` with a short body."""
        try:
            caller = self._auth.caller(scope, headers)
            go_on = partial(self._go_on, scope, proto)
            self._leases.grant_quickly(caller, headers, proto, body, go_on)
        except Exception as err:  # noqa: BLE001 - each becomes an answer
            _answer_failure(scope, proto, err)

    def _stalled(self, scope: Scope, proto: Exchange) -> None:
        _answer_failure(scope, proto, StalledError())

    def _proxied(self, scope: Scope, headers: Headers, proto: Exchange, body: bytes) -> None:
        """A call of the proxy with a short body."""
        self._go_on(scope, proto, self._route(scope, proto, Arrived(headers, body)))

    def _go_on(self, scope: Scope, proto: Exchange, work: Coroutine[object, object, None]) -> None:
        self._under_way[proto] = self._loop.create_task(self._answered(scope, proto, work))

    async def _answered(self, scope: Scope, proto: Exchange, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as err:  # noqa: BLE001 - each becomes an answer
            _answer_failure(scope, proto, err)
        finally:
            self._under_way.pop(proto, None)

    async def _route(self, scope: Scope, proto: Exchange, arrived: Arrived) -> None:
        path = scope.path
        known = self._calls.get(path)
        if known is not None:
            caller = self._auth.caller(scope, arrived.headers)
            method, handler = known
            _allow(scope.method, method)
            await handler(caller, scope, proto)
            return
        plain = self._plain.get(path)
        if plain is not None:
            _allow(scope.method, "GET")
            await plain(proto)
            return
        if path.startswith(PREFIXES):
            begun = perf_counter()
            await self._proxy.handle(scope, proto, arrived)
            self._pages.proxied(perf_counter() - begun)
            return
        page = self._pages.get(path)
        if page is not None:
            _allow(scope.method, "GET")
            await page(scope, proto)
            return
        if not path.startswith(_API):
            raise NotFoundError("there is nothing at this path", hint="the API is at /keypool/v1/")
        caller = self._auth.caller(scope)
        if not path.startswith(f"{_LEASES}/"):
            raise NotFoundError("there is nothing at this path")
        await self._one_lease(caller, scope, proto)

    async def _one_lease(self, caller: Caller, scope: Scope, proto: Exchange) -> None:
        lease_id, _, verb = scope.path[len(_LEASES) + 1 :].partition("/")
        if verb == "settle":
            _allow(scope.method, "POST")
            await self._leases.settle(caller, lease_id, scope, proto)
        elif lease_id and not verb:
            _allow(scope.method, "DELETE")
            await self._leases.release(caller, lease_id, proto)
        else:
            raise NotFoundError("there is nothing at this path")

    async def _healthz(self, proto: Exchange) -> None:
        answer_json(proto, 200, Healthy("ok"))

    async def _readyz(self, proto: Exchange) -> None:
        """Whoever asks needs no token, and is told which store it is, but not where."""
        asked = "the live store"
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                whole = await serves(self._ports.engine)
                asked = "the database"
                await self._ports.call(self._ports.registry.revision)
        except (KeypoolError, TimeoutError) as err:
            told = "does not answer" if isinstance(err, TimeoutError) else "cannot be used"
            log.warning("not ready: %s %s: %s", asked, told, err)
            answer_error(proto, UnreachableError(f"{asked} {told}", hint="run: keypool doctor"))
        else:
            answer_json(proto, 200, Healthy("ok" if whole else "partly"))

    async def _status(self, caller: Caller, scope: Scope, proto: Exchange) -> None:
        configured, away = await self._watch.newest()
        asked = [value for name, value in query_pairs(scope.query_string) if name == "pool"]
        for name in asked:
            caller.pool(configured, name)
        pools = asked or caller.known_pools(configured)
        if pools == []:
            raise NotFoundError("none of this client's pools exists any more")
        models = await loaded_models(self._ports)
        found = await stand(self._ports.engine, configured, pools=pools, models=models)
        troubles = [*([str(away)] if away else []), *([told_unread(found)] if found.unread else [])]
        told = "; ".join(troubles).encode("ascii", "replace").decode()
        headers = [(_AWAY, told)] if troubles else []
        answer_json(proto, 200, promised(found), headers=headers)

    async def _explain(self, caller: Caller, scope: Scope, proto: Exchange) -> None:
        await self._watch.refresh()
        configured = self._watch.configured
        query = dict(query_pairs(scope.query_string))
        pool = caller.pool(configured, query.get("pool"))
        model = query.get("model", "").removeprefix("models/")
        if not model:
            raise UsageError("explain needs model=NAME")
        self._watch.admit(caller.client, model)
        tokens = whole_number(query.get("tokens", "1"), "tokens", least=1, most=MOST_TOKENS)
        requests = whole_number(query.get("requests", "1"), "requests", least=1, most=MOST_REQUESTS)
        question = Question(pool.name, model, tokens, requests)
        answer_json(proto, 200, await explain(self._ports, configured, question))


def _answer_failure(scope: Scope, proto: Exchange, err: Exception) -> None:
    match err:
        case GoneError() | ClientGone():
            return
        case KeypoolError():
            code = answer_error(proto, err)
            if code >= 500:
                log.warning("%s %s answered %d: %s", scope.method, scope.path, code, err)
            if isinstance(err, StalledError):
                stop_reading(scope.client)
        case _:
            # The last resort: a bug must cost one answer, not the connection. The traceback
            # holds no values.
            log.error("%s %s failed", scope.method, scope.path, exc_info=err)
            if scope.path.startswith(PREFIXES):
                answer_fault(scope, proto)
                return
            detail = "see the daemon's log"
            answer_problem(proto, Problem(title="Internal error", status=500, detail=detail))


def _allow(method: str, wanted: str) -> None:
    """Whatever can be read can be asked for its head, too (RFC 9110, 9.1); granian sends no body."""
    if method != wanted and (method, wanted) != ("HEAD", "GET"):
        raise WrongMethodError(method, wanted=wanted)
