"""Scripted faults, revocations, projects and the record, through the simulator's own API."""

import json
import time
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from keypool_cli.simulator import admin
from keypool_cli.simulator.state import State
from keypool_cli.simulator.world import default_world
from tests.support.running import eventually

pytestmark = pytest.mark.e2e

FLASH = "gemini-2.5-flash"


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [
        ("rpm", 429, "PerMinutePerProjectPerModel-FreeTier"),
        ("tpm", 429, "InputTokensPerModelPerMinute-FreeTier"),
        ("rpd", 429, "PerDayPerProjectPerModel-FreeTier"),
        ("limit0", 429, "limit: 0, model: gemini-2.5-flash"),
        ("key_invalid", 400, "API_KEY_INVALID"),
        ("key_expired", 400, "API key expired. Please renew the API key."),
        ("leaked", 403, "Your API key was reported as leaked. Please use another API key."),
        ("suspended", 403, "Consumer 'api_key:open-1' has been suspended."),
        ("service_disabled", 403, "SERVICE_DISABLED"),
        ("overloaded", 503, "The model is overloaded. Please try again later."),
        ("internal", 500, "INTERNAL"),
        ("opaque", 429, "Resource has been exhausted (e.g. check quota)."),
        ("help_only", 429, "google.rpc.Help"),
        ("capacity", 429, "Resource exhausted. Please try again later."),
        ("spend_rate", 429, "You exceeded your spend-based rate limit."),
        ("account_cap", 429, "Your billing account has exceeded its monthly spending cap"),
        ("project_cap", 429, "project has exceeded its monthly spending cap"),
        ("credit", 402, "Your prepayment credits are depleted."),
    ],
)
def test_a_scripted_refusal_comes_once_and_is_recorded(call, sim, kind, status, text):
    sim.fault(kind, key="open-1")
    assert call("open-2").status_code == 200
    answer = call("open-1")
    assert answer.status_code == status
    assert text in answer.text
    assert call("open-1").status_code == 200
    assert sum(sim.project("open")["refused"].values()) == 1


@pytest.mark.parametrize(
    ("body", "text"),
    [("<html>no</html>", "<html>no</html>"), ({"error": "no"}, '{"error":"no"}')],
    ids=["text", "JSON"],
)
def test_a_raw_answer_is_sent_as_given(call, sim, body, text):
    sim.fault("raw", status=502, body=body)
    answer = call("open-1")
    assert (answer.status_code, answer.text) == (502, text)


@pytest.mark.parametrize(
    ("fault", "counted"),
    [
        ({"kind": "internal"}, 1),
        ({"kind": "raw", "status": 400}, 1),
        ({"kind": "overloaded"}, 0),
        ({"kind": "opaque"}, 0),
        ({"kind": "key_invalid"}, 0),
    ],
    ids=["500", "400", "503", "429", "an invalid key"],
)
def test_only_failed_400_and_500_calls_count_against_the_quota(call, sim, fault, counted):
    sim.fault(**fault)
    call("tight-1")
    assert sim.project("tight")["highest_requests"] == counted


def test_faults_can_hit_counting_and_models(call, http, sim):
    sim.fault("overloaded", on="count")
    sim.fault("leaked", on="models")
    assert call("open-1", method="countTokens").status_code == 503
    assert http.get("/v1beta/models?key=open-1").status_code == 403
    assert http.get("/v1beta/models?key=open-1").status_code == 200


def test_a_slow_answer_waits_before_its_first_byte_and_between_chunks(http, sim):
    path = f"/v1beta/models/{FLASH}:streamGenerateContent?alt=sse&key=open-1"
    body = {"contents": [{"parts": [{"text": "x"}]}]}
    sim.fault("slow", first_byte_s=0.2, chunk_s=0.1)
    began = time.monotonic()
    with http.stream("POST", path, json=body) as answer:
        head_s = time.monotonic() - began
        sent = answer.read()
        whole_s = time.monotonic() - began
    assert sent.count(b"data: ") == 3
    assert head_s >= 0.2
    assert whole_s >= 0.4
    sim.fault("slow", chunk_s=600)
    with http.stream("POST", path, json=body) as answer:
        assert next(answer.iter_raw()).count(b"data: ") == 1


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent"])
def test_a_connection_can_break_before_the_answer(call, sim, method):
    sim.fault("drop")
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending a response"):
        call("open-1", method=method)
    assert call("open-1", method=method).status_code == 200
    assert sim.project("open")["dropped"] == 1


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent"])
def test_a_connection_can_break_in_the_middle_of_the_answer(http, sim, method):
    sim.fault("drop", after_chunks=1)
    path = f"/v1beta/models/{FLASH}:{method}?key=open-1"
    received = []
    with http.stream("POST", path, json={"contents": [{"parts": [{"text": "x"}]}]}) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx2.RemoteProtocolError):
            received.extend(answer.iter_raw())
    assert b'"text"' in b"".join(received)
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(b"".join(received))


