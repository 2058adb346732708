"""Linear regression with a normal prior on every coefficient, in closed form."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: the coefficients' factors, what was measured, and how exactly."""

    values: Sequence[float]
    target: float
    sd: float


@dataclass(frozen=True, slots=True)
class Belief:
    """What is held of one coefficient: mean and standard deviation."""

    mean: float
    sd: float


def learn(rows: Iterable[Row], priors: Sequence[Belief]) -> tuple[Belief, ...]:
    """The beliefs after the measurements, which may be fewer than the coefficients, or none."""
    size = len(priors)
    matrix = [[0.0] * size for _ in range(size)]
    target = [0.0] * size
    for at, prior in enumerate(priors):
        matrix[at][at] = prior.sd**-2
        target[at] = prior.mean * prior.sd**-2
    for row in rows:
        _add(row, matrix, target)
    inverse = _inverted(matrix)
    return tuple(
        Belief(sum(map(float.__mul__, line, target)), sqrt(line[at]))
        for at, line in enumerate(inverse)
    )


def _add(row: Row, matrix: list[list[float]], target: list[float]) -> None:
    weight = row.sd**-2
    for at, value in enumerate(row.values):
        if value:
            target[at] += weight * value * row.target
            line = matrix[at]
            for other, factor in enumerate(row.values):
                line[other] += weight * value * factor


def _inverted(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """Gauss and Jordan's way; the priors keep every pivot of the matrix above zero."""
    size = len(matrix)
    work = [[*line, *(float(at == to) for to in range(size))] for at, line in enumerate(matrix)]
    for pivot in range(size):
        head = work[pivot][pivot]
        lead = work[pivot] = [value / head for value in work[pivot]]
        for at in range(size):
            factor = work[at][pivot]
            if at != pivot and factor:
                work[at] = [
                    left - factor * right for left, right in zip(work[at], lead, strict=True)
                ]
    return [line[size:] for line in work]
