"""The main job: lease over HTTP, call Gemini with Google's own client, settle what it answered."""

from typing import Any

import pytest
from google import genai
from google.genai import errors

from tests.support.daemon import FLASH, a_home
from tests.support.simulator import simulator

pytestmark = pytest.mark.e2e

ENGLISH = "What is the capital of France?"
ARABIC = "ما هي عاصمة فرنسا؟"
SECRETS = {
    "k1": "AIzaSyINVENTED-one-0123456789abcdefghijk",
    "k2": "AIzaSyINVENTED-two-0123456789abcdefghijk",
}
LIMITS: dict[str, Any] = {"rpm": 20, "tpm": 100_000}


@pytest.fixture(scope="module")
def sim():
    world = {
        "projects": {
            "p1": {"keys": [SECRETS["k1"]], "models": {FLASH: {**LIMITS, "rpd": 3}}},
            "p2": {"keys": [SECRETS["k2"]], "models": {FLASH: LIMITS}},
        }
    }
    with simulator(world) as running:
        yield running


@pytest.fixture(scope="module")
def daemon(sim, tmp_path_factory):
    with a_home(tmp_path_factory.mktemp("main"), upstream=sim.url) as home:
        for number in ("1", "2"):
            home.add_project(f"p{number}", keys=[f"k{number}"], secrets=SECRETS, **LIMITS)
        with home.daemon() as running:
            yield running


@pytest.fixture
def generate(sim):
    """Calls Gemini with a leased key."""
    clients = []

    def _generate(lease, prompt):
        key = lease["key"]["secret"]
        clients.append(genai.Client(api_key=key, http_options={"base_url": sim.url}))
        return clients[-1].models.generate_content(model=lease["model"], contents=prompt)

    yield _generate
    for each in clients:
        each.close()


@pytest.mark.parametrize("prompt", [ENGLISH, ARABIC])
def test_what_a_call_really_used_is_seen_in_the_status_at_once(daemon, generate, prompt):
    before = daemon.model("p2")["tpm"]["used"] if daemon.project("p2")["models"] else 0
    request = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
    lease = daemon.granted(request=request, affinity="p2")
    assert daemon.model("p2")["tpm"]["used"] == before + lease["tokens_reserved"]
    usage = generate(lease, prompt).usage_metadata
    told = usage.model_dump(mode="json", by_alias=True, exclude_none=True)
    answer = daemon.settled(lease, status=200, usage=told)
    assert answer == {"verdict": None, "tokens_settled": usage.prompt_token_count}
    assert lease["tokens_reserved"] >= usage.prompt_token_count > 0
    open_lease = daemon.granted(affinity="p2", tokens=1000)
    assert daemon.model("p2")["tpm"]["used"] == before + usage.prompt_token_count + 1000
    daemon.release(open_lease)


def test_a_project_that_runs_dry_is_set_aside_and_the_other_serves(daemon, sim, generate):
    for _ in range(3):
        lease = daemon.granted(affinity="p1")
        usage = generate(lease, ENGLISH).usage_metadata
        daemon.settled(lease, status=200, usage={"promptTokenCount": usage.prompt_token_count})
    lease = daemon.granted(affinity="p1")
    with pytest.raises(errors.ClientError) as refused:
        generate(lease, ENGLISH)
    told = daemon.settled(lease, status=refused.value.code, error=refused.value.details)
    assert (told["verdict"]["rule"], told["tokens_settled"]) == ("per-day", 0)
    assert daemon.model("p1")["state"] == "cooling"
    assert daemon.model("p1")["rpd"] == {"used": 4, "limit": 3, "provenance": "learned"}
    again = daemon.granted(affinity="p1")
    assert again["key"]["project"] == "p2"
    generate(again, ENGLISH)
    assert sim.project("p1")["accepted"] == 3


def test_a_key_that_upstream_revoked_is_never_leased_again(daemon, sim, generate):
    lease = daemon.granted(affinity="p2")
    sim.revoke(SECRETS["k2"])
    with pytest.raises(errors.ClientError) as refused:
        generate(lease, ENGLISH)
    told = daemon.settled(lease, status=refused.value.code, error=refused.value.details)
    assert told["verdict"]["rule"] == "key-invalid"
    assert daemon.project("p2")["state"] == "dead"
    assert daemon.lease().status_code == 429
