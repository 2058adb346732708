"""What is said of a secret that its key no longer has touches nothing."""

import time

import pytest

from keypool_cli.core.model import Secret
from keypool_cli.service.keys import rotate_key
from keypool_cli.service.old_secrets import STALE_MS
from tests.support import bodies_faults
from tests.support.daemon import BY, a_home, eventually, unique
from tests.support.proxy import COUNT, GENERATE, Proxy, a_body
from tests.support.raw_upstream import raw_upstream

pytestmark = pytest.mark.e2e

REFUSED = b'{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT", \
"details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]}}'


def rotate(home, key):
    secret = f"AIzaSyNEW_{unique('s')}".ljust(39, "z")
    home.run(lambda ports: rotate_key(ports, key, Secret(secret), by=BY))
    return secret


def test_a_late_report_about_the_old_secret_leaves_the_new_one_in_use(daemon, other, pool):
    project = pool.add()
    late, later = daemon.granted(pool=pool.name), daemon.granted(pool=pool.name)
    secret = rotate(pool.home, f"{project}-key")
    for reporter, lease in ((daemon, late), (other, later)):
        told = reporter.settled(lease, status=400, error=bodies_faults.KEY_INVALID)["verdict"]
        assert (told["action"], told["applied"]) == ("disable", False)
        assert "new secret" in told["why"]
        again = daemon.settled(lease, status=400, error=bodies_faults.KEY_INVALID)["verdict"]
        assert again == told
    assert daemon.project(project, pool.name)["state"] == "ready"
    eventually(lambda: daemon.granted(pool=pool.name)["key"]["secret"] == secret)


def test_a_report_about_the_new_secret_counts(daemon, pool):
    project = pool.add()
    daemon.granted(pool=pool.name)
    secret = rotate(pool.home, f"{project}-key")
    time.sleep(STALE_MS / 1000 + 0.2)  # by then every daemon should have heard of it

    def of_the_new_secret():
        found = daemon.granted(pool=pool.name)
        return found["key"]["secret"] == secret and found

    lease = eventually(of_the_new_secret)
    assert daemon.settled(lease, status=400, error=bodies_faults.KEY_INVALID)["verdict"]["applied"]
    assert daemon.project(project, pool.name)["state"] == "dead"


@pytest.mark.parametrize("path", [GENERATE, COUNT])
def test_a_proxied_call_that_began_with_the_old_secret_leaves_the_new_one_in_use(tmp_path, path):
    with raw_upstream() as upstream, a_home(tmp_path / "home", upstream=upstream.url) as home:
        home.add_project("p", pool="main")

        def refuse_what_was_replaced(line):
            upstream.play = lambda other: other.answer(b"{}")
            rotate(home, "p-key")
            line.answer(REFUSED, status="400 Bad Request")

        with home.daemon() as daemon, Proxy(home, daemon).client(home.token) as http:
            upstream.play = lambda line: line.answer(b"{}")
            assert http.post(GENERATE, json=a_body()).status_code == 200
            upstream.play = refuse_what_was_replaced
            http.post(path, json=a_body())
            assert daemon.project("p", "main")["state"] == "ready"
            assert http.post(GENERATE, json=a_body()).status_code == 200