def test_overload_lasts_as_long_as_scripted(call, sim):
    sim.fault("overloaded", for_s=600)
    assert [call("open-1").status_code for _ in range(3)] == [503] * 3
    sim.clear_faults()
    began = time.monotonic()
    sim.fault("overloaded", for_s=0.5)
    eventually(lambda: call("open-1").status_code == 200)
    assert time.monotonic() - began >= 0.4


def test_a_revoked_key_is_invalid_for_every_call_until_it_is_restored(call, sim):
    sim.revoke("open-1")
    for method in ("generateContent", "countTokens"):
        assert "API_KEY_INVALID" in call("open-1", method=method).text
    assert call("open-2").status_code == 200
    assert sim.project("open")["keys"]["open-1"]["refused"] == 2
    sim.restore("open-1")
    assert call("open-1").status_code == 200


def test_projects_can_be_added_and_changed(call, sim):
    sim.add_project("late", ["late-1"], models={FLASH: {"rpm": 1}})
    assert [call("late-1").status_code for _ in range(2)] == [200, 429]
    sim.add_project("late", ["late-2"], models={FLASH: {"rpm": 2}})
    assert [call(key).status_code for key in ("late-1", "late-2")] == [200, 429]


def test_a_reset_forgets_everything_but_projects(call, sim):
    call("short-day-1")
    sim.revoke("open-1")
    sim.fault("overloaded")
    assert call("short-day-1").status_code == 503
    sim.reset()
    assert call("short-day-1").status_code == 200
    assert call("open-1").status_code == 200
    assert sim.project("short-day")["refused"] == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/faults", '{"kind": "nonsense"}', 400),
        ("POST", "/faults", '{"kind": "rpm", "typo": 1}', 400),
        ("POST", "/projects", "{", 400),
        ("POST", "/projects", '{"name": "p", "models": {"m": {"rmp": 1}}}', 400),
        ("POST", "/projects", '{"name": "p", "models": {"m": {"rpm": -1}}}', 400),
        ("PUT", "/record", "", 404),
        ("GET", "/nothing", "", 404),
    ],
    ids=["kind", "field", "JSON", "limit's name", "limit's value", "method", "path"],
)
def test_a_wrong_admin_call_is_a_problem(http, method, path, body, status):
    answer = http.request(method, "/simulator/v1" + path, content=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


class Answered:
    """Keeps the status it was answered with."""

    async def __call__(self):
        return b""

    def response_bytes(self, status, _headers, _body):
        self.status = status


@pytest.mark.parametrize(
    ("client", "status"),
    [("127.0.0.1:5", 200), ("[::1]:5", 200), ("192.0.2.7:5", 403), ("[2001:db8::1]:5", 403)],
)
async def test_only_callers_on_this_machine_are_served(client, status):
    scope = SimpleNamespace(
        client=client, method="GET", path="/simulator/v1/record", headers={"content-length": "0"}
    )
    exchange: Any = Answered()  # of an exchange, it has what this call uses
    await admin.handle(State(default_world(), lambda: 0), scope, exchange)
    assert exchange.status == status


def test_faults_and_projects_are_listed(http, sim):
    sim.fault("rpm", times=3)
    [script] = http.get("/simulator/v1/faults").json()
    assert script["left"] == 3
    assert script["fault"] == {"kind": "rpm", "times": 3}
    sim.clear_faults()
    assert http.get("/simulator/v1/faults").json() == []
    tight = http.get("/simulator/v1/projects").json()["tight"]
    assert tight["keys"] == ["tight-1", "tight-2"]
    assert tight["models"][FLASH]["rpm"] == 2
