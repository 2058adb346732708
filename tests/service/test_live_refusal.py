"""What closes of the Live API mean."""

import pytest

from keypool_cli.core.refusal import classify
from keypool_cli.service.live_refusal import refusal_of_close
from keypool_cli.upstream.websocket import Closed


def ruling(code, reason=""):
    """How the classifier reads a close: fault, scope, action and rule."""
    refusal = refusal_of_close(Closed(code, reason))
    if refusal is None:
        return None
    verdict = classify(
        refusal.status, refusal.body, now_at_ms=0, day_end_at_ms=86_400_000, jitter=0.5
    )
    assert verdict is not None
    return f"{verdict.fault}/{verdict.scope}/{verdict.action} {verdict.rule}"


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        pytest.param(1000, "", None, id="a good end"),
        pytest.param(1001, "", None, id="going away"),
        pytest.param(1005, "", None, id="a close without a code"),
        pytest.param(None, "", "network/none/retry no-answer", id="a connection that broke"),
        pytest.param(
            1011,
            "You exceeded your current quota, please check your plan and billing details. For more",
            "project/project_model/cool opaque",
            id="spent quota, cut short",
        ),
        pytest.param(
            1011,
            "Your prepayment credits are depleted. Please go to AI Studio at https://ai.studio",
            "billing/billing/cool no-credit",
            id="spent credit",
        ),
        pytest.param(
            1007,
            "API key expired. Please renew the API key.",
            "key/key/disable key-expired",
            id="an expired key",
        ),
        pytest.param(
            1011,
            "API key not valid. Please pass a valid API key.",
            "key/key/disable key-invalid",
            id="a bad key, told as an error inside",
        ),
        pytest.param(
            1008,
            "Your API key was reported as leaked. Please use another API key.",
            "key/key/disable key-leaked",
            id="a leaked key",
        ),
        pytest.param(
            1008,
            "models/gemini-x is not found for API version v1beta, or is not supported for bidi",
            "request/none/return unknown-model",
            id="an unknown model",
        ),
        pytest.param(
            1008,
            "Operation is not implemented, or supported, or enabled.",
            "request/none/return request-refused",
            id="what is not offered",
        ),
        pytest.param(
            1007,
            "Request contains an invalid argument.",
            "request/none/return request-refused",
            id="a request that is wrong",
        ),
        pytest.param(
            1011, "Internal error occurred.", "model/model/retry model-failed", id="an error inside"
        ),
        pytest.param(
            1011,
            "The service is currently unavailable.",
            "model/model/retry model-overloaded",
            id="an overloaded model",
        ),
    ],
)
def test_a_close_is_read_like_the_answer_it_stands_for(code, reason, expected):
    assert ruling(code, reason) == expected
