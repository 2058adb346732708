"""``top`` as a picture: the answer, what goes on, and as many rows as the terminal has lines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.text import Text

from keypool_cli.cli import status_text
from keypool_cli.cli.durations import in_words
from keypool_cli.cli.output import clean, counted
from keypool_cli.cli.status_text import Row
from keypool_cli.cli.status_view import COLORS, cell, headline_cell, use_cell
from keypool_cli.cli.tables import Column, FittedTable, folded
from keypool_cli.cli.top_history import History
from keypool_cli.cli.top_state import State, place, row_id
from keypool_cli.service.standing import ProjectStatus, told_unread
from keypool_cli.service.top import Top

MOST_POOLS = 3
"""Headlines shown; the other pools are counted."""

KEYS_HELP = "q quit  s sort  / filter  p pause  ↑↓ choose  enter open  esc back"

_SAID = {"none": "no project left"}
"""What a demand lacked that every project of its pool had refused already."""

_SPARKS = ("RPM 60 s", "TPM 60 s")


@dataclass(frozen=True, slots=True)
class _Layout:
    """bars: whether they are drawn. sparks: cells of a sparkline. left_out: columns."""

    bars: bool
    sparks: int
    left_out: frozenset[str] = frozenset()


_LAYOUTS = (
    _Layout(bars=True, sparks=20),
    _Layout(bars=True, sparks=20, left_out=frozenset({"KEYS"})),
    _Layout(bars=True, sparks=20, left_out=frozenset({"KEYS", "RPM 60 s"})),
    _Layout(bars=False, sparks=20, left_out=frozenset({"KEYS", "RPM 60 s"})),
    _Layout(bars=False, sparks=10, left_out=frozenset({"KEYS", "RPM 60 s", "LEASES"})),
    _Layout(bars=False, sparks=10, left_out=frozenset({"KEYS", "RPM 60 s", "LEASES", "RPD"})),
    _Layout(bars=False, sparks=0, left_out=frozenset({"KEYS", *_SPARKS, "LEASES", "RPD"})),
)
"""From wide to narrow."""


def summary(top: Top) -> Iterator[Text]:
    """The lines above the rows: pools, what goes on, who reports."""
    for pool in top.status.pools[:MOST_POOLS]:
        answer = headline_cell(pool, status_text.short_headline(pool))
        answer.no_wrap, answer.overflow = True, "ellipsis"
        yield answer
    more = len(top.status.pools) - MOST_POOLS
    if more > 0:
        yield cell(f"+{more} more pools: choose with --pool")
    yield cell(_activity(top))
    yield cell(f"last minute: refused {_counts(top.refused)}; upstream {_counts(top.errors)}")
    yield _reporting(top)
    if top.status.unread:
        yield _alarm(told_unread(top.status))


def _alarm(text: str) -> Text:
    line = cell(text)
    line.stylize("bold red")
    return line


def _activity(top: Top) -> str:
    waiting = sum(top.queue.values())
    where = f" ({_counts(top.queue)})" if waiting else ""
    return f"leases: {top.leases} open, {top.leases_per_s:.1f}/s  waiting: {waiting}{where}"


def _counts(counts: Mapping[str, int]) -> str:
    told = (f"{_SAID.get(name, name)} {count}" for name, count in counts.items())
    return ", ".join(told) or "none"


def _reporting(top: Top) -> Text:
    alive = [each for each in top.instances if each.reporting]
    silent = [each for each in top.instances if not each.reporting]
    if top.unreported:
        return _alarm(f"daemons: cannot be read: {top.unreported}")
    if not top.instances:
        return cell("daemons: none reports; to start one: keypool serve")
    oldest = max((each.age_s for each in alive), default=0.0)
    line = cell(f"daemons: {len(alive)} reporting, data at most {oldest:.1f} s old")
    for each in silent:
        told = f"; {each.host}/{each.pid} silent for {each.age_s:.0f} s"
        line.append_text(Text(told, style="bold red"))
    return line


def printed(top: Top, rows: Sequence[Row], *, more: int) -> Group:
    """One look, to be printed and left."""
    parts: list[object] = list(summary(top))
    if rows:
        parts.append(_Rows(rows))
    if more > 0:
        parts.append(cell(f"{more} more rows: see --limit"))
    return Group(*parts)  # type: ignore[arg-type]  # rich names no type for "renderable by protocol"


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows without a past."""

    rows: Sequence[Row]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw them."""
        yield table_of(self.rows, None, options)


class Picture:
    """The whole screen, laid out anew for the size the terminal has each time it is drawn."""

    def __init__(self, top: Top, rows: Sequence[Row], state: State, history: History) -> None:
        self._top = top
        self._rows = rows
        self._state = state
        self._history = history

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        lines = [*summary(self._top), self._about()]
        yield from lines
        room = max(options.size.height - len(lines) - 1, 0)
        if self._state.opened is not None:
            yield from self._one_project(self._state.opened, room, options)
        else:
            yield from self._table(room - 1, options)
        yield Text(KEYS_HELP, style="dim", no_wrap=True, overflow="ellipsis", end="")

    def _about(self) -> Text:
        state = self._state
        words = [f"sorted by {state.sort}", counted(len(self._rows), "row")]
        if state.typing or state.wanted:
            words.append(f"filter: {state.wanted}{'_' if state.typing else ''}")
        line = cell("  ".join(words))
        line.stylize("dim")
        if state.paused:
            line.append("  paused", style="bold yellow")
        return line

    def _table(self, room: int, options: ConsoleOptions) -> Iterator[Text | FittedTable]:
        at = place(self._rows, self._state.chosen)
        start = at // room * room if room > 0 else 0
        rows = self._rows[start : start + max(room, 0)]
        marked = at - start if self._state.chosen is not None else None
        if rows:
            yield table_of(rows, self._history, options, marked=marked)
        for _ in range(room - len(rows) + (0 if rows else 1)):
            yield Text("")

    def _one_project(
        self, name: str, room: int, options: ConsoleOptions
    ) -> Iterator[Text | FittedTable]:
        project = next((each for each in self._top.projects if each.project == name), None)
        if project is None:
            lines = [cell(f"project {name} is gone")]
        else:
            lines = list(_details(project, options.max_width))
        rows = [row for row in status_text.rows_of([project] if project else []) if row[1]]
        rows = rows[: max(room - 3, 0)]
        if rows:
            yield table_of(rows, self._history, options)
        left = max(room - len(rows) - (1 if rows else 0), 0)
        yield from lines[:left]
        yield from (Text("") for _ in range(left - len(lines)))


def page(top: Top, height: int) -> int:
    """Rows that fit a terminal of so many lines."""
    return max(height - len(list(summary(top))) - 3, 1)


def _details(project: ProjectStatus, width: int) -> Iterator[Text]:
    tier = f", tier {project.tier}" if project.tier else ""
    yield Text("")
    yield cell(f"{project.project}: {project.state}{tier}, {counted(len(project.keys), 'key')}")
    for _, model, _ in status_text.rows_of([project]):
        if reason := status_text.reason_text(project, model):
            yield from _indented(f"{model.model}: {reason}" if model else reason, width)
    for key in project.keys:
        why = f": {key.reason}" if key.reason else ""
        yield from _indented(f"key {key.name} {key.fingerprint} {key.state}{why}", width)


def _indented(text: str, width: int) -> Iterator[Text]:
    return folded(f"  {clean(text)}", width)


def table_of(
    rows: Sequence[Row],
    history: History | None,
    options: ConsoleOptions,
    *,
    marked: int | None = None,
) -> FittedTable:
    """The widest table of rows that fits. history: None leaves sparklines out."""
    tables = (_table(rows, history, layout, options.ascii_only) for layout in _LAYOUTS)
    fitting = next((each for each in tables if each.width <= options.max_width), None)
    found = fitting or _table(rows, history, _LAYOUTS[-1], options.ascii_only)
    return replace(found, marked=marked)


def _table(
    rows: Sequence[Row], history: History | None, layout: _Layout, plain: bool
) -> FittedTable:
    out = {*layout.left_out, *(_SPARKS if history is None or plain else ())}
    bars = layout.bars and not plain
    columns = _columns(rows, history or History(), bars=bars, cells=layout.sparks)
    return FittedTable([each for each in columns if each.name not in out])


def _columns(rows: Sequence[Row], history: History, *, bars: bool, cells: int) -> list[Column]:
    models = [model for _, model, _ in rows]
    return [
        Column("PROJECT", [cell(project.project) for project, _, _ in rows]),
        Column("MODEL", [cell(model.model if model else "-") for model in models]),
        Column("STATE", [Text(state, style=COLORS[state]) for _, _, state in rows], 8),
        Column("LEFT", [cell(in_words(status_text.left_s(row))) for row in rows], 6),
        Column("RPM", [use_cell(m.rpm if m else None, bars=bars) for m in models], 8),
        Column("RPM 60 s", _sparks(rows, history, "rpm", cells), cells),
        Column("TPM", [use_cell(m.tpm if m else None, bars=bars) for m in models], 11),
        Column("TPM 60 s", _sparks(rows, history, "tpm", cells), cells),
        Column("RPD", [use_cell(m.rpd if m else None, bars=bars) for m in models], 9),
        Column("LEASES", [cell(str(m.leases) if m else "") for m in models]),
        Column("KEYS", [cell(status_text.keys_text(p, fingerprints=False)) for p, _, _ in rows]),
    ]


def _sparks(rows: Sequence[Row], history: History, dimension: str, cells: int) -> list[Text]:
    found = []
    for row in rows:
        limit = getattr(row[1], dimension).limit if row[1] is not None else None
        line = history.line(row_id(row), dimension, limit, cells)
        found.append(Text(line, style="cyan"))
    return found
