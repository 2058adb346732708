"""The OpenAPI description: it is valid, and what the daemon answers is what it says, and all of it."""

import json

import httpx2
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no stubs
from openapi_spec_validator import OpenAPIV31SpecValidator

from keypool_cli.service.keys import disable_keys
from keypool_cli.service.resetting import reset
from keypool_cli.service.resetting_values import ResetRequest
from keypool_cli.service.sync import read_configured
from tests.support import bodies, bodies_faults
from tests.support.daemon import API, BY, FLASH, unique

pytestmark = pytest.mark.e2e

LEASES = f"{API}/leases"
ONE, SETTLE = f"{LEASES}/{{lease_id}}", f"{LEASES}/{{lease_id}}/settle"
BODIES = {"LeaseBody", "SettleBody"}
ELSEWHERE = {("Status", "unread"), ("Unread", "model"), ("Unread", "reason")}
"""Told while a node of a cluster is away: see ``tests/e2e/test_part_of_the_store_away.py``."""


@pytest.fixture(scope="module")
def description(daemon):
    return httpx2.get(f"{daemon.url}{API}/openapi.json").json()


@pytest.fixture(scope="module")
def described(description):
    return Described(description)


class Described:
    """Checks answers against the description, and notes which of its fields were met."""

    def __init__(self, description):
        self.paths = description["paths"]
        self.schemas = description["components"]["schemas"]
        self.met = set()

    def check(self, path, method, answer):
        """The answer's body, which must be what the description says of this status."""
        told = self.paths[path][method]["responses"][str(answer.status_code)]
        for name, header in told.get("headers", {}).items():
            assert name in answer.headers or header.get("required") is False
        if "content" not in told:
            assert answer.content == b""
            return None
        kind = answer.headers["content-type"].partition(";")[0]
        schema = told["content"][kind]["schema"]
        document = {**schema, "components": {"schemas": self.closed()}}
        Draft202012Validator(document).validate(answer.json())
        self.note(schema, answer.json())
        return answer.json()

    def closed(self):
        """The schemas, under which nothing may stand that they do not name."""
        return {
            name: {**each, "additionalProperties": False} for name, each in self.schemas.items()
        }

    def note(self, schema, value):
        """Note the fields of a value."""
        if isinstance(value, list):
            for each in value:
                self.note(schema.get("items", {}), each)
        elif isinstance(value, dict):
            choices = schema.get("anyOf", [schema])
            name = next((each["$ref"] for each in choices if "$ref" in each), "").rpartition("/")[2]
            for field, each in value.items() if name else ():
                self.met.add((name, field))
                self.note(self.schemas[name]["properties"][field], each)


def test_it_is_valid_openapi(description):
    OpenAPIV31SpecValidator(description).validate()


def test_it_speaks_to_readers_not_of_python(description):
    text = json.dumps(description)
    assert ":func:" not in text
    assert "\\n    " not in text


def test_it_names_every_path_of_the_api(daemon, description):
    own = ("leases", "leases/{lease_id}", "leases/{lease_id}/settle", "status", "explain", "events")
    plain = {"/", "/healthz", "/readyz", "/metrics", f"{API}/openapi.json"}
    assert description["paths"].keys() == plain | {f"{API}/{each}" for each in own}
    for path, methods in description["paths"].items():
        for method in methods:
            answer = daemon.http.request(method, path.replace("{lease_id}", "x.y"))
            assert answer.status_code != 405, (method, path)
            told = methods[method]["responses"]
            assert str(answer.status_code) in told, (method, path, answer.status_code)
    others = ("/keypool/v1/lease", "/keypool/v1/statuses", "/openapi.json")
    assert {daemon.http.get(each).status_code for each in others} == {404}


def the_leases(described, daemon, house, pool):
    """Every kind of answer to the call for a lease."""
    pool.add(rpm=3, tpm=1000)
    poor = daemon.known(house.add_client(pools=(pool.name,), models=(FLASH,), rpm=1))
    reader = daemon.known(house.add_client(scopes=("read",)))
    said = {"contents": [{"parts": [{"text": "Hello"}]}]}
    for status, answer in (
        (201, daemon.lease(pool=pool.name)),
        (201, daemon.lease(pool=pool.name, request=said)),
        (201, daemon.lease(poor)),
        (429, daemon.lease(poor)),
        (429, daemon.lease(pool=pool.name)),
        (422, daemon.lease(pool=pool.name, tokens=2000)),
        (400, daemon.lease(tokens=0)),
        (401, daemon.lease(daemon.client(None))),
        (403, daemon.lease(poor, pool="main")),
        (403, daemon.lease(poor, model="another")),
        (403, daemon.lease(reader)),
        (404, daemon.lease(pool="nowhere")),
        (413, daemon.http.post(LEASES, json={"model": "x" * (33 << 20)})),
        (415, daemon.http.post(LEASES, content=b"{}")),
    ):
        assert answer.status_code == status, answer.text
        described.check(LEASES, "post", answer)


