"""Settle and release over HTTP: the verdict table with upstream's real bodies, and every repetition."""

import secrets
import time

import pytest

from keypool_cli.core.day import day_end_ms
from keypool_cli.service.instants import iso
from keypool_cli.service.resetting import ResetRequest, reset
from keypool_cli.service.sync import read_configured
from tests.support import bodies, bodies_faults
from tests.support.daemon import API, BY, FLASH, eventually, secret_of, unique

pytestmark = pytest.mark.e2e

USAGE = {"promptTokenCount": 7, "candidatesTokenCount": 100, "totalTokenCount": 107}
COOL, EXCLUDE = "project/project_model/cool", "project/project_model/exclude_model"
BILLING = "billing/billing/cool"
KEY, PROJECT = "key/key/disable", "project/project/disable"
RETURN, MODEL = "request/none/return", "model/model/retry"


def ruled(verdict):
    return f"{verdict['fault']}/{verdict['scope']}/{verdict['action']}"


def reset_project(home, name):
    async def work(ports):
        request = ResetRequest(project=name)
        return await reset(ports, await read_configured(ports), request, by=BY)

    return home.run(work)


@pytest.mark.parametrize(
    ("usage", "settled"),
    [
        pytest.param(USAGE, 7, id="the prompt"),
        pytest.param({**USAGE, "toolUsePromptTokenCount": 5}, 12, id="the prompt and tool use"),
        pytest.param({"promptTokenCount": 0}, 0, id="nothing"),
        pytest.param({"promptTokenCount": 99}, 99, id="more than was reserved"),
        pytest.param(None, 10, id="no usage keeps the reservation"),
        pytest.param({}, 10, id="an empty usage keeps it"),
        pytest.param({"candidatesTokenCount": 3}, 10, id="a usage without the prompt keeps it"),
        pytest.param({"promptTokenCount": -3}, 10, id="a negative count keeps it"),
        pytest.param({"promptTokenCount": "7"}, 10, id="a count as text keeps it"),
    ],
)
def test_a_success_settles_the_tokens_of_its_usage(daemon, pool, usage, settled):
    project = pool.add()
    lease = daemon.granted(pool=pool.name, tokens=10)
    answer = daemon.settled(lease, status=200, usage=usage)
    assert answer == {"verdict": None, "tokens_settled": settled}
    model = daemon.model(project, pool.name)
    assert (model["tpm"]["used"], model["rpm"]["used"], model["leases"]) == (settled, 1, 0)


@pytest.mark.parametrize(
    ("status", "settled"),
    [
        *((status, 0) for status in (401, 402, 403, 404, 429)),
        *((status, 10) for status in (0, 400, 409, 499, 500, 502, 503, 504)),
    ],
)
def test_a_refusal_at_the_door_costs_no_tokens_and_any_other_failure_keeps_them(
    daemon, pool, status, settled
):
    project = pool.add()
    lease = daemon.granted(pool=pool.name, tokens=10)
    error = bodies.error(status, "It did not work.", "FAILED") if status else None
    assert daemon.settled(lease, status=status, error=error)["tokens_settled"] == settled
    model = daemon.model(project, pool.name)
    assert (model["tpm"]["used"], model["rpm"]["used"]) == (settled, 1)


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


def test_what_a_refusal_says_of_limits_is_learned_for_that_project_alone(daemon, pool):
    taught, other = pool.add(), pool.add()
    leases = [daemon.granted(pool=pool.name) for _ in range(2)]
    lease = next(each for each in leases if each["key"]["project"] == taught)
    daemon.settled(lease, status=429, error=bodies.FREE_DAY)
    assert daemon.model(taught, pool.name)["rpd"] == {
        "used": 1,
        "limit": 20,
        "provenance": "learned",
    }
    assert daemon.model(other, pool.name)["rpd"]["limit"] is None


def test_one_clients_word_makes_no_alias(daemon, house, pool):
    pool.add(), pool.add()
    asked = unique("model")
    strangers = [daemon.known(house.add_client()) for _ in range(2)]
    quota = bodies.violation(bodies.DAY_ID, bodies.FREE_REQUESTS, model=FLASH, value="20")

    def report(http):
        lease = daemon.granted(http, pool=pool.name, model=asked)
        daemon.settle(lease, http, status=429, error=bodies.exhausted(quota))
        with house.registry() as registry:
            return registry.catalog().aliases.get(asked)

    assert report(strangers[0]) is None
    assert report(strangers[1]) == FLASH


def test_a_repeated_settlement_answers_what_the_first_did(daemon, other, pool):
    project = pool.add()
    lease = daemon.granted(pool=pool.name)
    first = daemon.settled(lease, status=429, error=bodies.FREE_DAY)
    assert other.settled(lease, status=429, error=bodies.FREE_DAY) == first
    assert other.settled(lease, status=200, usage=USAGE) == first
    assert daemon.model(project, pool.name)["rpm"]["used"] == 1


