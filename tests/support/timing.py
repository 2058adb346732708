"""How long something takes, on a machine that others keep busy too."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

TRIES = 3

T = TypeVar("T")


def quickly(
    work: Callable[..., T], *, within_s: float, before: Callable[[], Sequence[Any]] = tuple
) -> T:
    """What ``work`` answers; fails where it takes longer each of three times.

    A slow run may be the machine's fault; where the rule is broken, every run is slow.
    before: what is made first, each time, for ``work`` to be called with; that is not timed.
    """
    took_s = []
    for _ in range(TRIES):
        given = before()
        begun = time.monotonic()
        found = work(*given)
        took_s.append(time.monotonic() - begun)
        if took_s[-1] < within_s:
            return found
    raise AssertionError(f"not within {within_s:g} s, but: {', '.join(f'{s:.2f}' for s in took_s)}")
