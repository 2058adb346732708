"""Leases: from what a client asks to a key it may use, or a truthful no."""

import asyncio
from contextlib import suppress
from functools import partial
from shlex import quote
from time import perf_counter

import msgspec

from keypool_cli.core.model import Client, Key, Pool, Project, Secret
from keypool_cli.engine.types import ASK_AGAIN, Demand, Explanation, Grant, Reason, Refused, Waits
from keypool_cli.errors import KeypoolError, NoCapacityError, UsageError
from keypool_cli.service.batching import Batcher
from keypool_cli.service.bookkeeping import Bookkeeping
from keypool_cli.service.explaining import see_why, why_unusable
from keypool_cli.service.lease_ids import new_lease_id
from keypool_cli.service.ports import Ports
from keypool_cli.service.reserving import Reserving
from keypool_cli.service.waiting import Waiting, at_last
from keypool_cli.service.watch import Watch

_ROUNDS = 100
"""Calls to bring a pool of 100,000 projects up to date after an idle time."""


class PoolExhaustedError(NoCapacityError):
    """No project of the pool has room now. limit: what refused; scope: project, or client."""

    def __init__(self, pool: str, limit: str, *, retry_after_s: float) -> None:
        self.limit = "cooldown" if limit == "held" else limit
        self.scope = "client" if limit == "client" else "project"
        self.retry_after_s = retry_after_s
        retry = f"retry in {retry_after_s:.1f} s"
        if limit == "client":
            super().__init__("this client's own limits have no room for this request", hint=retry)
            return
        super().__init__(
            f"pool {pool!r} has no room for this request ({self.limit})",
            hint=f"{retry}, or add a key of another project: "
            f"keypool add NAME --project PROJECT --pool {quote(pool)}",
        )


class TooLargeError(UsageError):
    """The request is larger than every limit it could run under: waiting cannot help."""


class PoolUnusableError(NoCapacityError):
    """Every project of the pool is disabled, dead or excluded for the model."""


class LeaseRequest(msgspec.Struct, frozen=True):
    """What a client asks. tokens: to reserve. wait_s: how long to park it when nothing has room.

    prefer: the id of a project to take if it fits; avoid: ids of projects not to take at all.
    only: the one project it can take; None for any. proxied: the daemon makes the call itself.
    """

    model: str
    pool: Pool
    client: Client | None
    tokens: int
    requests: int = 1
    wait_s: float = 0.0
    ttl_s: float = 600.0
    prefer: str = ""
    avoid: frozenset[int] = frozenset()
    only: int | None = None
    proxied: bool = False


class Lease(msgspec.Struct, frozen=True):
    """The right to use a key for one request. model: as asked; use_by_ms: send it before."""

    lease_id: str
    project: Project
    key: Key
    secret: Secret
    model: str
    tokens: int
    granted_at_ms: int
    use_by_ms: int
    expires_at_ms: int


class Asked(msgspec.Struct, frozen=True):
    """A lease that was asked for. model: as its quota names it. begun: by ``perf_counter``."""

    request: LeaseRequest
    model: str
    demand: Demand
    begun: float
    answer: asyncio.Future[Grant | Refused | Waits]


