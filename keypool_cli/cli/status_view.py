"""A status as a picture on a terminal: it fits the width, dropping what matters least."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from keypool_cli.cli import status_text
from keypool_cli.cli.durations import in_words
from keypool_cli.cli.output import clean
from keypool_cli.cli.tables import Column, FittedTable
from keypool_cli.service.standing import ModelStatus, PoolStatus, Status, Use

MOST_ROWS = 200
"""Rows of a pool that a person is shown."""

BAR = 8
"""Cells of a bar."""

COLORS = {
    "ready": "green",
    "full": "yellow",
    "cooling": "yellow",
    "excluded": "magenta",
    "disabled": "dim",
    "dead": "red",
}
_LAYOUTS: Sequence[tuple[bool, Sequence[str]]] = (
    (True, ()),
    (True, ("REASON",)),
    (False, ("REASON",)),
    (False, ("REASON", "LEASES")),
    (False, ("REASON", "LEASES", "KEYS")),
)
"""From wide to narrow: whether bars are drawn, and which columns are left out. Reasons that have
no column follow as lines."""


def picture(status: Status, *, with_advice: bool = False, sort: str = "problems") -> Group:
    """The headlines of every pool, the hint, and their tables."""
    # Answers first: a screen that is too short for every row still has them.
    parts: list[object] = [_Headline(pool, status.at) for pool in status.pools]
    advice = status_text.advice(status) if with_advice else None
    if advice is not None:
        parts.append(Text(clean(f"hint: {advice}"), style="dim", no_wrap=True, overflow="ellipsis"))
    for pool in status.pools:
        if pool.projects:
            parts += [Text(clean(pool.pool), style="bold")] if len(status.pools) > 1 else []
            parts.append(_Rows(pool, status.at, sort))
    return Group(*parts)  # type: ignore[arg-type]  # rich names no type for "renderable by protocol"


class _Headline:
    """The answer for a pool on one line: in few words where the terminal is too narrow for all."""

    def __init__(self, pool: PoolStatus, at: str) -> None:
        self._pool, self._at = pool, at

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        whole = headline_cell(self._pool, status_text.headline(self._pool, self._at))
        if whole.cell_len > options.max_width:
            whole = headline_cell(self._pool, status_text.short_headline(self._pool))
        whole.no_wrap, whole.overflow = True, "ellipsis"
        yield whole


def headline_cell(pool: PoolStatus, text: str) -> Text:
    """The answer for a pool, green while it can serve."""
    serving = pool.ready + pool.full > 0
    return Text(clean(text), style="bold green" if serving else "bold red")


class _Rows:
    """The table of one pool; asked for its width each time it is drawn, so a resize is obeyed."""

    def __init__(self, pool: PoolStatus, at: str, sort: str) -> None:
        rows = status_text.rows(pool, sort)
        self._rows, self._more = rows[:MOST_ROWS], len(rows) - MOST_ROWS
        self._at = at

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        yield from self._fitted(options)
        if self._more > 0:
            yield cell(f"{self._more} more rows: choose by --state, --project or -l, or pipe them")

    def _fitted(self, options: ConsoleOptions) -> Iterator[RenderableType]:
        for bars, left_out in _LAYOUTS[:-1]:
            table = self._table(bars=bars and not options.ascii_only, left_out=left_out)
            if table.width <= options.max_width:
                yield table
                yield from self._reasons() if left_out else ()
                return
        yield self._table(bars=False, left_out=_LAYOUTS[-1][1])
        yield from self._reasons()

    def _table(self, *, bars: bool, left_out: Sequence[str]) -> FittedTable:
        columns = self._columns(bars=bars)
        return FittedTable([each for each in columns if each.name not in left_out])

    def _columns(self, *, bars: bool) -> list[Column]:
        rows = self._rows
        models = [model for _, model, _ in rows]
        return [
            Column("PROJECT", [cell(project.project) for project, _, _ in rows]),
            Column("MODEL", [cell(model.model if model else "-") for model in models]),
            Column("STATE", [Text(state, style=COLORS[state]) for _, _, state in rows]),
            Column("LEFT", [cell(in_words(m.remaining_s) if m else "") for m in models]),
            Column("RPM", [use_cell(m.rpm if m else None, bars=bars) for m in models]),
            Column("TPM", [use_cell(m.tpm if m else None, bars=bars) for m in models]),
            Column("RPD", [use_cell(m.rpd if m else None, bars=bars) for m in models]),
            Column("LEASES", [cell(str(m.leases) if m else "") for m in models]),
            Column("REASON", [cell(status_text.reason_text(p, m)) for p, m, _ in rows]),
            Column("KEYS", self._keys()),
        ]

    def _keys(self) -> list[Text]:
        return [
            cell(status_text.keys_text(project, fingerprints=True)) for project, _, _ in self._rows
        ]

    def _reasons(self) -> Iterable[Text]:
        """What the missing column would have said, a line each."""
        for project, model, state in self._rows:
            reason = status_text.reason_text(project, model)
            if reason and state != "ready":
                place = f"{project.project} / {model.model}" if model else project.project
                yield cell(f"  {place}{self._until(model)}: {reason}")

    def _until(self, model: ModelStatus | None) -> str:
        if model is None or model.until is None:
            return ""
        return f" until {status_text.clock(model.until, self._at)}"


def cell(text: str) -> Text:
    """A cell without control characters, on one line."""
    return Text(clean(text), no_wrap=True, overflow="ellipsis")


def use_cell(use: Use | None, *, bars: bool) -> Text:
    """What is used of a limit, as a figure and, where wanted, a bar."""
    if use is None:
        return Text("")
    limit = status_text.NO_LIMIT if use.limit is None else short(use.limit)
    figures = f"{short(use.used)}/{limit} {use.provenance[0]}"
    if not bars or use.limit is None:
        return Text(figures)
    share = min(status_text.used_share(use), 1.0)
    filled = round(share * BAR)
    style = "red" if share >= 0.9 else "yellow" if share >= 0.7 else "green"
    bar = Text("█" * filled, style=style).append("░" * (BAR - filled), style="dim")
    return bar.append(f" {figures}", style="default")


def short(number: int) -> str:
    """A number in at most five characters: ``950``, ``12k``, ``1.5M``."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= 10 * size or (number >= size and number % size == 0):
            return f"{number // size}{letter}"
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return str(number)
