"""A table that fits the terminal: what is widest is shortened, and nothing wraps."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

GAP = 2
"""Cells between two columns."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name and a cell for each row."""

    name: str
    cells: Sequence[Text]

    @property
    def width(self) -> int:
        """Terminal cells it needs; a character may need none, one or two."""
        return max([cell_len(self.name), *(each.cell_len for each in self.cells)])


@dataclass(frozen=True, slots=True)
class FittedTable:
    """Columns side by side, drawn into the width there is at that moment."""

    columns: Sequence[Column]

    @property
    def width(self) -> int:
        """Terminal cells it needs if nothing is shortened."""
        return sum(each.width for each in self.columns) + GAP * (len(self.columns) - 1)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        gaps = GAP * (len(self.columns) - 1)
        widths = shortened([each.width for each in self.columns], options.max_width - gaps)
        named = any(each.name for each in self.columns)
        table = Table(
            box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold", show_header=named
        )
        for column, width in zip(self.columns, widths, strict=True):
            table.add_column(column.name, no_wrap=True, overflow="ellipsis", width=width)
        for cells in zip(*(each.cells for each in self.columns), strict=True):
            table.add_row(*cells)
        yield table


def shortened(widths: Sequence[int], room: int) -> list[int]:
    """Widths that fit into ``room`` together: the widest columns give way first."""
    if sum(widths) <= room:
        return list(widths)
    level = 1
    while sum(min(each, level + 1) for each in widths) <= room:
        level += 1
    return [min(each, level) for each in widths]
