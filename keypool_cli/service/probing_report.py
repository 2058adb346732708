"""What a probe and a check tell, in the form that ``--json`` prints."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from keypool_cli.core.accuracy import STRATA, Accuracy, together
from keypool_cli.core.calibration import Fitted, Gain
from keypool_cli.core.drift import Drift, Finding, Severity, Shift

ALL: Final = "all"


class ErrorView(msgspec.Struct, frozen=True):
    """How far estimates are from upstream's counts; shares, 0.01 is one percent.

    error: mean absolute relative error. bias: mean relative error. under: samples that cost more
    than reserved. over: tokens reserved in excess, by all tokens.
    """

    error: float
    bias: float
    under: int
    over: float


class ClassView(msgspec.Struct, frozen=True):
    """One class of samples, or stratum of classes: before and after calibration.

    after is judged on samples that the fit had not seen.
    """

    name: str
    samples: int
    tokens: int
    characters_per_token: float
    before: ErrorView
    after: ErrorView


class ProbeReport(msgspec.Struct, frozen=True):
    """What a probe of one model found. source: upstream, stored or tokenizer.

    counted: samples counted now; resumed: those counted by a probe that did not end. saved:
    whether daemons use the calibration from now on.
    """

    model: str
    at: str
    source: str
    samples: int
    counted: int
    resumed: int
    saved: bool
    classes: list[ClassView]
    strata: list[ClassView]
    all: ClassView
    calibration: dict[str, object]


class ShiftView(msgspec.Struct, frozen=True):
    """How one stratum's counts moved since they were stored; shift 0.01 is one percent more."""

    stratum: str
    samples: int
    changed: int
    stored_tokens: int
    tokens: int
    shift: float
    severity: str


class FindingView(msgspec.Struct, frozen=True):
    """One thing that is not as it was. rule: counts, overhead, safety, accuracy or waste."""

    rule: str
    severity: str
    stratum: str | None
    message: str


class CheckReport(msgspec.Struct, frozen=True):
    """What a check of one model found. repair: the command that mends it, where it needs that.

    calibrated_at: None where the model was never probed; the shipped defaults are judged then.
    """

    model: str
    at: str
    source: str
    ok: bool
    calibrated_at: str | None
    samples: int
    shifts: list[ShiftView]
    findings: list[FindingView]
    repair: str | None


def probe_views(fitted: Fitted) -> tuple[list[ClassView], list[ClassView], ClassView]:
    """A fit by class, by stratum, and as a whole."""
    classes = [_view(gain.kind, gain.before, gain.after) for gain in fitted.gains]
    strata = [
        _view(
            stratum,
            together([gain.before for gain in gains]),
            together([gain.after for gain in gains]),
        )
        for stratum, gains in _by_stratum(fitted.gains).items()
    ]
    return classes, strata, _view(ALL, fitted.before, fitted.after)


def errors_reached(report: Mapping[str, object] | None) -> dict[str, float]:
    """By stratum, the error after calibration in a stored report; nothing where it is not known."""
    try:
        strata = msgspec.convert((report or {}).get("strata", []), list[ClassView])
    except msgspec.ValidationError:
        return {}
    return {each.name: each.after.error for each in strata}


def check_views(drift: Drift) -> tuple[list[ShiftView], list[FindingView]]:
    """Shifts and findings of a check."""
    return [_shift(each) for each in drift.shifts], [_finding(each) for each in drift.findings]


def _by_stratum(gains: Iterable[Gain]) -> dict[str, list[Gain]]:
    found: dict[str, list[Gain]] = {}
    for gain in gains:
        found.setdefault(STRATA.get(gain.kind, gain.kind), []).append(gain)
    return found


def _view(name: str, before: Accuracy, after: Accuracy) -> ClassView:
    return ClassView(
        name=name,
        samples=before.samples,
        tokens=before.tokens,
        characters_per_token=round(before.characters_per_token, 2),
        before=_errors(before),
        after=_errors(after),
    )


def _errors(of: Accuracy) -> ErrorView:
    return ErrorView(round(of.mape, 4), round(of.bias, 4), of.under, round(of.over, 4))


def _shift(shift: Shift) -> ShiftView:
    return ShiftView(
        stratum=shift.stratum,
        samples=shift.samples,
        changed=shift.changed,
        stored_tokens=shift.stored,
        tokens=shift.fresh,
        shift=round(shift.ratio, 6),
        severity=_severity(shift.severity if shift.changed else Severity.INFO),
    )


def _finding(finding: Finding) -> FindingView:
    return FindingView(finding.rule, _severity(finding.severity), finding.stratum, finding.message)


def _severity(severity: Severity) -> str:
    return severity.name.lower()
