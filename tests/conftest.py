"""Settings for every test."""

import os
import signal
import time

import pytest
from hypothesis import HealthCheck, settings

from keypool_cli.core.day import day_end_ms

# A slow machine is no defect, so neither deadlines nor slowness fail a property.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", patient, derandomize=True, max_examples=40)
settings.register_profile("dev", patient, max_examples=60)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# In the background, or under nohup, whatever the tests start would ignore these as well.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)


DAY_LEFT_S = 60
"""A test that begins so long before the end of upstream's day is over before it."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """No test begins just before that end: what it spends of a day would be there again."""
    now_ms = time.time_ns() // 1_000_000
    left_s = (day_end_ms(now_ms) - now_ms) / 1000
    if left_s < DAY_LEFT_S:
        time.sleep(left_s + 2)  # for a moment after it both days are counted


@pytest.fixture
def anyio_backend():
    """Async tests run on asyncio, as the daemon does."""
    return "asyncio"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path_factory):
    """No test reads the developer's own settings, or writes into the developer's home."""
    for name in list(os.environ):
        if name.startswith(("KEYPOOL_", "GOOGLE_", "GEMINI_")) and not name.startswith(
            "KEYPOOL_TEST_"
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))