def the_ends(described, daemon, pool):
    """Every kind of answer to a settlement, and to giving a lease back."""
    pool.add(keys=[unique("key") for _ in range(3)])

    def settled(**body):
        lease = daemon.granted(pool=pool.name)
        return lease, described.check(SETTLE, "post", daemon.settle(lease, **body))

    lease, _ = settled(status=200, usage={"promptTokenCount": 3})
    for status, error in (
        (400, bodies_faults.TOO_MANY_TOKENS),
        (400, bodies_faults.LOCATION),
        (400, bodies_faults.KEY_INVALID),
        (429, bodies.CAPACITY),
        (500, bodies_faults.INTERNAL),
        (502, bodies_faults.PROXY_PAGE),
        (0, None),
    ):
        assert settled(status=status, error=error)[1]["verdict"]
    given = daemon.granted(pool=pool.name)
    for path, method, status, answer in (
        (ONE, "delete", 409, daemon.release(lease)),
        (ONE, "delete", 204, daemon.release(given)),
        (ONE, "delete", 404, daemon.release("x.y")),
        (ONE, "delete", 401, daemon.release(given, daemon.client(None))),
        (SETTLE, "post", 409, daemon.settle(given, status=200)),
        (SETTLE, "post", 404, daemon.settle("x.y", status=200)),
        (SETTLE, "post", 400, daemon.settle(given, status=-1)),
        (SETTLE, "post", 401, daemon.settle(given, daemon.client(None), status=200)),
        (SETTLE, "post", 413, daemon.settle(given, status=500, error="x" * (1 << 20))),
    ):
        assert answer.status_code == status, answer.text
        described.check(path, method, answer)


def the_states(described, daemon, house, pool):
    """Projects in every state, as status and explain tell of them."""
    pool.add(rpm=1)
    daemon.granted(pool=pool.name)
    pool.add(rpm=10)
    for error, status in (
        (bodies.FREE_MINUTE, 429),
        (bodies.LIMIT_ZERO_FREE, 429),
        (bodies.PROJECT_CAP, 429),
        (bodies_faults.SERVICE_DISABLED, 403),
        (bodies_faults.KEY_INVALID, 400),
    ):
        name = pool.add(priority=9)
        lease = daemon.granted(pool=pool.name)
        assert lease["key"]["project"] == name
        assert described.check(SETTLE, "post", daemon.settle(lease, status=status, error=error))
    idle = pool.add()
    house.run(lambda ports: disable_keys(ports, [f"{idle}-key"], by=BY))
    found = daemon.http.get(f"{API}/status", params={"pool": pool.name})
    told = described.check(f"{API}/status", "get", found)["pools"][0]
    states = ("ready", "full", "cooling", "excluded", "disabled", "dead")
    assert [told[each] for each in states] == [1, 1, 2, 1, 2, 1]
    for tokens in (1, 10**9):
        params = {"pool": pool.name, "model": FLASH, "tokens": tokens}
        described.check(f"{API}/explain", "get", daemon.http.get(f"{API}/explain", params=params))


def after_a_reset(described, daemon, house, pool):
    """A verdict that is not applied, and says why."""
    name = pool.add()
    lease = daemon.granted(pool=pool.name)

    async def work(ports):
        return await reset(ports, await read_configured(ports), ResetRequest(project=name), by=BY)

    house.run(work)
    answer = daemon.settle(lease, status=429, error=bodies.FREE_DAY)
    assert described.check(SETTLE, "post", answer)["verdict"]["why"]


def when_nothing_is_usable(described, daemon, house, pool):
    """No lease, whatever one waits."""
    name = pool.add()
    house.run(lambda ports: disable_keys(ports, [f"{name}-key"], by=BY))
    answer = daemon.lease(pool=pool.name)
    assert answer.status_code == 503
    described.check(LEASES, "post", answer)


def the_rest(described, daemon, house, pool):
    """Reads that are refused, events and health."""
    reader = daemon.known(house.add_client(scopes=("read",)))
    bound = daemon.known(house.add_client(pools=("main",)))
    nobody = daemon.client(None)
    for path, status, http, params in (
        ("/status", 401, nobody, {}),
        ("/status", 403, bound, {"pool": "other"}),
        ("/status", 404, daemon.http, {"pool": "nowhere"}),
        ("/explain", 400, daemon.http, {"pool": pool.name}),
        ("/explain", 401, nobody, {}),
        ("/explain", 403, bound, {"pool": "other", "model": FLASH}),
        ("/explain", 404, daemon.http, {"pool": "nowhere", "model": FLASH}),
        ("/events", 200, reader, {"limit": 1000}),
        ("/events", 400, reader, {"limit": 0}),
        ("/events", 401, nobody, {}),
        ("/events", 403, daemon.http, {}),
    ):
        answer = http.get(f"{API}{path}", params=params)
        assert answer.status_code == status, answer.text
        described.check(f"{API}{path}", "get", answer)
    for path in ("/healthz", "/readyz"):
        described.check(path, "get", daemon.http.get(path))


def test_every_answer_is_as_described_and_all_that_is_described_is_answered(
    daemon, house, described, pool
):
    a_pool = type(pool)
    the_leases(described, daemon, house, pool)
    the_ends(described, daemon, a_pool(house))
    the_states(described, daemon, house, a_pool(house))
    after_a_reset(described, daemon, house, a_pool(house))
    when_nothing_is_usable(described, daemon, house, a_pool(house))
    the_rest(described, daemon, house, pool)
    told = {
        (name, field)
        for name, schema in described.schemas.items()
        if name not in BODIES
        for field in schema["properties"]
    }
    assert sorted(told - described.met - ELSEWHERE) == []
