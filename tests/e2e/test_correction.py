"""Daemons learn from what live traffic cost, share it, and tell when it drifts."""

from contextlib import ExitStack

import pytest
import redis

from keypool_cli.engine.keyspace import RATIOS
from tests.support.daemon import FLASH, a_home, eventually, secret_of
from tests.support.simulator import simulator

pytestmark = pytest.mark.e2e

ARABIC = "ما زالت الطرق الجبلية مغلقة بسبب الثلوج، وتعمل الفرق على فتحها منذ الفجر. " * 8
ENGLISH = "The mountain roads are still closed by snow; crews have worked since dawn. " * 8


@pytest.fixture(scope="module")
def gemini():
    """A Gemini that counts by a rule of its own: English costs more there than keypool expects."""
    with simulator({"projects": {"p": {"keys": [secret_of("p-key")]}}}) as running:
        running.add_project("p", [secret_of("p-key")], models={"*": {}})
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory, gemini):
    with a_home(tmp_path_factory.mktemp("learning"), upstream=gemini.url) as made:
        made.add_project("p", rpm=100_000, tpm=10**9)
        yield made


@pytest.fixture(scope="module")
def daemons(home):
    with ExitStack() as stack:
        yield [stack.enter_context(home.daemon()) for _ in range(2)]


def body(text):
    return {"contents": [{"parts": [{"text": text}]}]}


def send(daemon, http, text, *, factor):
    """One request that costs so many times what the shipped estimator says."""
    lease = daemon.granted(http, request=body(text))
    return daemon.settle(
        lease, http, status=200, usage={"promptTokenCount": round(COST[text] * factor)}
    )


def estimate(daemon, http, text):
    lease = daemon.granted(http, request=body(text))
    daemon.release(lease, http)
    return lease["estimate"]["tokens"]


COST: dict[str, int] = {}


@pytest.fixture(scope="module", autouse=True)
def costs(daemons):
    first = daemons[0]
    COST.update({text: estimate(first, None, text) for text in (ARABIC, ENGLISH)})


def events(home):
    with home.registry() as registry:
        return [each for each in registry.events.read() if each.kind == "estimate.drift"]


def requests_learned(home, name):
    """From how many requests of a client something was learned, as the store has it."""
    with home.registry() as registry:
        client = registry.clients.find(name).id
    with redis.Redis(unix_socket_path=str(home.socket), decode_responses=True) as live:
        names = live.scan_iter(f"{RATIOS}*", _type="hash")
        found = [live.hscan_iter(each, f"{client}:*:n") for each in names]
        return sum(int(count) for fields in found for _, count in fields)


def test_what_one_daemon_learns_corrects_all_of_them_and_is_told(home, daemons):
    one, other = daemons
    token = home.add_client("newsroom")
    clients = [each.known(token) for each in daemons]
    for _ in range(15):
        assert send(one, clients[0], ARABIC, factor=1.2).status_code == 200

    true = pytest.approx(1.2 * COST[ARABIC], rel=0.03)
    eventually(lambda: estimate(other, clients[1], ARABIC) == true)
    assert estimate(other, clients[1], ENGLISH) == COST[ENGLISH]
    assert estimate(one, None, ARABIC) == COST[ARABIC]  # another client's texts are other texts
    (told,) = eventually(lambda: events(home))
    assert told.subject == FLASH
    assert told.detail["client"] == "newsroom"
    assert told.detail["script"] == "arabic"
    assert "keypool probe" in told.reason


def test_traffic_as_estimated_changes_nothing(home, daemons):
    one, _ = daemons
    http = one.known(home.add_client("steady"))
    for _ in range(15):
        send(one, http, ENGLISH, factor=1.0)
    eventually(lambda: requests_learned(home, "steady") == 15)
    eventually(lambda: estimate(one, http, ENGLISH) == COST[ENGLISH])
    assert "steady" not in {each.detail["client"] for each in events(home)}


def test_a_refused_or_absurd_usage_teaches_nothing(home, daemons):
    one, _ = daemons
    http = one.known(home.add_client("odd"))
    for _ in range(15):
        send(one, http, ENGLISH, factor=9.0)
        lease = one.granted(http, request=body(ENGLISH))
        one.settle(
            lease, http, status=400, error={"error": {"code": 400}}, usage={"promptTokenCount": 1}
        )
    send(one, http, ENGLISH, factor=1.0)
    assert eventually(lambda: requests_learned(home, "odd")) == 1
    eventually(lambda: estimate(one, http, ENGLISH) == COST[ENGLISH])


def test_calls_through_the_proxy_teach_as_settlements_do(home, daemons):
    one, _ = daemons
    token = home.add_client("proxied")
    http = one.known(token)
    path = f"/v1beta/models/{FLASH}:generateContent"
    calls = [
        one.client(None).post(path, headers={"x-goog-api-key": token}, json=body(ENGLISH))
        for _ in range(15)
    ]
    (true,) = {each.json()["usageMetadata"]["promptTokenCount"] for each in calls}
    assert true > 1.1 * COST[ENGLISH]
    eventually(lambda: abs(estimate(one, http, ENGLISH) / true - 1) < 0.03)
