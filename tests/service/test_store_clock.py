"""Steps of the store's clock are told from answers that were long on their way."""

import pytest

from keypool_cli.service import store_clock
from keypool_cli.service.store_clock import Step, StoreClock

START = 1_000_000


class Ours:
    """Our steady clock, and the store's, some way ahead."""

    def __init__(self):
        self.at = 0.0
        self.ahead = START
        self.clock = StoreClock()

    def answer(self, *, there_ms=0.2, back_ms=0.2):
        """Ask, and hear the answer."""
        asked = self.at
        self.at += there_ms
        said = int(self.at + self.ahead)
        self.at += back_ms
        return self.clock.heard(said, asked_at_ms=asked)


@pytest.fixture
def ours(monkeypatch):
    found = Ours()
    monkeypatch.setattr(store_clock, "steady_ms", lambda: found.at)
    return found


def test_without_an_answer_nothing_is_known(ours):
    assert not ours.clock.known
    assert ours.answer() is None
    assert ours.clock.known


@pytest.mark.parametrize("there_ms", [0.2, 3000])
@pytest.mark.parametrize("back_ms", [0.2, 9000])
def test_answers_that_take_long_are_no_steps(ours, there_ms, back_ms):
    for late in (False, True, False, True, True, False):
        times = {"there_ms": there_ms, "back_ms": back_ms} if late else {}
        assert ours.answer(**times) is None
        assert abs(ours.clock.now_ms() - (ours.at + ours.ahead)) < 50


@pytest.mark.parametrize("back_ms", [0.2, 9000])
def test_a_first_answer_that_took_long_does_not_make_the_next_a_step(ours, back_ms):
    assert ours.answer(back_ms=back_ms) is None
    assert ours.answer() is None
    assert abs(ours.clock.now_ms() - (ours.at + ours.ahead)) < 50


@pytest.mark.parametrize(
    ("by_ms", "step"),
    [
        pytest.param(1500, Step.FORWARD, id="forward by more than the guard covers"),
        pytest.param(900, None, id="forward a little"),
        pytest.param(-900, None, id="back a little"),
        pytest.param(-3000, None, id="back by no more than the engine waits out"),
        pytest.param(-6000, Step.BACK, id="far back"),
    ],
)
def test_a_step_is_told_once(ours, by_ms, step):
    ours.answer()
    ours.at += 1000
    ours.ahead += by_ms
    assert ours.answer() is step
    assert ours.answer() is None
    if abs(by_ms) > 1000:
        assert abs(ours.clock.now_ms() - (ours.at + ours.ahead)) < 50


def test_a_step_after_a_step_is_told_too(ours):
    ours.answer()
    for by_ms, step in ((-60_000, Step.BACK), (60_000, Step.FORWARD), (60_000, Step.FORWARD)):
        ours.ahead += by_ms
        assert ours.answer() is step


def test_a_clock_that_is_slewed_makes_no_step(ours):
    for _ in range(5000):
        ours.at += 1000
        ours.ahead += 0.5
        assert ours.answer() is None
