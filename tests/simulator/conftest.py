"""One simulator for the whole folder, as if just started for each test."""

import httpx2
import pytest

from tests.support.simulator import simulator

FLASH = "gemini-2.5-flash"

WORLD = {
    "projects": {
        "open": {"keys": ["open-1", "open-2"], "models": {FLASH: {}}},
        "tight": {"keys": ["tight-1", "tight-2"], "models": {FLASH: {"rpm": 2}, "other": {}}},
        "few-tokens": {"keys": ["few-tokens-1"], "models": {FLASH: {"tpm": 10}}},
        "short-day": {"keys": ["short-day-1"], "models": {FLASH: {"rpd": 1}}},
        "none": {"keys": ["none-1"], "models": {FLASH: {"rpm": 0}}},
        "paid": {"keys": ["paid-1"], "tier": "tier1", "models": {FLASH: {"rpd": 1}}},
    },
    "key_prefix": "sim-",
    "template": {"models": {"*": {"rpm": 3}}},
}


@pytest.fixture(scope="session")
def running():
    with simulator(WORLD) as sim:
        yield sim


@pytest.fixture
def sim(running):
    running.reset()
    return running


@pytest.fixture
def http(sim):
    with httpx2.Client(base_url=sim.url, timeout=30) as client:
        yield client


@pytest.fixture
def call(http):
    """Calls a method of a model with a key; the answer as it came."""

    def _call(key, text="Hello there", *, method="generateContent", model=FLASH, version="v1beta"):
        return http.post(
            f"/{version}/models/{model}:{method}",
            headers={"x-goog-api-key": key},
            json={"contents": [{"role": "user", "parts": [{"text": text}]}]},
        )

    return _call
