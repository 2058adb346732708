"""What an upstream refusal means: whose fault, which scope, what to do, until when, by which rule.

:mod:`keypool_cli.core.refusal_rules` holds the verdicts as a table,
:mod:`keypool_cli.core.refusal_parse` reads the bodies, and this module weighs the evidence.
"""

from dataclasses import dataclass

from keypool_cli.core import refusal_rules as rules
from keypool_cli.core.redact import redact
from keypool_cli.core.refusal_parse import Dimension, LearnedLimit, Refusal, read_refusal
from keypool_cli.core.refusal_rules import Action, Backoff, Fault, Hold, Ruling, Scope

__all__ = [
    "Action",
    "Backoff",
    "Dimension",
    "Fault",
    "LearnedLimit",
    "Scope",
    "Verdict",
    "classify",
]

# RetryInfo on a per-day refusal was seen in two kinds, 2025 to October 2026: seconds to the next
# minute, which mislead, and true hours. No day is longer than 25 hours.
_LONG_HINT_MS = 10 * 60 * 1000
_LONGEST_MS = 25 * 3600 * 1000
# Hints of one day end were seen up to 13 s apart; the day ends in question lie hours apart.
_SAME_DAY_END_MS = 5 * 60 * 1000

_QUOTE = 200
_QUOTE_READ = 600  # more than is shown, since redaction shortens


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a refusal means for whoever keeps projects, keys and models in service.

    reason: one sentence for operators; it may quote upstream, with keys redacted by their shape.
    Redact it again where the secret itself is known.
    until_at_ms: the end of a COOL; backoff: how it grows instead, where upstream gives no
    believable time. A COOL has exactly one of them, any other action neither.
    limits: what upstream said it allows, for the model and project asked (or for bucket_model).
    bucket_model: the model upstream counted; another name than the one asked is an alias.
    day_hint_at_ms: a believable end of the quota's day that is not the expected one.
    project_number: the project's number, where upstream names it.
    """

    fault: Fault
    scope: Scope
    action: Action
    rule: str
    reason: str
    until_at_ms: int | None = None
    backoff: Backoff | None = None
    limits: tuple[LearnedLimit, ...] = ()
    bucket_model: str | None = None
    day_hint_at_ms: int | None = None
    project_number: str | None = None


@dataclass(frozen=True, slots=True)
class _Moment:
    """The instant of the verdict and the randomness it may use."""

    now_at_ms: int
    day_end_at_ms: int
    jitter: float

    def after(self, delay_ms: int) -> int:
        """The instant ``delay_ms`` from now, 0.1 to 1 s late so that not all come at once."""
        return self.now_at_ms + delay_ms + 100 + int(self.jitter * 900)

    def day_end(self) -> int:
        """The day's end, kept within the next 25 hours whatever the caller's calendar says."""
        soonest, latest = self.now_at_ms + 1000, self.now_at_ms + _LONGEST_MS
        return min(max(self.day_end_at_ms, soonest), latest)


def classify(
    status: int, body: object, *, now_at_ms: int, day_end_at_ms: int, jitter: float
) -> Verdict | None:
    """The verdict on one upstream answer, or None where it says yes.

    status: upstream's HTTP status; 0 where no answer came. body: the answer as received, any
    JSON value or text, also none; a 2xx whose body holds an error is judged by that error's code.
    day_end_at_ms: the next end of the quota's day as far as is known (Pacific midnight at first);
    it also ends the caps of a month, which are so tried once a day. jitter: in [0, 1).

    The same arguments always give the same verdict, and no body raises an error.
    """
    refusal = read_refusal(status, body)
    if refusal is None:
        return None
    ruling = _ruling(refusal)
    moment = _Moment(now_at_ms, day_end_at_ms, jitter)
    return Verdict(
        fault=ruling.fault,
        scope=ruling.scope,
        action=ruling.action,
        rule=ruling.rule,
        reason=_reason(ruling, refusal.message),
        until_at_ms=_until(ruling, refusal, moment),
        backoff=ruling.hold if isinstance(ruling.hold, Backoff) else None,
        limits=refusal.limits if refusal.status == 429 else (),
        bucket_model=refusal.bucket_model,
        day_hint_at_ms=_day_hint(ruling, refusal, moment),
        project_number=refusal.project_number,
    )


def _ruling(refusal: Refusal) -> Ruling:
    if refusal.status in (402, 429):
        return _money(refusal) or _quota(refusal)
    if refusal.status in (400, 401, 403, 404):
        return _evidence(refusal) or _by_status(refusal)
    return _by_status(refusal)


def _money(refusal: Refusal) -> Ruling | None:
    """Caps, spend rate and credit; before about August 2026 all of them came as 429."""
    text = refusal.message.lower()
    said = next((ruling for words, ruling in rules.MONEY_TEXTS if words in text), None)
    return rules.NO_CREDIT if said is None and refusal.status == 402 else said


def _quota(refusal: Refusal) -> Ruling:
    """The limit that refused: one that is 0, then any of a day, then any of a minute."""
    if refusal.not_offered:
        return rules.LIMIT_ZERO
    hint = -1 if refusal.hint_ms is None else refusal.hint_ms
    if refusal.daily:
        return rules.PER_DAY_HINT if _LONG_HINT_MS <= hint <= _LONGEST_MS else rules.PER_DAY
    if refusal.per_minute:
        return rules.PER_MINUTE_HINT if 0 <= hint < _LONG_HINT_MS else rules.PER_MINUTE
    if _out_of_capacity(refusal):
        return rules.MODEL_CAPACITY
    return rules.RETRY_HINT if 0 < hint <= _LONGEST_MS else rules.OPAQUE


def _out_of_capacity(refusal: Refusal) -> bool:
    said = refusal.message.lower().startswith(rules.CAPACITY_TEXT)
    return said or rules.CAPACITY_REASON in refusal.reasons


def _evidence(refusal: Refusal) -> Ruling | None:
    """What upstream's own words say, else its reasons, else a 401 to our one credential."""
    for pattern, ruling in rules.RULING_OF_TEXT:
        if pattern.match(refusal.message):
            return ruling
    for reason in refusal.reasons:
        if reason in rules.RULING_OF_REASON:
            return rules.RULING_OF_REASON[reason]
    return _unauthenticated(refusal) if refusal.status == 401 else None


