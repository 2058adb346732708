"""What a verdict becomes: an effect on live state, marks in SQL, learned limits and aliases."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import msgspec

from keypool_cli.core.model import Client, Key, Mark, MarkKind, MarkScope, Project
from keypool_cli.core.refusal import Action, Scope, Verdict, classify
from keypool_cli.engine.types import LiveMark, MarkAction, Settled
from keypool_cli.registry.values import DeadKey, LearnedLimits, Refusal
from keypool_cli.service.configured import Configured

MOST_CLAIMS = 1000
"""Aliases remembered that one client alone has named."""

DAEMON = "daemon"
"""Source of what the daemon saw itself, on a call of its own."""

ANYONE = "anyone"
"""Source of what is reported to a daemon that asks for no tokens: one source, whoever it is."""

_LIVE = {
    (Action.COOL, Scope.PROJECT_MODEL): MarkAction.COOL,
    (Action.COOL, Scope.PROJECT): MarkAction.WIDE,
    (Action.COOL, Scope.BILLING): MarkAction.WIDE,
    (Action.EXCLUDE_MODEL, Scope.PROJECT_MODEL): MarkAction.EXCLUDE,
    (Action.DISABLE, Scope.PROJECT): MarkAction.DISABLE,
    (Action.DISABLE, Scope.KEY): MarkAction.DROP_KEY,
}

_DURABLE = frozenset({Action.COOL, Action.EXCLUDE_MODEL, Action.DISABLE})

_KINDS = {
    Action.COOL: MarkKind.COOL,
    Action.EXCLUDE_MODEL: MarkKind.EXCLUDE,
    Action.DISABLE: MarkKind.DISABLE,
}


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """A verdict as it is kept with its lease, to be answered again."""

    fault: str
    scope: str
    action: str
    rule: str


def told(verdict: Verdict) -> Told:
    """Return what the client hears of a verdict."""
    return Told(verdict.fault, verdict.scope, verdict.action, verdict.rule)


def meaning(status: int, error: object) -> Verdict | None:
    """What an outcome means, for whoever does not ask when a cooldown ends; None: it is good."""
    return classify(status, error, now_at_ms=0, day_end_at_ms=0, jitter=0.0)


def told_of(status: int, error: object) -> Told | None:
    """What the client would hear of an outcome; None: it is good."""
    verdict = meaning(status, error)
    return None if verdict is None else told(verdict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a settlement. told: None on success. why: why a verdict was not applied."""

    told: Told | None
    tokens: int
    applied: bool = False
    until_ms: int | None = None
    why: str | None = None


def outcome(settled: Settled, client: Client | None) -> Outcome:
    """The answer to a settlement of this client's; None: of the daemon's own."""
    said = msgspec.json.decode(settled.answer, type=Told) if settled.answer else None
    ignored = said is not None and said.action in _DURABLE and not settled.applied
    return Outcome(
        told=said,
        tokens=settled.tokens,
        applied=settled.applied,
        until_ms=settled.until_ms or None,
        why=_why_ignored(client) if ignored else None,
    )


def _why_ignored(client: Client | None) -> str:
    if client is not None and client.reports != "all":
        return "this client's reports of errors are not acted on"
    return "a reset, or a new secret of the key, came after this call was granted"


def acts(verdict: Verdict | None, client: Client | None) -> bool:
    """Whether a refusal may change anything: some clients are believed for their usage only."""
    return verdict is not None and (client is None or client.reports == "all")


def live_mark(verdict: Verdict, *, jitter: float) -> LiveMark | None:
    """Return the effect on live state; None when there is none. jitter: in [0, 1)."""
    action = _LIVE.get((verdict.action, verdict.scope))
    if action is None:
        return None
    backoff = verdict.backoff
    return LiveMark(
        action,
        until_ms=verdict.until_at_ms or 0,
        base_ms=backoff.base_ms if backoff else 0,
        cap_ms=backoff.cap_ms if backoff else 0,
        jitter=jitter,
    )


@dataclass(frozen=True, slots=True)
class Evidence:
    """One refused call: whose it was, and what live state made of it. reason: redacted."""

    model: str
    project: Project
    key: Key | None
    lease_id: str
    source: str
    verdict: Verdict
    settled: Settled
    reason: str


