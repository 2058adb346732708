"""Settlement: the usage of a call, and what a refusal means for its project, key and account.

A refusal is applied to the live store first, which stops traffic; then written to SQL, so that no
lost store forgets it; then acknowledged. Refusals that arrive together share one transaction.
"""

import random
from asyncio import Future
from collections.abc import Mapping, Sequence
from contextlib import suppress
from socket import gethostname
from time import perf_counter

import msgspec

from keypool_cli.core.day import day_end_ms
from keypool_cli.core.model import Client
from keypool_cli.core.redact import redact, redact_json
from keypool_cli.core.refusal import Scope, Verdict, classify
from keypool_cli.core.usage import input_tokens
from keypool_cli.engine.types import LeaseEnd, LiveMark, Settled, Settlement
from keypool_cli.errors import ConflictError, NotFoundError, UnreachableError
from keypool_cli.registry.change import noting_revisions
from keypool_cli.registry.values import Actor, Refusal
from keypool_cli.service.aliases import adopt_aliases
from keypool_cli.service.batching import Batcher, Batchers
from keypool_cli.service.instances import Activity
from keypool_cli.service.lease_ids import model_of
from keypool_cli.service.loaded import models_in_reach
from keypool_cli.service.old_secrets import is_about_old_secret
from keypool_cli.service.ports import Ports
from keypool_cli.service.riding_out import RidingOut
from keypool_cli.service.sync import sync_projects
from keypool_cli.service.verdicts import (
    ANYONE,
    DAEMON,
    AliasClaims,
    Evidence,
    Outcome,
    acts,
    confirmed,
    decides,
    live_mark,
    outcome,
    refusal_of,
    told,
)
from keypool_cli.service.waiting import Waiting
from keypool_cli.service.watch import Watch

_ZERO_TOKENS = frozenset({401, 402, 403, 404, 429})
"""Upstream counts no tokens for calls it refused at the door."""


class Report(msgspec.Struct, frozen=True):
    """What became of a call. status 0: no answer came. error: as received.

    client: whose lease it is. witnessed: the daemon made the call itself, so that what it says of
    upstream is not the client's word.
    """

    lease_id: str
    client: Client | None
    status: int
    usage: Mapping[str, object] | None = None
    error: object = None
    witnessed: bool = False

    @property
    def is_good(self) -> bool:
        """Whether the call went well."""
        return 200 <= self.status < 300 and self.error is None

    @property
    def witness(self) -> Client | None:
        """The client whose word it is; None: the daemon's own, or anyone's without tokens."""
        return None if self.witnessed else self.client

    @property
    def source(self) -> str:
        """Whose word it is, by name."""
        if self.witnessed:
            return DAEMON
        return self.client.name if self.client is not None else ANYONE


def tokens_of(report: Report) -> int | None:
    """Tokens to settle with; None keeps the reservation, for upstream counts failed calls too."""
    if not 200 <= report.status < 300:
        return 0 if report.status in _ZERO_TOKENS else None
    return input_tokens(report.usage or {})


