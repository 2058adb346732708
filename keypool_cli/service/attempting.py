"""What to do about the outcome of one upstream attempt. Pure: the proxy asks, this answers."""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from keypool_cli.core.refusal import Action
from keypool_cli.core.refusal_rules import LIMIT_ZERO
from keypool_cli.service.verdicts import Told

MOST_PROJECTS = 5
"""Projects that one call is sent to at most; a second key of a project counts as another one."""

MOST_RETRIES = 2
"""Further attempts after answers that are nobody's fault here, such as a 503."""

_FIRST_PAUSE_S = 0.5

SET_ASIDE = frozenset({Action.COOL, Action.EXCLUDE_MODEL, Action.DISABLE})
"""Actions of a refusal that is a project's or a key's: another project may still say yes."""


class Step(StrEnum):
    """What comes after an attempt."""

    ANSWER = "answer"  # the client gets upstream's answer
    MOVE = "move"  # the call goes to another project
    AGAIN = "again"  # the call is sent again after a pause, to whichever project has room
    FAIL = "fail"  # the client gets an error of ours: upstream's would mislead it


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call has come. refused: how often it was. left_s: until its deadline."""

    refused: int
    retries: int
    left_s: float


class Trail(msgspec.Struct):
    """What became of a call so far.

    refused: projects not to try again. by_key: those of them that were refused for the key alone,
    so that another of their keys may do. moves: how many refusals there were.
    """

    refused: frozenset[int] = frozenset()
    by_key: frozenset[int] = frozenset()
    moves: int = 0
    retries: int = 0

    def set_aside(self, project_id: int, *, by_key: bool) -> None:
        """Try other projects first."""
        self.refused |= {project_id}
        if by_key:
            self.by_key |= {project_id}

    def turns_to_keys(self) -> bool:
        """Let projects be tried again whose other keys may do; False where there is none."""
        again, self.by_key = self.by_key, frozenset()
        self.refused -= again
        return bool(again)


def misleads(told: Told) -> bool:
    """Whether upstream's own words would mislead a client.

    Of a key, which is not the client's; and of a limit of 0, for they say when to come back.
    """
    return told.action == Action.DISABLE or told.rule == LIMIT_ZERO.rule


def next_step(told: Told | None, progress: Progress, *, pause_s: float) -> Step:
    """Tell what to do after an attempt with this verdict; told None is a success.

    progress counts the attempt itself already. pause_s: what AGAIN would wait.
    """
    if told is None or told.action == Action.RETURN:
        return Step.ANSWER
    if told.action in SET_ASIDE:
        if progress.refused < MOST_PROJECTS and progress.left_s > 0:
            return Step.MOVE
        return Step.FAIL if misleads(told) else Step.ANSWER
    if progress.retries < MOST_RETRIES and progress.left_s > pause_s:
        return Step.AGAIN
    return Step.ANSWER


def pause_s(retries: int, *, jitter: float) -> float:
    """How long to wait before a retry, in seconds: half of it is chance. jitter: in [0, 1)."""
    return float(_FIRST_PAUSE_S * 2**retries * (0.5 + jitter / 2))
