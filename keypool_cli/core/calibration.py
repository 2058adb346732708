"""Fitting the estimator to one model's own counts, and what that wins on texts not fitted to.

``actual = sum of factor x tokens, by group + per_content x contents + per_system x systems``.
The shipped defaults are the prior, so a few samples move little and all move what they must: one
group may cost a quarter more on another tokenizer while the rest stay as they are. A script outside
the page has a factor of its own, which is that of all such scripts but for what its samples show.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import sqrt
from typing import Final, TypeVar

from keypool_cli.core.accuracy import (
    STRUCTURE,
    Accuracy,
    Counted,
    Scored,
    accuracy,
    by_kind,
    score,
)
from keypool_cli.core.bounds import upper_quantile
from keypool_cli.core.estimator import DEFAULT, Calibration, deviation, estimate_request
from keypool_cli.core.request_shape import read_request
from keypool_cli.core.ridge import Belief, Row, learn
from keypool_cli.core.script_tokens import KINDS
from keypool_cli.core.text_tokens import GROUPS, count_text

_Item = TypeVar("_Item")

_RAW: Final = Calibration(per_content=0.0, per_system=0.0, per_tool=0.0, tool_ratio=1.0)
_GROUP_PRIOR: Final = Belief(1.0, 0.15)
_SCRIPT_NOISE: Final = 0.1  # how far texts of one script are apart by their register alone
_LEAST_SCRIPT_SD: Final = 0.03
_OVERHEAD_SD: Final = 1.5
_TOOL_SD: Final = 20.0  # from about 0 to 27 tokens a declaration were recorded
_TOOL_RATIO_SD: Final = 0.3
_TEXT_SD: Final = 1e4  # the text of the structural probes may cost anything
_EXACT_SD: Final = 0.05
_UNUSUAL_SHARE: Final = 0.15
_UNUSUAL_NOISE: Final = (0.3, 0.1)  # variance a token, and share: texts of one script are alike
_FOLDS: Final = 5
_COVERED: Final = 0.99
_LEAST_FACTOR: Final = 0.05
_TOOL_SPARE: Final = 0.25


@dataclass(frozen=True, slots=True)
class Gain:
    """One class of samples under the shipped defaults and under the calibration, held out."""

    kind: str
    before: Accuracy
    after: Accuracy


@dataclass(frozen=True, slots=True)
class Fitted:
    """A calibration and what it wins.

    gains: by class. before, after: all samples. Each sample was judged by a fit without it.
    """

    calibration: Calibration
    gains: tuple[Gain, ...]
    before: Accuracy
    after: Accuracy


@dataclass(frozen=True, slots=True)
class _Raw:
    """A counted probe with the estimator's own figures, in tokens, before any calibration."""

    counted: Counted
    groups: tuple[float, ...]
    scripts: Mapping[str, float]
    tools: float
    declarations: int
    contents: int
    systems: int
    unusual: bool


def calibrate(counted: Sequence[Counted], *, model: str) -> Fitted:
    """Fit a model's calibration on upstream's counts, and report it on samples held out.

    Deterministic. Fewer than 99 ordinary samples cannot show what one in a hundred costs: the
    margin is then the widest seen, and never narrower than the default, which more texts set.
    """
    raws = [_raw(one, model) for one in counted]
    texts = [raw for raw in raws if raw.counted.probe.kind != STRUCTURE]
    structure = [raw for raw in raws if raw.counted.probe.kind == STRUCTURE]
    folds = [texts[at::_FOLDS] for at in range(_FOLDS)]
    fits = [_fit([*_others(folds, at), *structure]) for at in range(_FOLDS)]
    residuals = [
        [_residual(raw, fit, model) for raw in fold] for fold, fit in zip(folds, fits, strict=True)
    ]
    after: list[Scored] = []
    for at, fold in enumerate(folds):
        judge = _with_margins(fits[at], _others(residuals, at))
        after += [score(raw.counted, model=model, calibration=judge) for raw in fold]
    final = _with_margins(_fit(raws), [one for fold in residuals for one in fold])
    return _fitted(final, [raw.counted for raw in texts], after, model)


