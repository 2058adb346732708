"""The lease calls: grant, settle, release."""

from collections.abc import Callable, Coroutine
from typing import NamedTuple, TypeVar

import msgspec

from keypool_cli.core.estimator import Estimate
from keypool_cli.core.model import Pool
from keypool_cli.core.usage import in_gemini_names
from keypool_cli.daemon.auth import Caller, pool_of
from keypool_cli.daemon.bodies import Bodies
from keypool_cli.daemon.hanging_up import unless_gone
from keypool_cli.daemon.json_bodies import decoded
from keypool_cli.daemon.problems import WrongTypeError
from keypool_cli.daemon.schema import (
    TTL_S,
    EstimateAnswer,
    LeaseAnswer,
    LeaseBody,
    LeasedKey,
    SettleAnswer,
    SettleBody,
    VerdictAnswer,
)
from keypool_cli.errors import NotFoundError, UsageError
from keypool_cli.http.message import UNREADABLE, answer_json
from keypool_cli.http.rsgi import Exchange, Headers, Scope
from keypool_cli.service.affinity import Affinity
from keypool_cli.service.alarms import Alarms
from keypool_cli.service.estimating import Estimates, Estimating
from keypool_cli.service.instants import iso
from keypool_cli.service.lease_ids import is_proxied
from keypool_cli.service.leasing import Asked, Lease, LeaseRequest, Leasing
from keypool_cli.service.settling import Report, Settling
from keypool_cli.service.verdicts import Outcome
from keypool_cli.service.watch import Watch

LARGEST_REPORT = 1024 * 1024
"""Bytes of a settlement."""

_JSON = "application/json"

GoOn = Callable[[Coroutine[object, object, None]], None]
"""Does the rest of a call in a task of its own, and answers what that raises."""

T = TypeVar("T")

_lease_body = msgspec.json.Decoder(LeaseBody)
_settle_body = msgspec.json.Decoder(SettleBody)
_request_body = msgspec.json.Decoder(dict[str, object])


class Leases:
    """Handlers of ``/keypool/v1/leases`` and what lies below."""

    def __init__(
        self,
        watch: Watch,
        leasing: Leasing,
        settling: Settling,
        affinity: Affinity,
        estimating: Estimating,
        bodies: Bodies,
    ) -> None:
        self._watch = watch
        self._leasing = leasing
        self._settling = settling
        self._affinity = affinity
        self._estimating = estimating
        self._bodies = bodies
        self._alarms = Alarms()

    async def grant(self, caller: Caller, scope: Scope, proto: Exchange) -> None:
        """``POST /keypool/v1/leases``."""
        caller.require("lease")
        _check_type(scope.headers)
        await self._lease(caller, await self._read(caller, scope, proto), proto)

    async def _read(self, caller: Caller, scope: Scope, proto: Exchange) -> "_Demand":
        """What a body asks for; the body itself, which may be large, is held no longer."""
        data = await self._bodies.read(scope.headers, proto, caller.client)
        size = len(data)
        try:
            body = await self._estimating.read(size, caller.client, _decoded, _lease_body, data)
            return await self._demand(caller, body)
        finally:
            self._bodies.let_go(size)

    def grant_quickly(
        self, caller: Caller, headers: Headers, proto: Exchange, data: bytes, go_on: GoOn
    ) -> None:
        """The same with the body there; ``go_on`` gets what takes a task.

        That is little of it: nearly every call says its tokens, and does not wait.
        """
        caller.require("lease")
        _check_type(headers)
        body = _decoded(_lease_body, data)
        model = _model(caller, body)
        pool = caller.known_pool(self._watch.configured, body.pool)
        estimate = None if pool is None else _said(body)
        if pool is None or estimate is None or body.affinity or _wait_s(body, pool) > 0:
            go_on(self._grant(caller, body, proto))
            return
        asked = self._leasing.ask(_request(caller, body, model, pool, estimate))
        asked.answer.add_done_callback(lambda _: self._answer(asked, estimate, proto, go_on))

    def _answer(self, asked: Asked, estimate: Estimate, proto: Exchange, go_on: GoOn) -> None:
        lease = self._leasing.granted(asked)
        if lease is None:
            go_on(self._conclude(asked, estimate, proto))
        else:
            answer_json(proto, 201, _lease_answer(lease, estimate))

    async def _conclude(self, asked: Asked, estimate: Estimate, proto: Exchange) -> None:
        answer_json(proto, 201, _lease_answer(await self._leasing.conclude(asked), estimate))

    async def _grant(self, caller: Caller, body: LeaseBody, proto: Exchange) -> None:
        await self._lease(caller, await self._demand(caller, body), proto)

    async def _demand(self, caller: Caller, body: LeaseBody) -> "_Demand":
        model = _model(caller, body)
        pool = await pool_of(caller, self._watch, body.pool)
        estimate = _said(body) or await self._estimated(body, model, caller, pool)
        rest = msgspec.structs.replace(body, request=msgspec.UNSET)
        return _Demand(rest, model, pool, estimate)

    async def _lease(self, caller: Caller, demand: "_Demand", proto: Exchange) -> None:
        body, model, pool, estimate = demand
        prefer = await self._affinity.project(pool, body.affinity) if body.affinity else ""
        request = _request(caller, body, model, pool, estimate, prefer)
        granting = self._leasing.lease(request)
        if request.wait_s > 0:
            granting = unless_gone(granting, proto, self._alarms)
        lease = await granting
        self._estimating.expect(lease.lease_id, estimate, model=model, client=caller.client)
        if body.affinity:
            await self._affinity.keep(pool, body.affinity, lease.project.id)
        answer_json(proto, 201, _lease_answer(lease, estimate))

    async def _estimated(self, body: LeaseBody, model: str, caller: Caller, pool: Pool) -> Estimate:
        client, raw = caller.client, memoryview(body.request)  # type: ignore[arg-type]  # it is there
        estimates = self._estimating.of(client)
        read = self._estimating.read
        estimate = await read(len(raw), client, _estimate, raw, estimates, model)
        return await self._estimating.sized(estimate, model=model, pool=pool, client=client)

    async def settle(self, caller: Caller, lease_id: str, scope: Scope, proto: Exchange) -> None:
        """``POST /keypool/v1/leases/{id}/settle``."""
        _check_own(caller, lease_id)
        _check_type(scope.headers)
        data = await self._bodies.read(scope.headers, proto, caller.client, limit=LARGEST_REPORT)
        try:
            body = _decoded(_settle_body, data)
        finally:
            self._bodies.let_go(len(data))
        usage = None if body.usage is None else in_gemini_names(body.usage)
        report = Report(lease_id, caller.client, body.status, usage, body.error)
        outcome = await self._settling.settle(report)
        if outcome.told is None:
            self._estimating.settled(lease_id, usage)
        answer_json(proto, 200, _settle_answer(outcome))

    async def release(self, caller: Caller, lease_id: str, proto: Exchange) -> None:
        """``DELETE /keypool/v1/leases/{id}``."""
        _check_own(caller, lease_id)
        await self._settling.release(lease_id, caller.client)
        proto.response_empty(204, [])