class Leasing:
    """Grants leases for one daemon."""

    def __init__(self, ports: Ports, watch: Watch, waiting: Waiting, books: Bookkeeping) -> None:
        self._ports = ports
        self._watch = watch
        self._waiting = waiting
        self._books = books
        self._batchers: dict[tuple[str, int], Batcher[Demand, Grant | Refused | Waits]] = {}
        self._reserving = Reserving(ports, watch, waiting)

    async def lease(self, request: LeaseRequest) -> Lease:
        """Grant a lease, waiting for it as long as the request allows.

        Raises PoolExhaustedError, TooLargeError, PoolUnusableError; NotPermittedError for a model
        too many; UnreachableError when the live store or the database does not answer.
        """
        if request.wait_s <= 0:
            return await self.conclude(self.ask(request))
        model, begun = self._bucket(request), perf_counter()
        answer = await self._ask_waiting(model, request)
        if not isinstance(answer, Grant):
            raise await self._refusal(model, request, answer)
        return await self._leased(model, request, answer, begun)

    def ask(self, request: LeaseRequest) -> Asked:
        """Ask for a lease that is there now. Raises NotPermittedError for a model too many."""
        model, begun = self._bucket(request), perf_counter()
        demand = self._demand(model, request, 0)
        answer = self._batcher(model, request.pool.id).ask(demand)
        return Asked(request, model, demand, begun, answer)

    def _bucket(self, request: LeaseRequest) -> str:
        model = self._watch.configured.bucket(request.model)
        self._watch.admit(request.client, model)
        return model

    def granted(self, asked: Asked) -> Lease | None:
        """The lease of an answer that is there; None where :meth:`conclude` has more to do."""
        grant = asked.answer.result() if asked.answer.exception() is None else None
        if isinstance(grant, Grant) and (secret := self._watch.known_secret(grant.key_id)):
            return self._lease(asked.model, asked.request, grant, asked.begun, secret)
        return None

    async def conclude(self, asked: Asked) -> Lease:
        """The lease that was asked for; raises what :meth:`lease` raises."""
        answer = await asked.answer
        if (lease := self.granted(asked)) is not None:
            return lease
        request, model = asked.request, asked.model
        if isinstance(answer, Refused) and answer.retry_at_ms == ASK_AGAIN:
            answer = await self._ask(model, request.pool.id, asked.demand)
        if not isinstance(answer, Grant):
            raise await self._refusal(model, request, answer)
        return await self._leased(model, request, answer, asked.begun)

    async def _leased(self, model: str, request: LeaseRequest, grant: Grant, begun: float) -> Lease:
        try:
            secret = await self._watch.secret(grant.key_id)
        except BaseException:
            release = self._ports.engine.release  # without the key nobody can use it
            await asyncio.shield(release(model, _client(request), [grant.lease_id]))
            raise
        return self._lease(model, request, grant, begun, secret)

    def _lease(
        self, model: str, request: LeaseRequest, grant: Grant, begun: float, secret: Secret
    ) -> Lease:
        self._books.note(model, grant.project_id)
        self._reserving.receipts.keep(model, grant)
        use = (_client(request), grant.project_id, grant.key_id, model)
        self._books.activity.counts.granted(use, request.tokens, perf_counter() - begun)
        catalog = self._watch.configured.catalog
        return Lease(
            lease_id=grant.lease_id,
            project=catalog.projects[grant.project_id],
            key=catalog.keys[grant.key_id],
            secret=secret,
            model=request.model,
            tokens=request.tokens,
            granted_at_ms=grant.granted_at_ms,
            use_by_ms=grant.granted_at_ms + self._ports.engine.times.guard_ms,
            expires_at_ms=grant.expires_at_ms,
        )

    async def _ask_waiting(self, model: str, request: LeaseRequest) -> Grant | Refused | Waits:
        deadline = await self._waiting.deadline(request.wait_s)
        pool_id = request.pool.id
        demand = self._demand(model, request, deadline)
        answer: Grant | Refused | Waits | None = None
        while answer is None:
            answer = await self._wait(model, pool_id, demand)
        if isinstance(answer, Waits):
            # One last try tells when there will be room, and takes what has just come free.
            answer = await at_last(self._ask(model, pool_id, self._demand(model, request, 0)))
        return answer

    async def _wait(
        self, model: str, pool_id: int, demand: Demand
    ) -> Grant | Refused | Waits | None:
        """Ask, and wait for the grant; Waits when the demand's time ran out, None to ask again."""
        with self._waiting.expecting(demand) as grant:
            asked = asyncio.ensure_future(self._ask(model, pool_id, demand))
            try:
                answer = await asyncio.shield(asked)
            except asyncio.CancelledError:
                # Whatever the call has made of the demand by its end, nobody wants it any more.
                await asyncio.wait({asked})
                if asked.exception() is None:
                    await self._waiting.withdraw(model, demand)
                raise
            if not isinstance(answer, Waits):
                return answer
            with suppress(TimeoutError):
                return await self._waiting.wait(model, pool_id, demand, grant)
            return answer

    def _demand(self, model: str, request: LeaseRequest, deadline_ms: int) -> Demand:
        client = request.client
        return Demand(
            lease_id=new_lease_id(model, proxied=request.proxied),
            requests=request.requests,
            tokens=request.tokens,
            ttl_ms=int(request.ttl_s * 1000),
            client=_client(request),
            client_rpm=-1 if client is None or client.rpm is None else client.rpm,
            client_tpm=-1 if client is None or client.tpm is None else client.tpm,
            prefer=request.prefer,
            deadline_ms=deadline_ms,
            daemon=self._waiting.daemon if deadline_ms else "",
            avoid=_avoided(request),
        )

    async def _ask(self, model: str, pool_id: int, demand: Demand) -> Grant | Refused | Waits:
        """What the store says, once it knows."""
        batcher = self._batcher(model, pool_id)
        answer = await batcher.ask(demand)
        for _ in range(_ROUNDS):
            if not isinstance(answer, Refused) or answer.retry_at_ms != ASK_AGAIN:
                break
            answer = await batcher.ask(demand)
        return answer

    def _batcher(self, model: str, pool_id: int) -> Batcher[Demand, Grant | Refused | Waits]:
        found = self._batchers.get((model, pool_id))
        if found is None:
            found = self._batchers[model, pool_id] = Batcher(
                partial(self._reserving.send, model, pool_id),
                unclaimed=partial(self._reserving.unclaimed, model),
            )
        return found

    async def _refusal(
        self, model: str, request: LeaseRequest, refused: Grant | Refused | Waits
    ) -> KeypoolError:
        pool = request.pool
        if not isinstance(refused, Refused):
            return KeypoolError("a demand that does not wait was queued")
        self._books.activity.refused(refused.limit)
        self._books.activity.counts.refused[refused.limit] += 1
        may_take, asked = self._watch.configured.may_take, (request.requests, request.tokens)
        sure = refused.is_sure or may_take(pool.id, model, *asked)
        if sure and refused.retry_at_ms is not None:
            wait_s = refused.wait_ms(await self._waiting.now_ms()) / 1000
            return PoolExhaustedError(pool.name, refused.limit, retry_after_s=wait_s)
        if refused.limit == "client":
            return TooLargeError(
                f"{_size(request)} are more than this client's own limits allow in a minute",
                hint="split the request, or use a client with more: "
                "keypool client add NAME --rpm N --tpm N",
            )
        return await self._never(model, request)

    async def _never(self, model: str, request: LeaseRequest) -> KeypoolError:
        """Tell why no project of the pool can ever take the request."""
        pool, catalog = request.pool, self._watch.configured.catalog
        ids = sorted(catalog.pools[pool.id].project_ids) if pool.id in catalog.pools else []
        demand = self._demand(model, msgspec.structs.replace(request, avoid=frozenset()), 0)
        found = await self._ports.engine.explain(model, pool.id, demand, ids[:1000])
        if (soonest := _soonest(found)) is not None:
            wait_s = (soonest.at_ms - found.now_ms) / 1000
            return PoolExhaustedError(pool.name, soonest.limit, retry_after_s=wait_s)
        if any(each.limit == "larger" for each in found.reasons):
            return TooLargeError(
                f"{_size(request)} are more than any project of pool {pool.name!r} may take for "
                f"{request.model} in a minute",
                hint="split the request; the limits: keypool quota list",
            )
        why = why_unusable(self._watch.configured, ids, model)
        told = f"no project of pool {pool.name!r} can be used for {request.model}: {why}"
        return PoolUnusableError(told, hint=see_why(pool))


def _size(request: LeaseRequest) -> str:
    several = "s" if request.requests > 1 else ""
    return f"{request.tokens} tokens in {request.requests} request{several}"


def _client(request: LeaseRequest) -> int:
    """The id of who asks; 0 where the daemon runs without authentication."""
    return request.client.id if request.client is not None else 0


def _soonest(found: Explanation) -> Reason | None:
    """The first project to have room again; the request has avoided it, for it has just refused."""
    later = [each for each in found.reasons if each.limit and each.at_ms > found.now_ms]
    return min(later, key=lambda each: each.at_ms, default=None)


def _avoided(request: LeaseRequest) -> str:
    if request.only is not None:
        return f"=,{request.only},"
    return "".join(f",{each}" for each in request.avoid) + "," if request.avoid else ""
