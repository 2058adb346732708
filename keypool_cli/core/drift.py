"""Whether a model's calibration still holds, judged from stored and fresh counts.

Upstream counts deterministically, so any differing integer is a change; the rules only say how
much it matters. Nothing here is random: the same counts always give the same findings.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from keypool_cli.core.accuracy import (
    STRUCTURE,
    Counted,
    Probe,
    Scored,
    accuracy,
    by_stratum,
    score,
)
from keypool_cli.core.bounds import mean_interval, too_many
from keypool_cli.core.estimator import Calibration
from keypool_cli.core.request_shape import read_request
from keypool_cli.core.text_tokens import count_text

SUBSET: Final = 120
"""How many samples a check recounts unless told otherwise."""

LONG_TOKENS: Final = 100
"""From here on a text is judged by the goal for longer texts too."""

BULK_TOKENS: Final = 300
"""From here on a text's over-reservation is judged: samples are shorter than most traffic."""

_SEED: Final = 0
_NOTHING: Final[Mapping[str, float]] = MappingProxyType({})
_EXOTIC: Final = "exotic"
_STRICT: Final = ("Arabic", "English")
_STRICT_SHIFT: Final = 10
_OTHER_SHIFT: Final = 20
_WARN_SHIFT: Final = 5
_MOST_WASTE: Final = 0.12
_MOST_UNDER: Final = 0.01


@dataclass(frozen=True, slots=True)
class Goal:
    """The largest mean absolute relative error allowed: of all texts, and of longer ones."""

    all: float
    long: float


GOALS: Final[Mapping[str, Goal]] = MappingProxyType(
    {
        "Arabic": Goal(0.06, 0.045),
        "tashkeel": Goal(0.06, 0.06),
        "English": Goal(0.05, 0.04),
        "code": Goal(0.06, 0.06),
    }
)


class Severity(IntEnum):
    """What a finding asks for: nothing, a look, or a new calibration."""

    INFO = 0
    WARN = 1
    FAIL = 2