class AliasClaims:
    """Model aliases that one client's report has named: a second source must say the same.

    An alias moves everyone's requests to another bucket, so one client must not be able to make it.
    """

    def __init__(self) -> None:
        self._sources: dict[tuple[str, str], str] = {}

    def confirmed(self, evidence: Evidence) -> dict[str, str]:
        """The alias that a refusal proves together with earlier ones; empty for none."""
        model, bucket = evidence.model, evidence.verdict.bucket_model
        if bucket is None or bucket == model:
            return {}
        if len(self._sources) > MOST_CLAIMS:
            self._sources.clear()
        first = self._sources.setdefault((model, bucket), evidence.source)
        sure = evidence.source == DAEMON or first != evidence.source
        return {model: bucket} if sure else {}


def refusal_of(
    evidence: Evidence, *, confirmed: bool, aliases: Mapping[str, str] = MappingProxyType({})
) -> Refusal:
    """Return all that a refusal decided, for the registry to keep in one piece.

    confirmed: what it says of a billing account is the daemon's own or a second client's word.
    aliases: those that it proves.
    """
    verdict, key = evidence.verdict, evidence.key
    dead = key if verdict.action is Action.DISABLE and verdict.scope is Scope.KEY else None
    return Refusal(
        subject=dead.name if dead else evidence.project.name,
        lease_id=evidence.lease_id,
        source=evidence.source,
        marks=_marks(evidence, aliases, confirmed=confirmed),
        dead_keys=(DeadKey(dead.id, verdict.rule, evidence.reason, dead.fingerprint),)
        if dead
        else (),
        limits=_limits(evidence, aliases),
        aliases=aliases,
        reason=evidence.reason,
        detail={
            "rule": verdict.rule,
            "model": evidence.model,
            "key": key.name if key else None,
            "until_at_ms": evidence.settled.until_ms or None,
        },
    )


def decides(refusal: Refusal) -> bool:
    """Whether there is anything to keep."""
    return bool(refusal.marks or refusal.dead_keys or refusal.limits or refusal.aliases)


def confirmed(configured: Configured, evidence: Evidence) -> bool:
    """Whether someone else has said the same of this billing account."""
    if evidence.source == DAEMON:
        return True
    siblings = {each.id for each in configured.siblings(evidence.project)}
    return any(
        mark.rule == evidence.verdict.rule
        and mark.source != evidence.source
        and (mark.until_at_ms is None or mark.until_at_ms > evidence.settled.granted_at_ms)
        and mark.project_id in siblings
        for mark in configured.catalog.marks
    )


def _marks(evidence: Evidence, aliases: Mapping[str, str], *, confirmed: bool) -> tuple[Mark, ...]:
    verdict, settled = evidence.verdict, evidence.settled
    kind = _KINDS.get(verdict.action)
    if kind is None or verdict.scope is Scope.KEY or not settled.applied:
        return ()
    mark = Mark(
        scope=MarkScope.PROJECT_MODEL,
        kind=kind,
        rule=verdict.rule,
        reason=evidence.reason,
        at_ms=settled.granted_at_ms,
        granted_at_ms=settled.granted_at_ms,
        project_id=evidence.project.id,
        model=aliases.get(evidence.model, evidence.model),
        until_at_ms=(settled.until_ms or None) if kind is MarkKind.COOL else None,
        source=evidence.source,
        lease_id=evidence.lease_id,
    )
    if verdict.scope is Scope.PROJECT_MODEL:
        hinted = verdict.day_hint_at_ms is not None
        day_end = replace(mark, kind=MarkKind.DAY_END, until_at_ms=None)
        return (mark, day_end) if hinted else (mark,)
    wide = replace(mark, scope=MarkScope.PROJECT, model=None)
    account = evidence.project.billing_account
    if verdict.scope is Scope.BILLING and account is not None and confirmed:
        return (replace(wide, scope=MarkScope.BILLING, project_id=None, billing_account=account),)
    return (wide,)


def _limits(evidence: Evidence, aliases: Mapping[str, str]) -> tuple[LearnedLimits, ...]:
    values = {str(each.dimension): each.value for each in evidence.verdict.limits}
    if not values:
        return ()
    bucket = aliases.get(evidence.model, evidence.model)
    return (LearnedLimits(evidence.project.id, bucket, values, evidence.settled.granted_at_ms),)
