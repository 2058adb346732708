"""A table that fits the terminal: what is widest is shortened, and nothing wraps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap
from unicodedata import bidirectional

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"
"""Around text whose direction its own first letter tells; they take no cells."""

GAP = 2
"""Cells between two columns."""

LEAST = 4
"""Cells a column is shortened to before those that should stay whole are."""

NAMES = frozenset({"PROJECT", "MODEL", "KEY"})
"""Columns of names, which are cut in the middle: many begin alike."""

NAMES_SHOWN = 3

MOST_NARROW = 24
"""Cells below which text is cut rather than folded."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name and a cell for each row. least: cells that it takes in any case.

    whole: a part of it says nothing, so that the others are shortened in its stead.
    """

    name: str
    cells: Sequence[Text]
    least: int = 0
    whole: bool = False

    @property
    def width(self) -> int:
        """Terminal cells it needs; a character may need none, one or two."""
        return max([self.least, cell_len(self.name), *(each.cell_len for each in self.cells)])


@dataclass(frozen=True, slots=True)
class FittedTable:
    """Columns side by side, drawn into the width there is at that moment.

    marked: the row that is pointed at, if any.
    """

    columns: Sequence[Column]
    marked: int | None = None

    @property
    def width(self) -> int:
        """Terminal cells it needs if nothing is shortened."""
        return sum(each.width for each in self.columns) + GAP * (len(self.columns) - 1)

    def without_empty(self) -> "FittedTable":
        """The same, without columns that say nothing."""
        told = [each for each in self.columns if any(cell.plain for cell in each.cells)]
        return replace(self, columns=told)

    def _widths(self, room: int) -> list[int]:
        kept = sum(each.width for each in self.columns if each.whole)
        others = [each.width for each in self.columns if not each.whole]
        if kept + LEAST * len(others) > room:
            return shortened([each.width for each in self.columns], room)
        fitted = iter(shortened(others, room - kept))
        return [each.width if each.whole else next(fitted) for each in self.columns]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it: a line of text for each row, which takes a tenth of the time of rich's table."""
        gaps = GAP * (len(self.columns) - 1)
        widths = self._widths(options.max_width - gaps)
        if any(each.name for each in self.columns):
            yield _line([Text(each.name, style="bold") for each in self.columns], widths)
        ends = [each.name in NAMES for each in self.columns]
        rows = zip(*(each.cells for each in self.columns), strict=True)
        for index, cells in enumerate(rows):
            line = _line(list(map(_cut, cells, widths, ends)), widths)
            if index == self.marked:
                line.stylize("reverse")
            yield line


def _line(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    line = Text(no_wrap=True, overflow="crop")
    for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        fitted = cell.copy()
        fitted.truncate(width, overflow="ellipsis")
        line.append_text(isolated(fitted))
        if index < len(cells) - 1:
            line.append(" " * (width - fitted.cell_len + GAP))
    return line


def _cut(cell: Text, width: int, ends: bool) -> Text:
    """A cell that fits, if its end tells it from others; else it is cut where it is drawn."""
    over = cell.cell_len - width
    if over <= 0 or not ends or width < LEAST:
        return cell
    begin = cell[: len(cell)]
    begin.truncate((width - 1) // 2, overflow="crop")
    left = width - 1 - begin.cell_len
    at = next(i for i in range(len(cell)) if cell_len(cell.plain[i:]) <= left)
    return begin.append("…").append_text(cell[at:])


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f", +{more}" if more > 0 else "")


def folded(text: str, width: int) -> Iterator[Text]:
    """Text as lines that fit; those after the first are indented."""
    room = max(width, MOST_NARROW)
    lines = wrap(text, room, subsequent_indent="    ", break_on_hyphens=False)
    yield from (Text(each, no_wrap=True, overflow="ellipsis") for each in lines)


def isolated(cell: Text) -> Text:
    """A cell kept from turning its neighbours round, where it reads from right to left."""
    if cell.plain.isascii() or not any(bidirectional(c) in _RIGHT_TO_LEFT for c in cell.plain):
        return cell
    return Text(_ISOLATE).append_text(cell).append(_END_ISOLATE)


def shortened(widths: Sequence[int], room: int) -> list[int]:
    """Widths that fit into ``room`` together: the widest columns give way first."""
    if sum(widths) <= room:
        return list(widths)
    level = 1
    while sum(min(each, level + 1) for each in widths) <= room:
        level += 1
    return [min(each, level) for each in widths]