def _unauthenticated(refusal: Refusal) -> Ruling | None:
    """A 401 without a word about the key: that it was refused, unless someone else says so."""
    if refusal.inside:  # the 2xx around it accepted the key
        return None
    page = refusal.message.lstrip().startswith("<")  # a proxy's on the way, upstream sends JSON
    return rules.UPSTREAM_FAILED if page else rules.KEY_REFUSED


def _by_status(refusal: Refusal) -> Ruling:
    client_error = 400 <= refusal.status < 500
    default = rules.REFUSED if client_error else rules.UPSTREAM_FAILED
    return rules.RULING_OF_STATUS.get(refusal.status, default)


def _until(ruling: Ruling, refusal: Refusal, moment: _Moment) -> int | None:
    if ruling.hold is Hold.DAY_END:
        return moment.day_end()
    if ruling.hold is Hold.HINT:
        return moment.after(refusal.hint_ms or 0)
    return moment.after(ruling.hold) if isinstance(ruling.hold, int) else None


def _day_hint(ruling: Ruling, refusal: Refusal, moment: _Moment) -> int | None:
    if ruling is not rules.PER_DAY_HINT:
        return None
    hinted = moment.now_at_ms + (refusal.hint_ms or 0)
    return hinted if abs(hinted - moment.day_end_at_ms) > _SAME_DAY_END_MS else None


def _reason(ruling: Ruling, message: str) -> str:
    """The rule's sentence, with upstream's own words where something is set aside.

    Answers to a request's own faults are not quoted: they may repeat what the user wrote.
    """
    if ruling.action in (Action.RETRY, Action.RETURN):
        return f"{ruling.reason}."
    words = redact(" ".join(message[:_QUOTE_READ].split()))
    if len(words) > _QUOTE:
        words = f"{words[: _QUOTE - 1]}…"
    quoted = "".join(char if char.isprintable() else " " for char in words).rstrip(".")
    return f"{ruling.reason}: “{quoted}”." if quoted else f"{ruling.reason}."