class Settling:
    """Settles leases for one daemon."""

    def __init__(self, ports: Ports, watch: Watch, waiting: Waiting, activity: Activity) -> None:
        self._ports = ports
        self._watch = watch
        self._waiting = waiting
        self._activity = activity
        self._batchers: Batchers[Settlement, Settled | LeaseEnd] = Batchers(self._send)
        self._records: Batcher[Refusal, None] = Batcher(self._record)
        self._actor = Actor(DAEMON, gethostname())
        self._claims = AliasClaims()
        self._riding_out = RidingOut(ports.engine.store)

    async def settle(self, report: Report) -> Outcome:
        """Close a lease; a repeated settlement answers what the first one did.

        Raises NotFoundError for an unknown lease or another client's, ConflictError after a
        release, UnreachableError when a store is away: the settlement may then be repeated.
        """
        model, begun = model_of(report.lease_id), perf_counter()
        verdict = self._verdict(report, await self._waiting.now_ms())
        said = _said(verdict)
        acting = verdict
        if verdict is not None and not await self._concerns(model, report, verdict):
            acting = None
        settled = await self._settle(model, report, said, self._mark(acting, report.witness))
        self.count(report, settled, verdict, perf_counter() - begun)
        # A repeated settlement comes here too: SQL may have been away the first time.
        if acting is not None and settled.answer == said and acts(acting, report.witness):
            await self._act(model, report, acting, settled)
        return outcome(settled, report.witness)

    def count(
        self, report: Report, end: Settled | LeaseEnd, verdict: Verdict | None, seconds: float
    ) -> None:
        """Count a settlement that took so long, unless it was made before, or of no lease."""
        if not isinstance(end, Settled) or not end.first:
            return
        self._activity.settled(verdict)
        client = report.client.id if report.client else 0
        use = (client, end.project_id, end.key_id, model_of(report.lease_id))
        self._activity.counts.settled(use, end.tokens, seconds)
        source = "proxy" if report.witnessed else "client"
        self._activity.counts.answered(source, report.status, verdict)

    async def release(self, lease_id: str, client: Client | None) -> None:
        """Return a reservation whose call was never made; doing so twice changes nothing."""
        end = await self._release(model_of(lease_id), client.id if client else 0, lease_id)
        if end is LeaseEnd.MISSING:
            raise _no_lease()
        if end is LeaseEnd.SETTLED:
            raise ConflictError("the lease was settled already")

    async def _release(self, model: str, client: int, lease_id: str) -> LeaseEnd:
        # Releasing twice is harmless.
        release = self._ports.engine.release
        (end,) = await self._riding_out.call(lambda _: release(model, client, [lease_id]))
        return end

    def _verdict(self, report: Report, now_ms: int) -> Verdict | None:
        if report.is_good:
            return None
        return classify(
            report.status,
            report.error,
            now_at_ms=now_ms,
            day_end_at_ms=day_end_ms(now_ms),
            jitter=random.random(),  # noqa: S311 - spreads retries only
        )

    async def _concerns(self, model: str, report: Report, verdict: Verdict) -> bool:
        """Whether a verdict is about what is configured now."""
        old = is_about_old_secret(self._ports, self._watch, model, report.lease_id, verdict)
        return not await old

    def settle_good(self, report: Report) -> Future[Settled | LeaseEnd]:
        """Close the lease of a call that went well, without a task; :meth:`count` it when done."""
        return self._ask(model_of(report.lease_id), report, "", None)

    def _ask(
        self, model: str, report: Report, said: str, mark: LiveMark | None
    ) -> Future[Settled | LeaseEnd]:
        return self._batchers.of(model).ask(
            Settlement(
                lease_id=report.lease_id,
                client=report.client.id if report.client else 0,
                tokens=tokens_of(report),
                success=not said,
                mark=mark,
                answer=said,
            )
        )

    async def _settle(
        self, model: str, report: Report, said: str, mark: LiveMark | None
    ) -> Settled:
        end = await self._ask(model, report, said, mark)
        if end is LeaseEnd.MISSING:
            raise _no_lease()
        if not isinstance(end, Settled):
            raise ConflictError("the lease was released already: its call was never made")
        return end

    def _mark(self, verdict: Verdict | None, client: Client | None) -> LiveMark | None:
        if verdict is None or not acts(verdict, client):
            return None
        return live_mark(verdict, jitter=random.random())  # noqa: S311 - spreads retries only

    async def _send(self, model: str, items: Sequence[Settlement]) -> Sequence[Settled | LeaseEnd]:
        # Settling twice is harmless: the first one wins.
        return await self._riding_out.call(lambda _: self._ports.engine.settle(model, items))

    async def _act(self, model: str, report: Report, verdict: Verdict, settled: Settled) -> None:
        """Write what a refusal decided to SQL, and what it means for other models to the store."""
        evidence = await self._evidence(model, report, verdict, settled)
        if evidence is not None:
            await self.apply(evidence)

    async def apply(self, evidence: Evidence) -> None:
        """Make what a refusal decided hold everywhere, and keep it."""
        sure = confirmed(self._watch.configured, evidence)
        aliases = self._claims.confirmed(evidence)
        refusal = refusal_of(evidence, confirmed=sure, aliases=aliases)
        if decides(refusal):
            await self._widen(evidence)
            await self._records.ask(refusal)

    async def _widen(self, evidence: Evidence) -> None:
        verdict, settled = evidence.verdict, evidence.settled
        mark = live_mark(verdict, jitter=0.0)
        if mark is None or verdict.scope is Scope.PROJECT_MODEL:
            return
        mark = LiveMark(mark.action, settled.until_ms) if settled.until_ms else mark
        # The others are loaded anew, with what SQL has, before they grant again.
        for model in (await models_in_reach(self._ports))[0]:
            if model != evidence.model:
                await self._ports.engine.mark(
                    model,
                    [settled.project_id],
                    mark,
                    granted_at_ms=settled.granted_at_ms,
                    key_id=settled.key_id,
                )

    async def _evidence(
        self, model: str, report: Report, verdict: Verdict, settled: Settled
    ) -> Evidence | None:
        configured = self._watch.configured
        project = configured.counted.get(settled.project_id)
        if project is None:
            return None
        key = configured.catalog.keys.get(settled.key_id)
        # Another daemon may have leased it: without the secret, only its shape could be hidden.
        secret = await self._watch.secret(key.id) if key is not None else None
        return Evidence(
            model=model,
            project=project,
            key=key,
            lease_id=report.lease_id,
            source=report.source,
            verdict=verdict,
            settled=settled,
            reason=self._reason(report, verdict, settled, (secret.text,) if secret else ()),
        )

    def _reason(
        self, report: Report, verdict: Verdict, settled: Settled, secrets: Sequence[str]
    ) -> str:
        """The verdict's words, quoted from a body without secrets: half of one would be missed."""
        clean = msgspec.structs.replace(report, error=redact_json(report.error, secrets))
        again = self._verdict(clean, settled.granted_at_ms)
        return redact((again or verdict).reason, secrets)

    async def _record(self, refusals: Sequence[Refusal]) -> Sequence[None]:
        with noting_revisions() as made:
            await self._ports.call(self._ports.registry.marks.record, refusals, by=self._actor)
        # A cooldown of one model changes no revision: it is in the live store already.
        if made:
            known = self._watch.configured.catalog.aliases
            await self._watch.refresh()
            ports, configured = self._ports, self._watch.configured
            with suppress(UnreachableError):  # those out of reach are loaded anew, as above
                await sync_projects(ports, configured, self._touched(refusals), made)
            await adopt_aliases(ports, known, configured)
        return [None] * len(refusals)

    def _touched(self, refusals: Sequence[Refusal]) -> set[int]:
        catalog = self._watch.configured.catalog
        ids = {mark.project_id for each in refusals for mark in each.marks}
        ids |= {each.project_id for refusal in refusals for each in refusal.limits}
        # What stood under an alias stands under its bucket's model now, also of other projects.
        buckets = {model for refusal in refusals for model in refusal.aliases.values()}
        ids |= {mark.project_id for mark in catalog.marks if mark.model in buckets}
        keys = [catalog.keys.get(each.key_id) for refusal in refusals for each in refusal.dead_keys]
        ids |= {each.project_id for each in keys if each is not None}
        accounts = {mark.billing_account for each in refusals for mark in each.marks} - {None}
        ids |= {each.id for each in catalog.projects.values() if each.billing_account in accounts}
        return {each for each in ids if each is not None}


def _said(verdict: Verdict | None) -> str:
    return msgspec.json.encode(told(verdict)).decode() if verdict is not None else ""


def _no_lease() -> NotFoundError:
    return NotFoundError("there is no such lease", hint="they are kept 10 minutes past expiry")