def test_a_settlement_that_came_second_decides_nothing(daemon, pool):
    project = pool.add()
    lease = daemon.granted(pool=pool.name)
    first = daemon.settled(lease, status=200, usage=USAGE)
    assert daemon.settled(lease, status=400, error=bodies_faults.KEY_INVALID) == first
    assert daemon.project(project, pool.name)["state"] == "ready"


def test_an_answer_to_a_call_made_before_a_reset_cools_nothing(daemon, pool):
    project = pool.add()
    early, later = daemon.granted(pool=pool.name), daemon.granted(pool=pool.name)
    daemon.settled(early, status=429, error=bodies.FREE_DAY)
    done = reset_project(pool.home, project)
    assert [(each.what, each.rule) for each in done.cleared] == [("cooldown", "per-day")]
    told = daemon.settled(later, status=429, error=bodies.FREE_DAY)["verdict"]
    assert (ruled(told), told["applied"]) == (COOL, False)
    assert "reset" in told["why"]
    assert daemon.settled(later, status=429, error=bodies.FREE_DAY)["verdict"] == told
    daemon.granted(pool=pool.name)


def test_evidence_that_a_key_is_dead_counts_even_after_a_reset(daemon, pool):
    project = pool.add()
    lease = daemon.granted(pool=pool.name)
    reset_project(pool.home, project)
    told = daemon.settled(lease, status=400, error=bodies_faults.KEY_INVALID)["verdict"]
    assert told["applied"]
    assert daemon.project(project, pool.name)["state"] == "dead"


def test_a_released_lease_was_never_used(daemon, other, pool):
    project = pool.add()
    lease = daemon.granted(pool=pool.name)
    assert daemon.release(lease).status_code == 204
    assert other.release(lease).status_code == 204
    shown = daemon.project(project, pool.name)
    assert (shown["state"], shown["models"]) == ("ready", [])


def test_a_lease_ends_once(daemon, pool):
    pool.add()
    released, settled = daemon.granted(pool=pool.name), daemon.granted(pool=pool.name)
    daemon.release(released)
    daemon.settled(settled, status=200, usage=USAGE)
    assert daemon.settle(released, status=200, usage=USAGE).status_code == 409
    assert daemon.release(settled).status_code == 409
    assert daemon.settled(settled, status=200, usage=USAGE)["tokens_settled"] == 7


def test_another_clients_lease_is_not_found(daemon, house, pool):
    pool.add()
    lease = daemon.granted(pool=pool.name)
    stranger = daemon.known(house.add_client())
    assert daemon.settle(lease, stranger, status=200, usage=USAGE).status_code == 404
    assert daemon.release(lease, stranger).status_code == 404
    assert daemon.settled(lease, status=200, usage=USAGE)["tokens_settled"] == 7


@pytest.mark.parametrize(
    "lease_id",
    [
        pytest.param(f"{secrets.token_urlsafe(16)}.{FLASH}", id="a known model"),
        pytest.param(f"{secrets.token_urlsafe(16)}.never-used", id="an unknown model"),
        pytest.param("nothing", id="no id at all"),
        pytest.param("x.", id="an id without a model"),
    ],
)
def test_an_unknown_lease_is_not_found(daemon, pool, lease_id):
    pool.add()
    daemon.granted(pool=pool.name)
    assert daemon.settle(lease_id, status=200, usage=USAGE).status_code == 404
    assert daemon.release(lease_id).status_code == 404


@pytest.mark.parametrize(
    "body",
    [{}, {"status": "200"}, {"status": -1}, {"status": 600}, {"status": 200, "usage": 7}],
)
def test_a_report_that_says_something_else_is_a_bad_request(daemon, pool, body):
    pool.add()
    lease = daemon.granted(pool=pool.name)
    assert daemon.settle(lease, **body).status_code == 400
    assert daemon.settled(lease, status=200, usage=USAGE)["tokens_settled"] == 7


def test_a_client_believed_for_its_usage_only_cools_nothing(daemon, house, pool):
    project = pool.add()
    http = daemon.known(house.add_client(reports="usage"))
    for status, error in ((429, bodies.FREE_DAY), (400, bodies_faults.KEY_INVALID)):
        lease = daemon.granted(http, pool=pool.name)
        answer = daemon.settle(lease, http, status=status, error=error).json()
        assert not answer["verdict"]["applied"]
        assert "reports" in answer["verdict"]["why"]
    shown = daemon.project(project, pool.name)
    assert shown["state"] == "ready"
    assert shown["models"][0]["rpd"]["limit"] is None
    lease = daemon.granted(http, pool=pool.name, tokens=50)
    answer = daemon.settle(lease, http, status=200, usage=USAGE).json()
    assert answer["tokens_settled"] == 7


