"""How use has moved over the last minute, as a row of little bars."""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from keypool_cli.cli.top_state import RowId

if TYPE_CHECKING:
    from keypool_cli.service.standing import ProjectStatus, Use

SPAN_S = 60
_BARS = "▁▂▃▄▅▆▇█"


class History:
    """What was used of each row's limits, once a second, for the last minute."""

    def __init__(self) -> None:
        self._samples: dict[tuple[RowId, str], deque[tuple[float, float]]] = defaultdict(deque)
        self._last_s = float("-inf")

    def add(self, projects: "Iterable[ProjectStatus]", at_s: float) -> None:
        """Keep how the projects stand; more often than once a second is not kept."""
        if at_s - self._last_s < 0.9:
            return
        self._last_s = at_s
        for project in projects:
            for model in project.models:
                row = (project.project, model.model)
                self._keep(row, "rpm", model.rpm, at_s)
                self._keep(row, "tpm", model.tpm, at_s)
        self._forget(at_s - SPAN_S)

    def _keep(self, row: RowId, dimension: str, use: "Use", at_s: float) -> None:
        known = (row, dimension) in self._samples
        if use.used or known:  # most of a thousand projects are idle
            self._samples[row, dimension].append((at_s, use.used))

    def _forget(self, before_s: float) -> None:
        for name, samples in list(self._samples.items()):
            while samples and samples[0][0] <= before_s:
                samples.popleft()
            if not any(used for _, used in samples):
                del self._samples[name]

    def line(self, row: RowId, dimension: str, limit: int | None, cells: int) -> str:
        """The row's last minute, the newest on the right; full height is its limit."""
        samples = list(self._samples.get((row, dimension), ()))
        return sparkline(samples, self._last_s, limit, cells)


def sparkline(
    samples: Sequence[tuple[float, float]], now_s: float, limit: int | None, cells: int
) -> str:
    """Samples of (second, amount) up to ``now_s``; without a limit the largest is full height."""
    most = [-1.0] * cells
    for at_s, amount in samples:
        cell = cells - 1 - int((now_s - at_s) * cells / SPAN_S)
        if 0 <= cell < cells:
            most[cell] = max(most[cell], amount)
    for cell in range(1, cells):  # looked at less often than a cell is long
        if most[cell] < 0:
            most[cell] = most[cell - 1]
    top = limit or max(most, default=0)
    return "".join(" " if each < 0 else _bar(each, top) for each in most)


def _bar(amount: float, top: float) -> str:
    if amount <= 0 or top <= 0:
        return _BARS[0]
    return _BARS[min(1 + int(amount / top * (len(_BARS) - 1)), len(_BARS) - 1)]