def to_json(calibration: Calibration) -> dict[str, object]:
    """A calibration as plain JSON values."""
    values = {field.name: getattr(calibration, field.name) for field in fields(calibration)}
    return values | {"factors": dict(calibration.factors)}


def from_json(values: Mapping[str, object]) -> Calibration:
    """A calibration from :func:`to_json`; what is absent or unknown keeps the default.

    Raises TypeError or ValueError where a value is not a number.
    """
    known = {field.name for field in fields(Calibration)} & values.keys()
    numbers = {name: _number(values[name]) for name in known - {"factors"}}
    given = values.get("factors")
    factors = given if isinstance(given, Mapping) else {}
    return replace(DEFAULT, factors={str(k): _number(v) for k, v in factors.items()}, **numbers)


def _number(value: object) -> float:
    if isinstance(value, (int, float, str)):
        return float(value)
    raise TypeError(f"not a number: {value!r}")


def _raw(counted: Counted, model: str) -> _Raw:
    body = counted.probe.body
    parts = estimate_request(body, model=model, calibration=_RAW).parts
    shape = read_request(body)
    return _Raw(
        counted,
        tuple(parts.get(group, 0.0) for group in GROUPS),
        _scripts(shape.texts),
        parts.get("tools", 0.0),
        len(shape.tools),
        shape.contents,
        shape.systems,
        any(count_text(text).unusual for text in shape.texts),
    )


def _scripts(texts: Iterable[str]) -> Mapping[str, float]:
    """Tokens of texts by script."""
    tokens: Counter[str] = Counter()
    for counted in map(count_text, texts):
        tokens.update(counted.scripts)
    return tokens


def _fit(raws: Sequence[_Raw]) -> Calibration:
    """Factors and overheads; the margins stay the default's."""
    content, system, per_tool, tool_ratio = _overheads(raws)
    scripts = sorted({script for raw in raws for script in raw.scripts}.difference(KINDS))
    rows = [
        Row(_columns(raw, scripts), raw.counted.tokens, _sd(raw))
        for raw in raws
        if not raw.declarations
    ]
    groups = [_GROUP_PRIOR] * (len(GROUPS) + len(KINDS))
    priors = [content, system, *groups, *([_script_prior(raws)] * len(scripts))]
    content, system, *factors = learn(rows, priors)
    ratio = max(0.0, round(tool_ratio.mean, 4))
    return replace(
        DEFAULT,
        factors=_factors([factor.mean for factor in factors], scripts),
        per_content=_rounded(content),
        per_system=_rounded(system),
        per_tool=_rounded(per_tool),
        tool_ratio=ratio,
        tool_reserve=max(DEFAULT.tool_reserve, ratio + _TOOL_SPARE),
    )


def _script_prior(raws: Iterable[_Raw]) -> Belief:
    """How far a script may be from the others: as far as the samples' errors are beyond noise.

    With the vocabulary as shipped that is next to nothing; Gemma 2 counts Bengali twice, and Hebrew
    at 0.9.
    """
    errors = [raw.counted.tokens / sum(raw.groups) - 1 for raw in raws if raw.unusual]
    variance = sum(error * error for error in errors) / max(1, len(errors))
    return Belief(0.0, sqrt(max(_LEAST_SCRIPT_SD**2, variance - _SCRIPT_NOISE**2)))


def _columns(raw: _Raw, scripts: Sequence[str]) -> tuple[float, ...]:
    """What factors apply to: languages' scripts together stand for the last group, and alone."""
    kinds = [raw.scripts.get(kind, 0.0) for kind in KINDS]
    alone = [raw.scripts.get(script, 0.0) for script in scripts]
    return (raw.contents, raw.systems, *raw.groups[:-1], sum(alone), *kinds, *alone)


