"""Turn the faults that hit a call into its refusal and the shape of its answer."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from keypool_cli.simulator import refusals
from keypool_cli.simulator.faults import Fault, Kind
from keypool_cli.simulator.limiter import Excess
from keypool_cli.simulator.quota_bodies import not_offered, over_quota
from keypool_cli.simulator.refusals import GeminiError, exhausted, help_links
from keypool_cli.simulator.state import Project, State

_PLAIN: Mapping[Kind, Callable[[], GeminiError]] = {
    Kind.KEY_INVALID: refusals.key_invalid,
    Kind.KEY_EXPIRED: refusals.key_expired,
    Kind.LEAKED: refusals.leaked,
    Kind.OVERLOADED: refusals.overloaded,
    Kind.INTERNAL: refusals.internal,
}

# 429 and 402 that name no quota: message, HTTP code.
_UNNAMED: Mapping[Kind, tuple[str, int]] = {
    Kind.OPAQUE: ("Resource has been exhausted (e.g. check quota).", 429),
    Kind.CAPACITY: ("Resource exhausted. Please try again later.", 429),
    Kind.SPEND_RATE: (
        (
            "You exceeded your spend-based rate limit. Your spending rate has exceeded the allowed "
            "limit for your account's billing history and tier."
        ),
        429,
    ),
    Kind.ACCOUNT_CAP: ("Your billing account has exceeded its monthly spending cap", 429),
    Kind.PROJECT_CAP: ("Your project has exceeded its monthly spending cap", 429),
    Kind.CREDIT: (
        (
            "Your prepayment credits are depleted. Please go to AI Studio at "
            "https://ai.studio/projects to manage your project and billing."
        ),
        402,
    ),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """How an answer arrives. drop_after: break the connection after so many chunks; None never."""

    first_byte_s: float
    chunk_s: float
    drop_after: int | None = None


def shape_of(state: State, faults: Iterable[Fault]) -> Shape:
    """The world's delays, lengthened by the faults, and where the connection breaks."""
    slow = [fault for fault in faults if fault.kind is Kind.SLOW]
    drops = [fault.after_chunks for fault in faults if fault.kind is Kind.DROP]
    return Shape(
        first_byte_s=state.world.first_byte_s + sum(fault.first_byte_s for fault in slow),
        chunk_s=state.world.chunk_s + sum(fault.chunk_s for fault in slow),
        drop_after=min(drops, default=None),
    )


def refusal_of(
    state: State, faults: Iterable[Fault], *, project: Project, key: str, model: str
) -> GeminiError | None:
    """The scripted refusal of a call; None when no fault refuses it."""
    for fault in faults:
        if fault.kind in _PLAIN:
            return _PLAIN[fault.kind]()
        if fault.kind in _UNNAMED:
            message, code = _UNNAMED[fault.kind]
            return exhausted(fault.kind, message, code=code)
        if fault.kind not in (Kind.SLOW, Kind.DROP):
            return _named(state, fault, project=project, key=key, model=model)
    return None


def _named(state: State, fault: Fault, *, project: Project, key: str, model: str) -> GeminiError:
    match fault.kind:
        case Kind.SUSPENDED:
            return refusals.suspended(key, project.number)
        case Kind.SERVICE_DISABLED:
            return refusals.service_disabled(project.number)
        case Kind.HELP_ONLY:
            message = "You exceeded your current quota, please check your plan and billing details."
            return exhausted(fault.kind, message, details=[help_links()])
        case Kind.RAW:
            counts = fault.status in (400, 500)
            return GeminiError(fault.kind, fault.status, fault.body, counts=counts)
        case _:
            return _quota(state, fault.kind, project, model)


def _quota(state: State, kind: Kind, project: Project, model: str) -> GeminiError:
    tier, bucket = project.spec.tier, state.bucket(model)
    if kind is Kind.LIMIT0:
        return not_offered(tier=tier, model=bucket, retry_ns=state.minute_left_ns())
    limits = project.spec.limits(bucket)
    value = {Kind.RPM: limits.rpm, Kind.TPM: limits.tpm, Kind.RPD: limits.rpd}[kind] or 1
    retry_ns = state.day_hint_ns() if kind is Kind.RPD else state.minute_left_ns()
    return over_quota([Excess(kind, value)], tier=tier, model=bucket, retry_ns=retry_ns)
