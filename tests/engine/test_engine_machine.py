"""The engine against the oracle: every operation, in every order Hypothesis thinks of."""

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.engine_machine import EngineMachine

STEPS = settings(deadline=None, max_examples=250, stateful_step_count=40)


def test_the_engine_agrees_with_an_exact_log_at_every_step(live):
    class Machine(EngineMachine):
        pass

    Machine.live = live
    run_state_machine_as_test(Machine, settings=STEPS)
