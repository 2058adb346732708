"""What a terminal shows, from what was written to it; nothing may wrap or be left behind."""

import pyte
from pyte.modes import DECTCEM

_OTHER_SCREEN = 1049 << 5


class _Watched(pyte.Screen):
    """A screen that counts what was written past its right edge."""

    wrapped = 0

    def draw(self, data: str) -> None:
        for character in data:
            was = self.cursor.y, self.cursor.x
            super().draw(character)
            self.wrapped += was[1] >= self.columns and self.cursor.y != was[0]


class Screen:
    """A terminal of so many columns and lines."""

    def __init__(self, columns: int, lines: int) -> None:
        self._screen = _Watched(columns, lines)
        self._stream = pyte.Stream(self._screen)

    def feed(self, text: str) -> "Screen":
        self._stream.feed(text)
        return self

    @property
    def lines(self) -> list[str]:
        """What stands on each line."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def wrapped(self) -> int:
        """Characters that had to go to the next line."""
        return self._screen.wrapped

    @property
    def is_clean(self) -> bool:
        """Whether the person's own screen and cursor are back."""
        return DECTCEM in self._screen.mode and _OTHER_SCREEN not in self._screen.mode
