"""What follows an attempt: the table, and the pauses."""

import pytest

from keypool_cli.core.model import Pool
from keypool_cli.service.attempting import (
    MOST_PROJECTS,
    MOST_RETRIES,
    Progress,
    Step,
    next_step,
    pause_s,
)
from keypool_cli.service.leasing import PoolExhaustedError
from keypool_cli.service.proxying import shut
from keypool_cli.service.verdicts import told_of
from tests.support import bodies, bodies_faults

FIRST = Progress(refused=1, retries=0, left_s=60.0)
LAST_PROJECT = Progress(refused=MOST_PROJECTS, retries=0, left_s=60.0)
RETRIED = Progress(refused=0, retries=MOST_RETRIES, left_s=60.0)
LATE = Progress(refused=1, retries=0, left_s=0.0)
SOON_LATE = Progress(refused=1, retries=0, left_s=0.4)


@pytest.mark.parametrize(
    ("status", "body", "progress", "expected"),
    [
        pytest.param(200, {}, FIRST, Step.ANSWER, id="a success is the answer"),
        pytest.param(429, bodies.FREE_DAY, FIRST, Step.MOVE, id="a spent day moves on"),
        pytest.param(200, bodies.FREE_DAY, FIRST, Step.MOVE, id="also inside a 200"),
        pytest.param(429, bodies.LIMIT_ZERO_FREE, FIRST, Step.MOVE, id="a model not offered"),
        pytest.param(400, bodies_faults.KEY_INVALID, FIRST, Step.MOVE, id="a dead key moves on"),
        pytest.param(429, bodies.FREE_DAY, LAST_PROJECT, Step.ANSWER, id="the last 429 is told"),
        pytest.param(400, bodies_faults.KEY_INVALID, LAST_PROJECT, Step.FAIL, id="a key is not"),
        pytest.param(
            429, bodies.LIMIT_ZERO_FREE, LAST_PROJECT, Step.FAIL, id="a limit of 0 has no time"
        ),
        pytest.param(429, bodies.FREE_DAY, LATE, Step.ANSWER, id="past the deadline it ends"),
        pytest.param(503, bodies_faults.OVERLOADED, FIRST, Step.AGAIN, id="overload is retried"),
        pytest.param(503, bodies_faults.OVERLOADED, RETRIED, Step.ANSWER, id="but not for ever"),
        pytest.param(503, bodies_faults.OVERLOADED, LATE, Step.ANSWER, id="nor past the deadline"),
        pytest.param(
            503,
            bodies_faults.OVERLOADED,
            SOON_LATE,
            Step.ANSWER,
            id="nor when the pause ends there",
        ),
        pytest.param(502, "<html>", FIRST, Step.AGAIN, id="a failing proxy on the way"),
        pytest.param(0, None, FIRST, Step.AGAIN, id="no answer at all"),
        pytest.param(
            400, bodies_faults.UNKNOWN_FIELD, FIRST, Step.ANSWER, id="the request's fault"
        ),
        pytest.param(403, bodies_faults.FOREIGN_FILE, FIRST, Step.ANSWER, id="another's file"),
    ],
)
def test_the_next_step(status, body, progress, expected):
    assert next_step(told_of(status, body), progress, pause_s=0.5) is expected


def test_a_retry_is_not_begun_that_would_end_after_the_deadline():
    progress = Progress(refused=0, retries=0, left_s=0.4)
    assert next_step(told_of(503, None), progress, pause_s=0.5) is Step.ANSWER


def test_pauses_double_and_are_half_chance():
    assert pause_s(0, jitter=0.0) == 0.25
    assert pause_s(1, jitter=0.0) == 0.5
    assert pause_s(1, jitter=1.0) == 1.0


@pytest.mark.parametrize(
    "err", [shut(Pool(1, "my pool")), PoolExhaustedError("my pool", "rpm", retry_after_s=1.0)]
)
def test_what_a_hint_says_can_be_typed_for_any_pool(err):
    assert err.hint.endswith("--pool 'my pool'")
