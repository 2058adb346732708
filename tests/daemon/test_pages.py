"""Metrics, events and the dashboard, as a scraper, a program and a browser see them."""

import json
import re
import threading
from base64 import b64encode
from hashlib import sha256

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from keypool_cli.cli.guide import text_of
from tests.support import bodies
from tests.support.daemon import API, FLASH, a_home, eventually, unique
from tests.support.serving import serving

pytestmark = pytest.mark.e2e


def scraped(daemon, **headers):
    """Samples of one scrape: name and labels -> value."""
    answer = httpx2.get(daemon.url + "/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples, name, **labels):
    return samples.get((f"keypool_{name}", tuple(sorted(labels.items()))), 0)


def test_leases_and_settlements_are_counted_by_project_client_and_key(daemon, house, pool):
    project = pool.add(rpm=5, tpm=1000)
    name = unique("client")
    http = daemon.known(house.add_client(name))
    lease = daemon.granted(http, pool=pool.name, tokens=100)
    answer = daemon.settle(lease, http, status=200, usage={"promptTokenCount": 60})
    assert answer.status_code == 200
    daemon.granted(http, pool=pool.name, tokens=7)
    seen = scraped(daemon)
    model = {"project": project, "model": lease["model"]}
    assert value(seen, "leases_total", **model) == 2
    assert value(seen, "tokens_reserved_total", **model) == 107
    assert value(seen, "tokens_settled_total", **model) == 60
    assert value(seen, "settlements_total", **model) == 1
    assert value(seen, "client_tokens_settled_total", client=name) == 60
    key = {"project": project, "key": f"{project}-key"}
    assert value(seen, "key_leases_total", **key) == 2
    assert value(seen, "used", **model, dimension="tpm") == 67
    assert value(seen, "limit", **model, dimension="tpm") == 1000
    assert value(seen, "used", **model, dimension="in_flight") == 1
    assert value(seen, "cooldown_seconds", **model) == 0


def test_the_alerts_in_the_guide_ask_for_metrics_and_labels_that_there_are(daemon, pool):
    pool.add(rpm=1)
    lease = daemon.granted(pool=pool.name)
    daemon.lease(pool=pool.name)
    daemon.settled(lease, status=402, error=bodies.NO_CREDIT)
    told = re.findall(r"\b(keypool_\w+)(?:\{(\w+))?", text_of("operating"))
    seen = [(name, dict(labels)) for name, labels in scraped(daemon)]
    assert len(told) >= 6
    for name, label in told:
        assert any(name == other and (not label or label in labels) for other, labels in seen), name


def test_a_repeated_settlement_is_counted_once(daemon, pool):
    project = pool.add()
    lease = daemon.granted(pool=pool.name)
    for _ in range(3):
        daemon.settled(lease, status=200, usage={"promptTokenCount": 5})
    model = {"project": project, "model": lease["model"]}
    assert value(scraped(daemon), "settlements_total", **model) == 1
    assert value(scraped(daemon), "tokens_settled_total", **model) == 5


def test_refusals_are_counted_by_limit_and_verdicts_by_rule(daemon, pool):
    project = pool.add(rpm=1)
    before = scraped(daemon)
    lease = daemon.granted(pool=pool.name)
    assert daemon.lease(pool=pool.name).json()["limit"] == "rpm"
    daemon.settled(lease, status=402, error=bodies.NO_CREDIT)
    after = scraped(daemon)

    def grown(name, **labels):
        return value(after, name, **labels) - value(before, name, **labels)

    assert grown("leases_refused_total", limit="rpm") == 1
    assert grown("verdicts_total", rule="no-credit") == 1
    assert grown("upstream_answers_total", via="client", status="402") == 1
    assert value(after, "cooldown_seconds", project=project, model=lease["model"]) > 60


def test_durations_are_counted_in_buckets(daemon, pool):
    pool.add()
    before = value(scraped(daemon), "lease_seconds_count")
    daemon.granted(pool=pool.name)
    after = scraped(daemon)
    assert value(after, "lease_seconds_count") == before + 1
    assert value(after, "lease_seconds_bucket", le="300") == before + 1
    assert value(after, "lease_seconds_sum") > 0


def test_who_waits_is_told(daemon, pool):
    pool.add(rpm=1)
    lease = daemon.granted(pool=pool.name)
    waiting = threading.Thread(target=daemon.lease, kwargs={"pool": pool.name, "wait_s": 60})
    waiting.start()
    assert eventually(lambda: value(scraped(daemon), "waiting"))
    daemon.release(lease)
    waiting.join()
    assert value(scraped(daemon), "waiting") == 0


def test_what_has_no_limit_has_none_in_metrics(daemon, pool):
    project = pool.add(rpm=5)
    lease = daemon.granted(pool=pool.name, tokens=1)
    model = {"project": project, "model": lease["model"]}
    seen = scraped(daemon)
    assert value(seen, "limit", **model, dimension="rpm") == 5
    assert value(seen, "limit", **model, dimension="in_flight") == 0


def test_metrics_tell_the_build_and_no_secret(daemon, pool, house):
    pool.add()
    secret = daemon.granted(pool=pool.name)["key"]["secret"]
    text = httpx2.get(daemon.url + "/metrics").text
    assert "keypool_build_info{" in text
    assert secret not in text
    assert house.token not in text


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Host": "rebound.example"}, id="a name that is not loopback"),
        pytest.param({"Origin": "http://rebound.example"}, id="a web page"),
    ],
)
def test_without_a_token_only_this_machine_is_given_metrics(daemon, headers):
    assert httpx2.get(daemon.url + "/metrics", headers=headers).status_code == 403