@dataclass(frozen=True, slots=True)
class Shift:
    """How one stratum's counts moved.

    samples: recounted. changed: whose integer differs. stored, fresh: their tokens in all.
    """

    stratum: str
    samples: int
    changed: int
    stored: int
    fresh: int

    @property
    def ratio(self) -> float:
        """Relative change of the tokens: 0.22 is 22 % more than stored."""
        return self.fresh / self.stored - 1 if self.stored else 0.0

    @property
    def severity(self) -> Severity:
        """By the size of the change, compared in integers."""
        limit = _STRICT_SHIFT if self.stratum in _STRICT else _OTHER_SHIFT
        moved = 1000 * abs(self.fresh - self.stored)
        if moved > limit * self.stored:
            return Severity.FAIL
        return Severity.WARN if moved > _WARN_SHIFT * self.stored else Severity.INFO


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was. rule: counts, overhead, safety, accuracy or waste."""

    rule: str
    severity: Severity
    stratum: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Drift:
    """What a check found. shifts: every stratum recounted. findings: the worst first."""

    shifts: tuple[Shift, ...]
    findings: tuple[Finding, ...]

    @property
    def fails(self) -> bool:
        """Whether the model needs a new calibration."""
        return any(finding.severity is Severity.FAIL for finding in self.findings)


def choose_subset(probes: Sequence[Probe], size: int = SUBSET) -> tuple[Probe, ...]:
    """A fixed choice of samples, each kind by its share, and every structural probe.

    The same probes give the same choice, in whatever order they come.
    """
    structural = [probe for probe in probes if probe.kind == STRUCTURE]
    kinds: dict[str, list[Probe]] = {}
    for probe in sorted(probes, key=lambda probe: probe.digest):
        if probe.kind != STRUCTURE:
            kinds.setdefault(probe.kind, []).append(probe)
    ranked = sorted(
        ((at + 0.5) / len(kind), probe.kind, probe.digest, probe)
        for kind in kinds.values()
        for at, probe in enumerate(kind)
    )
    return (*(probe for *_, probe in ranked[:size]), *structural)


def check(
    probes: Sequence[Probe],
    stored: Mapping[str, int],
    *,
    fresh: Mapping[str, int],
    model: str,
    calibration: Calibration,
    reached: Mapping[str, float] = _NOTHING,
) -> Drift:
    """Judge a model's calibration. ``stored`` and ``fresh`` hold counts by digest of the probe.

    Counts are compared where both are known. Safety, accuracy and waste are judged on all known
    counts, or on the fresh ones alone where any differs: the stored ones are then void.
    reached: the error of each stratum that calibrating came to. What is no worse than that is
    told, but does not fail: calibrating again would not mend it.
    """
    changed = any(stored.get(digest, tokens) != tokens for digest, tokens in fresh.items())
    known = fresh if changed else {**stored, **fresh}
    scored = [
        score(Counted(probe, known[probe.digest]), model=model, calibration=calibration)
        for probe in probes
        if probe.digest in known and probe.kind != STRUCTURE
    ]
    recounted = [probe for probe in probes if probe.digest in stored and probe.digest in fresh]
    shifts = _shifts(recounted, stored, fresh)
    findings = [
        *_count_findings(shifts, _overhead_step(recounted, stored, fresh)),
        *_safety(scored),
        *_inaccuracies(scored, reached),
        *_waste(scored),
    ]
    findings.sort(key=lambda finding: -finding.severity)
    return Drift(shifts, tuple(findings))


def _shifts(
    probes: Iterable[Probe], stored: Mapping[str, int], fresh: Mapping[str, int]
) -> tuple[Shift, ...]:
    pairs: dict[str, list[tuple[int, int]]] = {}
    for probe in probes:
        pair = (stored[probe.digest], fresh[probe.digest])
        pairs.setdefault(probe.stratum, []).append(pair)
    return tuple(
        Shift(
            stratum,
            len(counts),
            sum(old != new for old, new in counts),
            sum(old for old, _ in counts),
            sum(new for _, new in counts),
        )
        for stratum, counts in pairs.items()
    )


def _overhead_step(
    probes: Iterable[Probe], stored: Mapping[str, int], fresh: Mapping[str, int]
) -> int:
    """The tokens by which every content, and a system instruction, changed alike; else 0."""
    steps: set[float] = set()
    for probe in probes:
        shape = read_request(probe.body)
        difference = fresh[probe.digest] - stored[probe.digest]
        # A system instruction costs what a content does, or nothing.
        by_content = difference / max(1, shape.contents)
        by_turn = difference / max(1, shape.contents + shape.systems)
        steps.add(by_turn if by_turn.is_integer() else by_content)
    return int(steps.pop()) if len(steps) == 1 and all(step.is_integer() for step in steps) else 0


def _count_findings(shifts: Sequence[Shift], step: int) -> list[Finding]:
    changed = [shift for shift in shifts if shift.changed]
    if step:
        worst = max(shift.severity for shift in changed)
        message = f"each content costs {step:+d} token(s) beside its text: overhead only"
        return [Finding("overhead", worst, None, message)]
    return [_moved(shift) for shift in changed]


def _moved(shift: Shift) -> Finding:
    message = (
        f"{shift.stratum}: counts moved by {shift.ratio:+.1%}, "
        f"{shift.changed} of {shift.samples} samples differ"
    )
    return Finding("counts", shift.severity, shift.stratum, message)


def _safety(scored: Sequence[Scored]) -> list[Finding]:
    ordinary = [one for one in scored if _is_ordinary(one.probe)]
    under = sum(one.is_under for one in ordinary)
    limit = too_many(len(ordinary), rate=_MOST_UNDER)
    if under < limit:
        return []
    message = (
        f"{under} of {len(ordinary)} samples cost more than reserved; {limit - 1} may by chance"
    )
    return [Finding("safety", Severity.FAIL, None, message)]


def _is_ordinary(probe: Probe) -> bool:
    texts = read_request(probe.body).texts
    return probe.stratum != _EXOTIC and not any(count_text(text).unusual for text in texts)


def _inaccuracies(scored: Sequence[Scored], reached: Mapping[str, float]) -> list[Finding]:
    found = []
    for stratum, group in by_stratum(scored).items():
        goal = GOALS.get(stratum)
        if goal:
            least = reached.get(stratum, 0.0)
            longer = [one for one in group if one.actual >= LONG_TOKENS]
            found += _inaccurate(stratum, group, goal=goal.all, reached=least)
            found += _inaccurate(f"{stratum}, longer texts", longer, goal=goal.long, reached=least)
    return found


def _inaccurate(
    name: str, scored: Sequence[Scored], *, goal: float, reached: float
) -> list[Finding]:
    if not scored:
        return []
    lowest, _ = mean_interval([abs(one.error) for one in scored], seed=_SEED)
    if lowest <= goal:
        return []
    message = f"{name}: the mean error is at least {lowest:.1%}, the goal {goal:.1%}"
    severity = Severity.FAIL
    if lowest <= reached:
        severity = Severity.WARN
        message += f"; calibrating came to {reached:.1%}"
    return [Finding("accuracy", severity, scored[0].probe.stratum, message)]


def _waste(scored: Sequence[Scored]) -> list[Finding]:
    bulk = by_stratum(one for one in scored if one.actual >= BULK_TOKENS)
    found = []
    for stratum in _STRICT:
        over = accuracy(bulk.get(stratum, [])).over
        if over > _MOST_WASTE:
            message = (
                f"{stratum}: {over:.1%} more is reserved than used; {_MOST_WASTE:.0%} is the goal"
            )
            found.append(Finding("waste", Severity.WARN, stratum, message))
    return found
