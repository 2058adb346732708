"""How long a client waits that was refused."""

import pytest

from keypool_cli.engine.types import ASK_AGAIN, Refused


@pytest.mark.parametrize(
    ("retry_at_ms", "expected"),
    [
        pytest.param(5_000, 4_000, id="until the instant"),
        pytest.param(1_000, 1, id="not nothing, for there was no room"),
        pytest.param(0, 1, id="an instant gone by"),
        pytest.param(ASK_AGAIN, 1_000, id="a second where the instant is not known yet"),
    ],
)
def test_a_wait_is_never_nothing(retry_at_ms, expected):
    assert Refused(retry_at_ms, "rpm", 1).wait_ms(1_000) == expected
