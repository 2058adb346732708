"""What a call holds in flight: kept as long as the call lasts, and free soon after its daemon died."""

import time

import pytest

from tests.support.daemon import a_home, eventually
from tests.support.proxy import GENERATE, STREAM, Proxy, a_body
from tests.support.raw_upstream import raw_upstream

pytestmark = pytest.mark.e2e

WINDOW_S = 4
TRIES = 5


def begun(line):
    """Begin a stream, and leave it open."""
    line.begin()
    line.chunk(b"data: {}\r\n\r\n")
    line.hung_up()


def status_of(http):
    return http.post(GENERATE, json=a_body()).status_code


def keeps_its_slot(http, other):
    """Whether a call under way keeps all others out for longer than its lease was given."""
    until = time.monotonic() + 1.1 * WINDOW_S
    while time.monotonic() < until:
        if (status_of(http), other.model("p", "main")["leases"]) != (429, 1):
            return False
        time.sleep(0.2)
    return True


def test_a_call_keeps_its_slot_while_it_lasts_and_gives_it_back_when_its_daemon_dies(tmp_path):
    """A machine that stands still for as long as a lease lasts may take a slot; not every time."""
    with (
        raw_upstream() as upstream,
        a_home(tmp_path / "home", upstream=upstream.url, window_s=WINDOW_S, guard_ms=100) as home,
        home.daemon() as doomed,
        home.daemon() as other,
        Proxy(home, doomed).client(home.token) as streaming,
        Proxy(home, other).client(home.token) as http,
    ):
        home.add_project("p", in_flight=1)
        for _ in range(TRIES):
            upstream.play = begun
            with streaming.stream("POST", STREAM, json=a_body()):
                upstream.play = lambda line: line.answer(b"{}")
                if keeps_its_slot(http, other):
                    doomed.kill()
                    eventually(lambda: status_of(http) == 200)
                    return
            eventually(lambda: other.model("p", "main")["leases"] == 0)
        raise AssertionError("others got its slot")
