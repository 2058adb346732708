"""A status as a picture on a terminal: it fits the width, dropping what matters least."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from keypool_cli.cli import status_text
from keypool_cli.cli.durations import in_words
from keypool_cli.cli.output import clean
from keypool_cli.cli.tables import Column, FittedTable, folded, some
from keypool_cli.service.standing import PoolStatus, Status, Use, told_unread

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


@dataclass(frozen=True, slots=True)
class _Layout:
    """bars, fingerprints: whether they are drawn. left_out: columns."""

    bars: bool
    fingerprints: bool
    left_out: frozenset[str] = frozenset()


_LAYOUTS = (
    _Layout(bars=True, fingerprints=True),
    _Layout(bars=True, fingerprints=True, left_out=frozenset({"REASON"})),
    _Layout(bars=False, fingerprints=True, left_out=frozenset({"REASON"})),
    _Layout(bars=False, fingerprints=True, left_out=frozenset({"REASON", "LEASES"})),
    _Layout(bars=False, fingerprints=False, left_out=frozenset({"REASON", "LEASES"})),
    _Layout(bars=False, fingerprints=False, left_out=frozenset({"REASON", "LEASES", "KEYS"})),
)
"""From wide to narrow. Reasons that have no column follow as lines."""


def picture(status: Status, *, with_advice: bool = False, sort: str = "problems") -> Group:
    """The headlines of every pool, the hint, and their tables."""
    # Answers first: a screen that is too short for every row still has them.
    pools = status_text.worst_first(status.pools) if sort == "problems" else status.pools
    parts: list[object] = [_Headline(pool, status.at) for pool in pools]
    if with_advice:
        parts += [Text(clean(told_unread(status)), style="bold red")] if status.unread else []
        parts += map(_Hint, status_text.advice(status))
    for pool in pools:
        if pool.projects:
            parts += [Text(clean(pool.pool), style="bold")] if len(pools) > 1 else []
            parts.append(_Rows(pool, status.at, sort))
    return Group(*parts)  # type: ignore[arg-type]  # rich names no type for "renderable by protocol"


class _Hint:
    """A hint on one line: its command alone where the terminal is too narrow for both."""

    def __init__(self, text: str) -> None:
        self._text = clean(text)

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        told = Text(f"hint: {self._text}", style="dim", no_wrap=True, overflow="ellipsis")
        if told.cell_len > options.max_width:
            told.plain = f"hint: {self._text.partition(': ')[2]}"
        yield told


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
        tables = ((each, self._table(each, plain=options.ascii_only)) for each in _LAYOUTS)
        fitting = ((layout, t) for layout, t in tables if t.width <= options.max_width)
        narrow = _LAYOUTS[-1]
        least = self._table(narrow, plain=options.ascii_only).without_empty()
        layout, table = next(fitting, (narrow, least))
        yield table
        if "REASON" in layout.left_out:
            yield from self._reasons(options.max_width)

    def _table(self, layout: _Layout, *, plain: bool) -> FittedTable:
        columns = self._columns(bars=layout.bars and not plain, fingerprints=layout.fingerprints)
        return FittedTable([each for each in columns if each.name not in layout.left_out])

    def _columns(self, *, bars: bool, fingerprints: bool) -> list[Column]:
        rows = self._rows
        models = [model for _, model, _ in rows]
        keys = [status_text.keys_text(p, fingerprints=fingerprints) for p, _, _ in rows]
        return [
            Column("PROJECT", [cell(project.project) for project, _, _ in rows]),
            Column("MODEL", [cell(model.model if model else "-") for model in models]),
            Column("STATE", [Text(state, style=COLORS[state]) for _, _, state in rows]),
            Column("LEFT", [cell(in_words(status_text.left_s(row))) for row in rows]),
            Column("RPM", [use_cell(m.rpm if m else None, bars=bars) for m in models]),
            Column("TPM", [use_cell(m.tpm if m else None, bars=bars) for m in models]),
            Column("RPD", [use_cell(m.rpd if m else None, bars=bars) for m in models]),
            Column("LEASES", [cell(str(m.leases) if m else "") for m in models]),
            Column("REASON", [cell(status_text.reason_text(p, m)) for p, m, _ in rows]),
            Column("KEYS", [cell(each) for each in keys]),
        ]

    def _reasons(self, width: int) -> Iterator[Text]:
        """What the missing column would have said, each reason once, with whom it stops."""
        stopped: dict[tuple[str, str], list[str]] = {}
        for project, model, state in self._rows:
            reason = status_text.reason_text(project, model)
            if reason and state != "ready":
                until = (model or project).until if state == "cooling" else None
                end = f", until {status_text.clock(until, self._at)}" if until else ""
                on = f" / {model.model}" if model else ""
                stopped.setdefault((on, reason + end), []).append(project.project)
        for (on, told), names in stopped.items():
            yield from reason_lines(f"  {some(names)}{on}: ", told, width)


def reason_lines(start: str, told: str, width: int) -> Iterator[Text]:
    """A reason on one line, if need be without upstream's own words; a long one folded."""
    whole = cell(start + told)
    if whole.cell_len > width:
        whole = cell(start + status_text.short_reason(told))
    yield from [whole] if whole.cell_len <= width else folded(whole.plain, width)


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
