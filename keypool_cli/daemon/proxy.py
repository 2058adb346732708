"""The drop-in Gemini proxy over HTTP: who asks, what for, and the answer passed on as it comes."""

import asyncio
import logging
from time import monotonic

import msgspec

from keypool_cli.core.estimator import estimate_request
from keypool_cli.daemon.auth import Auth, Caller
from keypool_cli.daemon.gemini_errors import Form, answer_gemini_error, mark
from keypool_cli.daemon.leases import LARGEST_BODY, LONG_REQUEST, unless_gone
from keypool_cli.daemon.proxy_relay import relay
from keypool_cli.daemon.proxy_request import deadline_s, target_of, token_of, wait_s, wants_sse
from keypool_cli.errors import KeypoolError, NotFoundError, UsageError
from keypool_cli.http.message import read_body
from keypool_cli.http.rsgi import Exchange, Scope
from keypool_cli.service.proxying import Order, Proxying, Ticketing
from keypool_cli.service.tickets import FreeUse, Leases
from keypool_cli.service.watch import Watch
from keypool_cli.upstream.calls import Call, Cost, read_call
from keypool_cli.upstream.headers import to_upstream

PREFIXES = ("/v1beta/", "/v1/", "/v1alpha/")

_body = msgspec.json.Decoder(dict[str, object])

log = logging.getLogger("keypool.proxy")


class Proxy:
    """Handlers of Gemini's paths."""

    def __init__(
        self, watch: Watch, auth: Auth, proxying: Proxying, leases: Leases, free_use: FreeUse
    ) -> None:
        self._watch = watch
        self._auth = auth
        self._proxying = proxying
        self._tickets: dict[Cost, Ticketing] = {Cost.SPENDS: leases, Cost.FREE: free_use}

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
                hint="see: keypool guide proxy",
            )
        order = await self._order(call, caller, scope, proto)
        attempt = await self._proxying.answer(order, self._tickets[call.cost])
        try:
            marks = mark(attempt.ticket.project.name, attempt.ticket.lease_id)
            await relay(attempt.answer, scope, proto, marks=marks)
        finally:
            await attempt.close()

    async def _order(self, call: Call, caller: Caller, scope: Scope, proto: Exchange) -> Order:
        model = call.model or ""
        if model:
            caller.check_model(model)
        headers, now = scope.headers, monotonic()
        pool = caller.pool(self._watch.configured, headers.get("x-keypool-pool"))
        deadline = now + deadline_s(headers)
        body = (
            await read_body(headers, proto, limit=LARGEST_BODY) if scope.method == "POST" else None
        )
        return Order(
            pool=pool,
            client=caller.client,
            model=model,
            tokens=await _tokens(body or b"", model) if call.cost is Cost.SPENDS else 0,
            requests=1,
            wait_until=min(now + wait_s(headers, pool.wait_s), deadline),
            deadline=deadline,
            method=scope.method,
            target=target_of(scope),
            headers=to_upstream(headers.items()),
            body=body,
        )


def _form(call: Call | None, scope: Scope) -> Form:
    if call is not None and call.in_array and not wants_sse(scope):
        return Form.ARRAY
    return Form.GEMINI


async def _tokens(body: bytes, model: str) -> int:
    """What to reserve for a request; long ones are read in a thread, for others not to wait."""
    if len(body) < LONG_REQUEST:
        return _estimated(body, model)
    return await asyncio.to_thread(_estimated, body, model)


def _estimated(body: bytes, model: str) -> int:
    try:
        request = _body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise UsageError("Invalid JSON payload received. Expected an object.") from err
    estimate = estimate_request(request, model=model)
    return max(estimate.tokens + estimate.margin, 1)