def _factors(means: Sequence[float], scripts: Sequence[str]) -> dict[str, float]:
    """Factors by group, by kind, and by script, whose means are what they add to the last group."""
    factors = dict(zip((*GROUPS, *KINDS), means, strict=False))
    added = zip(scripts, means[len(factors) :], strict=True)
    factors |= {script: factors[GROUPS[-1]] + more for script, more in added}
    return {name: max(_LEAST_FACTOR, round(factor, 4)) for name, factor in factors.items()}


def _overheads(raws: Sequence[_Raw]) -> tuple[Belief, ...]:
    """What a content, a system instruction and a tool cost, and a tool's tokens per JSON token.

    Requests with the same texts differ in nothing else, so their differences are exact.
    """
    rows = [
        Row(
            (1.0, raw.contents, raw.systems, raw.declarations, raw.tools),
            raw.counted.tokens,
            _EXACT_SD,
        )
        for raw in _same_texts(raws)
    ]
    _, *overheads = learn(
        rows,
        [
            Belief(0.0, _TEXT_SD),
            Belief(DEFAULT.per_content, _OVERHEAD_SD),
            Belief(DEFAULT.per_system, _OVERHEAD_SD),
            Belief(DEFAULT.per_tool, _TOOL_SD),
            Belief(DEFAULT.tool_ratio, _TOOL_RATIO_SD),
        ],
    )
    return tuple(overheads)


def _same_texts(raws: Iterable[_Raw]) -> list[_Raw]:
    """The most structural probes that hold the same texts."""
    alike = defaultdict[tuple[str, ...], list[_Raw]](list)
    for raw in raws:
        if raw.counted.probe.kind == STRUCTURE:
            texts = read_request(raw.counted.probe.body).texts
            alike[tuple(texts)].append(raw)
    return max(alike.values(), key=len, default=[])


def _rounded(belief: Belief) -> float:
    return max(0.0, round(belief.mean, 2))


def _sd(raw: _Raw) -> float:
    text = max(1.0, sum(raw.groups))
    if not raw.unusual:
        return deviation(text)
    variance, share = _UNUSUAL_NOISE
    return sqrt(variance * text + (share * text) ** 2)


def _residual(raw: _Raw, fit: Calibration, model: str) -> tuple[bool, float]:
    """Whether a sample is of the unusual stratum, and how many deviations it costs above."""
    estimate = estimate_request(raw.counted.probe.body, model=model, calibration=fit)
    text = max(1.0, sum(estimate.parts.get(group, 0.0) for group in GROUPS))
    spread = deviation(text, share=_UNUSUAL_SHARE) if raw.unusual else deviation(text)
    return raw.unusual, (raw.counted.tokens - estimate.tokens) / spread


def _with_margins(fit: Calibration, residuals: Iterable[tuple[bool, float]]) -> Calibration:
    ordinary: list[float] = []
    unusual: list[float] = []
    for is_unusual, residual in residuals:
        (unusual if is_unusual else ordinary).append(residual)
    return replace(
        fit,
        z=_margin(ordinary, least=DEFAULT.z),
        unusual_z=_margin(unusual, least=DEFAULT.unusual_z),
    )


def _margin(residuals: Sequence[float], *, least: float) -> float:
    quantile = upper_quantile(residuals, _COVERED)
    seen = max(residuals, default=least) if quantile is None else quantile
    return max(least, round(seen, 3))


def _others(folds: Sequence[Sequence[_Item]], left_out: int) -> list[_Item]:
    return [item for at, fold in enumerate(folds) if at != left_out for item in fold]


def _fitted(
    calibration: Calibration, counted: Sequence[Counted], after: Sequence[Scored], model: str
) -> Fitted:
    before = [score(one, model=model, calibration=DEFAULT) for one in counted]
    held_out = by_kind(after)
    gains = [
        Gain(kind, accuracy(scored), accuracy(held_out[kind]))
        for kind, scored in by_kind(before).items()
    ]
    return Fitted(calibration, tuple(gains), accuracy(before), accuracy(after))
