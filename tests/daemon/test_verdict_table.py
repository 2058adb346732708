"""The verdict table through settle, with upstream's real bodies."""

import time

import pytest

from keypool_cli.core.day import day_end_ms
from keypool_cli.service.instants import iso
from tests.support import bodies, bodies_faults
from tests.support.refusals import BILLING, COOL, EXCLUDE, KEY, MODEL, PROJECT, RETURN, ruled

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("status", "error", "verdict", "rule", "state"),
    [
        (429, bodies.FREE_MINUTE, COOL, "per-minute-hint", "cooling"),
        (429, bodies.FREE_DAY, COOL, "per-day", "cooling"),
        (429, bodies.INTERACTIONS_DAY, COOL, None, "cooling"),
        (429, bodies.CHECK_QUOTA, COOL, "opaque", "cooling"),
        (429, bodies.HELP_ONLY, COOL, "opaque", "cooling"),
        (429, bodies.CAPACITY, MODEL, None, "ready"),
        (429, bodies.LIMIT_ZERO_FREE, EXCLUDE, "limit-zero", "excluded"),
        (404, bodies_faults.NEW_USERS_REFUSED, EXCLUDE, None, "excluded"),
        (403, bodies_faults.ACCESS_DENIED, EXCLUDE, None, "excluded"),
        (429, bodies.PROJECT_CAP, "project/project/cool", None, "cooling"),
        (429, bodies.ACCOUNT_CAP, BILLING, None, "cooling"),
        (429, bodies.SPEND_RATE, BILLING, None, "cooling"),
        (402, bodies.NO_CREDIT, BILLING, None, "cooling"),
        (429, bodies.NO_CREDIT_AS_429, BILLING, None, "cooling"),
        (400, bodies_faults.KEY_INVALID, KEY, "key-invalid", "dead"),
        (400, bodies_faults.KEY_EXPIRED, KEY, None, "dead"),
        (403, bodies_faults.LEAKED, KEY, None, "dead"),
        (403, bodies_faults.SUSPENDED, KEY, None, "dead"),
        (403, bodies_faults.forbidden("API_KEY_SERVICE_BLOCKED"), KEY, None, "dead"),
        (403, bodies_faults.forbidden("API_KEY_IP_ADDRESS_BLOCKED"), KEY, None, "dead"),
        (403, bodies_faults.forbidden("API_KEY_HTTP_REFERRER_BLOCKED"), KEY, None, "dead"),
        (401, bodies_faults.UNAUTHENTICATED, KEY, None, "dead"),
        (403, bodies_faults.SERVICE_DISABLED, PROJECT, None, "disabled"),
        (403, bodies_faults.forbidden("BILLING_DISABLED"), PROJECT, None, "disabled"),
        (403, bodies_faults.forbidden("CONSUMER_INVALID"), PROJECT, None, "disabled"),
        (403, bodies_faults.forbidden("USER_PROJECT_DENIED"), PROJECT, None, "disabled"),
        (400, bodies_faults.TOO_MANY_TOKENS, RETURN, None, "ready"),
        (400, bodies_faults.TWO_CREDENTIALS, RETURN, None, "ready"),
        (404, bodies_faults.UNKNOWN_MODEL, RETURN, None, "ready"),
        (403, bodies_faults.FOREIGN_FILE, RETURN, None, "ready"),
        (403, bodies_faults.FOREIGN_CACHE, RETURN, None, "ready"),
        (409, bodies.error(409, "It exists.", "ALREADY_EXISTS"), RETURN, None, "ready"),
        (499, bodies_faults.CANCELLED, RETURN, None, "ready"),
        (504, bodies_faults.DEADLINE, RETURN, None, "ready"),
        (400, bodies_faults.LOCATION, "network/none/return", None, "ready"),
        (500, bodies_faults.INTERNAL, MODEL, None, "ready"),
        (503, bodies_faults.OVERLOADED, MODEL, None, "ready"),
        (502, bodies_faults.PROXY_PAGE, "upstream/none/retry", None, "ready"),
        (0, None, "network/none/retry", None, "ready"),
    ],
)
def test_every_row_of_the_verdict_table_acts_on_what_it_names(  # noqa: PLR0913, PLR0917 - a table
    daemon, pool, status, error, verdict, rule, state
):
    project = pool.add()
    told = daemon.settled(daemon.granted(pool=pool.name), status=status, error=error)["verdict"]
    assert ruled(told) == verdict
    assert told["rule"] == rule or rule is None
    assert daemon.project(project, pool.name)["state"] == state
    assert told["applied"] is (state != "ready")
    assert ("until" in told) is (state == "cooling")
    assert "why" not in told
    leased = daemon.lease(pool=pool.name).status_code
    assert leased == {"ready": 201, "cooling": 429}.get(state, 503)


def test_a_spent_day_cools_until_midnight_in_california(daemon, pool):
    project = pool.add()
    lease = daemon.granted(pool=pool.name)
    told = daemon.settled(lease, status=429, error=bodies.FREE_DAY)["verdict"]
    midnight = iso(day_end_ms(time.time_ns() // 1_000_000))
    assert told["until"] == midnight
    model = daemon.model(project, pool.name)
    assert (model["state"], model["until"], model["rule"]) == ("cooling", midnight, "per-day")
    assert "day quota" in model["reason"]
