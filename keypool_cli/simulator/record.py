"""What the simulator saw, and the most it ever let through in one window."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from keypool_cli.simulator.limiter import SlidingLog


@dataclass(slots=True)
class Tally:
    """Calls of one project, or of one model in it.

    tokens: input tokens of what was accepted. dropped: accepted, then the connection was broken
    by a fault. window: its highest values are the most that was counted in any window.
    """

    window: SlidingLog
    accepted: int = 0
    tokens: int = 0
    dropped: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def accept(self, tokens: int) -> None:
        """One call was let through."""
        self.accepted += 1
        self.tokens += tokens

    def as_json(self) -> dict[str, Any]:
        """The record's form of it."""
        return {
            "accepted": self.accepted,
            "refused": dict(self.refused),
            "dropped": self.dropped,
            "tokens": self.tokens,
            "highest_requests": self.window.highest_requests,
            "highest_tokens": self.window.highest_tokens,
        }


@dataclass(slots=True)
class KeyTally:
    """Calls made with one key."""

    accepted: int = 0
    refused: int = 0
    counted: int = 0

    def as_json(self) -> dict[str, int]:
        """The record's form of it."""
        return {"accepted": self.accepted, "refused": self.refused, "counted": self.counted}