class _Demand(NamedTuple):
    """What a lease is asked for. body: without the request, which is estimated."""

    body: LeaseBody
    model: str
    pool: Pool
    estimate: Estimate


def _check_own(caller: Caller, lease_id: str) -> None:
    """Raise NotFoundError for the lease of a proxied call, whose id its client is told.

    Giving it back while the call goes on would let anyone call above every quota.
    """
    caller.require("lease")
    if is_proxied(lease_id):
        raise NotFoundError("this lease is a proxied call's", hint="the daemon settles it itself")


def _check_type(headers: Headers) -> None:
    kind = headers.get("content-type") or ""
    if kind != _JSON and kind.partition(";")[0].strip().lower() != _JSON:
        raise WrongTypeError("the body must be JSON", hint="send Content-Type: application/json")


def _estimate(raw: memoryview, estimates: Estimates, model: str) -> Estimate:
    try:
        request = decoded(_request_body, raw)
    except UNREADABLE as err:
        raise UsageError(f"the body is not understood: {err}") from err
    return estimates.request(request, model=model)


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes | memoryview) -> T:
    try:
        return decoder.decode(body)
    except UNREADABLE as err:
        raise UsageError(f"the body is not understood: {err}") from err


def _model(caller: Caller, body: LeaseBody) -> str:
    model = body.model.removeprefix("models/")
    if not model:
        raise UsageError("the body names no model")
    caller.check_model(model)
    return model


def _wait_s(body: LeaseBody, pool: Pool) -> float:
    return pool.wait_s if body.wait_s is None else body.wait_s


def _request(
    caller: Caller, body: LeaseBody, model: str, pool: Pool, estimate: Estimate, prefer: str = ""
) -> LeaseRequest:
    return LeaseRequest(
        model=model,
        pool=pool,
        client=caller.client,
        tokens=estimate.tokens + estimate.margin,
        requests=body.requests or 1,
        wait_s=_wait_s(body, pool),
        ttl_s=body.ttl_s or TTL_S,
        prefer=prefer,
    )


def _said(body: LeaseBody) -> Estimate | None:
    """The caller's own estimate; None where there is a request to estimate."""
    if (body.tokens is None) != _has_request(body):
        raise UsageError("the body needs exactly one of tokens and request")
    return None if body.tokens is None else Estimate(body.tokens, 0, "caller", {})


def _has_request(body: LeaseBody) -> bool:
    return body.request is not msgspec.UNSET and bytes(memoryview(body.request)[:4]) != b"null"


def _lease_answer(lease: Lease, estimate: Estimate) -> LeaseAnswer:
    return LeaseAnswer(
        lease_id=lease.lease_id,
        key=LeasedKey(lease.key.name, lease.project.name, lease.secret.text),
        model=lease.model,
        tokens_reserved=lease.tokens,
        use_by=iso(lease.use_by_ms),
        expires_at=iso(lease.expires_at_ms),
        estimate=EstimateAnswer(estimate.tokens, estimate.margin, estimate.method),
    )


def _settle_answer(outcome: Outcome) -> SettleAnswer:
    said = outcome.told
    if said is None:
        return SettleAnswer(None, outcome.tokens)
    verdict = VerdictAnswer(
        fault=said.fault,
        scope=said.scope,
        action=said.action,
        rule=said.rule,
        applied=outcome.applied,
        until=iso(outcome.until_ms) if outcome.until_ms else msgspec.UNSET,
        why=outcome.why or msgspec.UNSET,
    )
    return SettleAnswer(verdict, outcome.tokens)