def test_a_token_that_metrics_do_not_need_is_in_nobodys_way(daemon, house):
    url, other = daemon.url + "/metrics", {"Authorization": f"Bearer {house.token}"}
    assert httpx2.get(url, headers=other).status_code == 200
    from_a_page = {**other, "Origin": "http://rebound.example"}
    assert httpx2.get(url, headers=from_a_page).status_code == 403


@pytest.fixture(scope="module")
def behind(tmp_path_factory):
    """A daemon that others reach through a proxy, and its home."""
    with a_home(tmp_path_factory.mktemp("behind")) as home:
        home.add_project("p")
        readers = home.add_client(scopes=("read",)), home.add_client()
        with serving(home, "--behind-proxy") as served:
            yield served, *readers


def test_beyond_loopback_metrics_need_a_token_that_may_read(behind):
    served, reader, other = behind
    url = served.url + "/metrics"
    assert httpx2.get(url).status_code == 401
    assert httpx2.get(url, headers={"Authorization": f"Bearer {other}"}).status_code == 403
    assert scraped(served, Authorization=f"Bearer {reader}", Host="keypool.example")


@pytest.fixture(scope="module")
def reader(daemon, house):
    """A client that may read events."""
    return daemon.known(house.add_client(scopes=("lease", "read")))


def test_events_are_read_with_the_filters_of_the_command_line(pool, reader):
    project = pool.add(keys=(first := unique("key"), unique("key")))
    found = reader.get(f"{API}/events", params={"subject": first}).json()
    assert found["schema"] == 1
    assert [(each["kind"], each["subject"]) for each in found["events"]] == [("key.added", first)]
    by_kind = reader.get(f"{API}/events", params={"kind": "key.", "limit": 1}).json()["events"]
    assert len(by_kind) == 1
    after = found["events"][0]["id"]
    later = reader.get(f"{API}/events", params={"after": after}).json()["events"]
    assert all(each["id"] > after for each in later)
    for since_s, subjects in ((3600, [first]), (0, [])):
        params = {"subject": first, "since_s": since_s}
        recent = reader.get(f"{API}/events", params=params).json()["events"]
        assert [each["subject"] for each in recent] == subjects
    assert project


def test_events_need_the_scope_read(daemon):
    answer = daemon.http.get(f"{API}/events")
    assert (answer.status_code, answer.json()["title"]) == (403, "Not permitted")
    assert httpx2.get(f"{daemon.url}{API}/events").status_code == 401


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "after=-1", "follow=yes", "since=1", "since_s=x"]
)
def test_a_filter_that_is_not_understood_is_refused(reader, query):
    assert reader.get(f"{API}/events?{query}").status_code == 400


def test_events_are_followed_as_they_happen(pool, reader):
    last = reader.get(f"{API}/events", params={"limit": 1}).json()["events"][0]["id"]
    headers = {"Last-Event-ID": str(last)}
    with reader.stream("GET", f"{API}/events", params={"follow": "true"}, headers=headers) as told:
        assert told.headers["content-type"] == "text/event-stream"
        lines = (line.removeprefix("data: ") for line in told.iter_lines() if "data: " in line)
        seen = [last]
        for name in (unique("key"), unique("key")):
            pool.add(keys=(name,))
            subject = ""
            while subject != name:
                event = json.loads(next(lines))
                subject = event["subject"]
                seen.append(event["id"])
    assert seen == sorted(set(seen))
    assert reader.get(f"{API}/events", params={"limit": 1}).status_code == 200


def test_the_dashboard_loads_nothing_and_runs_only_its_own_script(daemon):
    answer = httpx2.get(daemon.url + "/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    for word in ("default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'"):
        assert word in policy
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert re.findall(r"(?:src|href)=|url\(|@import|style=|\son\w+=", answer.text) == []
    assert "innerHTML" not in answer.text
    assert not re.search(r"localStorage|sessionStorage|cookie", answer.text)


READ = ("/", "/healthz", "/readyz", "/metrics", f"{API}/openapi.json")


@pytest.mark.parametrize("path", READ)
def test_what_is_read_can_be_asked_for_its_head_but_nothing_else(daemon, path):
    head = daemon.client(None).head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == daemon.client(None).get(path).headers["content-type"]
    for method in ("POST", "PUT", "TRACE"):
        answer = daemon.client(None).request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_whichever_worker_is_asked_tells_of_all(tmp_path):
    with a_home(tmp_path) as home:
        home.add_project("p")
        with home.daemon(workers=2) as daemon:

            def leases():
                return value(scraped(daemon), "leases_total", project="p", model=FLASH)

            for _ in range(20):
                # A connection each, so that both workers get some.
                answer = httpx2.post(
                    f"{daemon.url}{API}/leases",
                    json={"model": FLASH, "tokens": 1},
                    headers={"Authorization": f"Bearer {home.token}"},
                )
                assert answer.status_code == 201
            eventually(lambda: leases() == 20)
            assert [leases() for _ in range(10)] == [20] * 10
