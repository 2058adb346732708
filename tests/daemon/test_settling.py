"""Settle and release over HTTP: the verdict table with upstream's real bodies, and every repetition."""

import secrets

import pytest

from keypool_cli.service.resetting import reset
from keypool_cli.service.resetting_values import ResetRequest
from keypool_cli.service.sync import read_configured
from tests.support import bodies, bodies_faults
from tests.support.daemon import API, BY, FLASH, secret_of, unique
from tests.support.refusals import COOL, ruled

pytestmark = pytest.mark.e2e

USAGE = {"promptTokenCount": 7, "candidatesTokenCount": 100, "totalTokenCount": 107}


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
        pytest.param(
            {"prompt_token_count": 7, "tool_use_prompt_token_count": 5}, 12, id="a dump of the SDK"
        ),
        pytest.param(
            {"prompt_tokens": 7, "total_tokens": 9}, 7, id="the usage of OpenAI's clients"
        ),
        pytest.param({"total_input_tokens": 7}, 7, id="the usage of an interaction"),
        pytest.param({"promptTokenCount": 99}, 99, id="more than was reserved"),
        pytest.param(None, 10, id="no usage keeps the reservation"),
        pytest.param({}, 10, id="an empty usage keeps it"),
        pytest.param({"candidatesTokenCount": 3}, 10, id="a usage without the prompt keeps it"),
        pytest.param({"promptTokenCount": -3}, 10, id="a negative count keeps it"),
        pytest.param({"promptTokenCount": "7"}, 10, id="a count as text keeps it"),
        pytest.param({"promptTokenCount": 10**20}, 10, id="more than any request has keeps it"),
        pytest.param({"promptTokenCount": True}, 10, id="no number keeps it"),
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
    projects = [pool.add(), pool.add()]
    asked = unique("model")
    strangers = [daemon.known(house.add_client()) for _ in range(2)]
    quota = bodies.violation(bodies.DAY_ID, bodies.FREE_REQUESTS, model=FLASH, value="20")

    # The true model is in use already.
    assert daemon.release(daemon.granted(pool=pool.name, model=FLASH)).status_code == 204

    def report(http):
        lease = daemon.granted(http, pool=pool.name, model=asked)
        daemon.settle(lease, http, status=429, error=bodies.exhausted(quota))
        with house.registry() as registry:
            return registry.catalog().aliases.get(asked)

    assert report(strangers[0]) is None
    assert report(strangers[1]) == FLASH
    # What was booked under the old name counts on the true one.
    assert sum(daemon.model(each, pool.name)["rpm"]["used"] for each in projects) == 2
    # So do the refusal that proved it, and the one before.
    assert [daemon.model(each, pool.name)["state"] for each in projects] == ["cooling"] * 2
    assert daemon.lease(pool=pool.name, model=FLASH).json()["limit"] == "cooldown"


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
