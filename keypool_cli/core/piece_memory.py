"""Costs of pieces of text, remembered: what traffic says, it says again."""

from collections.abc import Mapping
from typing import Final, Protocol

MOST_PIECES: Final = 20_000
"""Pieces remembered beside the known ones; then all of them are forgotten."""

LONGEST_PIECE: Final = 40
"""Bytes of a piece that is remembered."""

_FEW: Final = 16
"""New pieces of a text that are remembered, whatever share of it they are."""


class Pricing(Protocol):
    """What pieces cost."""

    def each(self, pieces: list[bytes]) -> list[int]:
        """What each costs."""
        ...

    def total(self, pieces: list[bytes]) -> int:
        """What they cost together; quicker than each."""
        ...


class PieceMemory:
    """What pieces cost together; quick where they came before. Several threads may ask.

    noise: the share of new pieces above which a text is noise, such as base64: it is priced at
    once, and not remembered.
    """

    def __init__(self, pricing: Pricing, known: Mapping[bytes, int], *, noise: float = 1.0) -> None:
        self._pricing = pricing
        self._costs = dict(known)
        self._known = len(known)
        self._noise = noise

    def __call__(self, pieces: list[bytes]) -> int:
        """The pieces' cost; the same whatever is remembered."""
        costs = list(map(self._costs.get, pieces))
        if None not in costs:
            return sum(costs)  # type: ignore[arg-type]  # none of them is None
        new = [piece for piece, cost in zip(pieces, costs) if cost is None]  # noqa: B905 - as many
        total = sum(filter(None, costs))
        if len(new) > _FEW + self._noise * len(pieces):
            return total + self._pricing.total(new)
        fresh = self._pricing.each(new)
        self._remember(new, fresh)
        return total + sum(fresh)

    def _remember(self, pieces: list[bytes], costs: list[int]) -> None:
        if len(self._costs) >= self._known + MOST_PIECES:
            self._forget()
        for piece, cost in zip(pieces, costs):  # noqa: B905 - as many
            if len(piece) <= LONGEST_PIECE:
                self._costs[piece] = cost

    def _forget(self) -> None:
        # The known ones stand first. Another thread may be forgetting the same.
        for piece in list(self._costs)[self._known :]:
            self._costs.pop(piece, None)