def test_one_clients_word_binds_no_billing_account(daemon, other, house, pool):
    account = unique("account")
    projects = [pool.add(billing_account=account) for _ in range(3)]
    stranger = other.known(house.add_client())

    def lease_of(project, which, http):
        lease = which.granted(http, pool=pool.name, affinity=project)
        assert lease["key"]["project"] == project
        return lease

    first, second = lease_of(projects[0], daemon, None), lease_of(projects[1], other, stranger)
    for lease in (first, lease_of(projects[0], daemon, None)):
        told = daemon.settled(lease, status=402, error=bodies.NO_CREDIT)["verdict"]
        assert ruled(told) == BILLING
        states = [daemon.project(each, pool.name)["state"] for each in projects]
        assert states == ["cooling", "ready", "ready"]
    eventually(lambda: other.project(projects[0], pool.name)["state"] == "cooling")
    assert other.settle(second, stranger, status=402, error=bodies.NO_CREDIT).status_code == 200
    for each in (daemon, other):
        states = [each.project(name, pool.name)["state"] for name in projects]
        assert states == ["cooling"] * 3
        assert each.lease(pool=pool.name).json()["limit"] == "cooldown"


def test_a_dead_key_is_leased_by_no_daemon_again(daemon, other, pool):
    project = pool.add(keys=(dead := unique("key"), living := unique("key")))
    models = (FLASH, "gemini-2.5-pro")
    for model in models:
        pair = [daemon.granted(pool=pool.name, model=model) for _ in range(2)]
        assert {each["key"]["name"] for each in pair} == {dead, living}
    lease = next(each for each in pair if each["key"]["name"] == dead)
    told = daemon.settled(lease, status=400, error=bodies_faults.KEY_INVALID)["verdict"]
    assert (ruled(told), told["rule"]) == (KEY, "key-invalid")
    for model in models:
        for each in (other, daemon) * 2:
            assert each.granted(pool=pool.name, model=model)["key"]["name"] == living
    keys = {each["name"]: each["state"] for each in other.project(project, pool.name)["keys"]}
    assert keys == {dead: "dead", living: "ready"}


def test_a_refusal_of_the_whole_project_holds_on_every_model(daemon, pool):
    pool.add()
    daemon.granted(pool=pool.name, model="gemini-2.5-pro")
    lease = daemon.granted(pool=pool.name)
    daemon.settled(lease, status=429, error=bodies.PROJECT_CAP)
    for model in (FLASH, "gemini-2.5-pro", "gemini-3.8-flash"):
        refused = daemon.lease(pool=pool.name, model=model)
        assert (refused.status_code, refused.json()["limit"]) == (429, "cooldown"), model


def test_a_refusal_of_one_model_holds_on_that_model_alone(daemon, pool):
    pool.add()
    lease = daemon.granted(pool=pool.name)
    daemon.settled(lease, status=429, error=bodies.LIMIT_ZERO_FREE)
    assert daemon.lease(pool=pool.name).status_code == 503
    daemon.granted(pool=pool.name, model="gemini-2.5-flash-lite")


def test_refusals_are_kept_with_their_lease_and_client(daemon, house, pool):
    project = pool.add()
    name = unique("client")
    http = daemon.known(house.add_client(name))
    lease = daemon.granted(http, pool=pool.name)
    daemon.settle(lease, http, status=429, error=bodies.FREE_DAY)
    with house.registry() as registry:
        [mark] = [each for each in registry.marks.all() if each.lease_id == lease["lease_id"]]
    assert (mark.source, mark.rule, mark.model) == (name, "per-day", FLASH)
    assert mark.reason
    assert project


def test_while_sql_is_away_a_refusal_stops_traffic_and_may_be_reported_again(
    daemon, house, pool, sql_locked
):
    project = pool.add()
    lease = daemon.granted(pool=pool.name)
    with sql_locked(house):
        answer = daemon.settle(lease, status=429, error=bodies.FREE_DAY)
        assert (answer.status_code, answer.json()["title"]) == (503, "Store unreachable")
        assert "retry-after" in answer.headers
        assert daemon.lease(pool=pool.name).json()["limit"] == "cooldown"
    answer = daemon.settled(lease, status=429, error=bodies.FREE_DAY)
    assert answer["verdict"]["applied"]
    with house.registry() as registry:
        marks = [each for each in registry.marks.all() if each.lease_id == lease["lease_id"]]
    assert [each.rule for each in marks] == ["per-day"]
    assert daemon.project(project, pool.name)["state"] == "cooling"


def test_a_body_that_echoes_the_key_is_not_kept(daemon, other, house, pool):
    project = unique("project")
    secret = f"opaque.{secrets.token_hex(12)}"
    pool.home.add_project(project, pool=pool.name, secrets={f"{project}-key": secret})
    lease = daemon.granted(pool=pool.name)
    assert lease["key"]["secret"] == secret
    message = f"Your API key was reported as leaked. Please use another API key than {secret}."
    error = bodies.error(403, message, "PERMISSION_DENIED")
    answer = other.settle(lease, status=403, error=error)
    assert answer.json()["verdict"]["applied"]
    shown = other.http.get(f"{API}/status", params={"pool": pool.name})
    refused = other.lease(pool=pool.name)
    assert refused.status_code == 503
    with house.registry() as registry:
        kept = repr(registry.catalog())
    for text in (answer.text, shown.text, refused.text, kept, other.log.read_text()):
        assert secret not in text


def test_the_fixture_secrets_are_what_the_daemon_hands_out(daemon, pool):
    project = pool.add()
    assert daemon.granted(pool=pool.name)["key"]["secret"] == secret_of(f"{project}-key")
