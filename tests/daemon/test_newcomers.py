"""A client may ask for models that nobody configured, but not for ever more of them."""

import pytest

from keypool_cli.core.model import Catalog, Project
from keypool_cli.registry.values import QuotaScope
from keypool_cli.service.configured import Configured
from keypool_cli.service.newcomers import MOST, Newcomers
from tests.support.daemon import API, BY, FLASH, a_home, eventually

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with a_home(tmp_path_factory.mktemp("newcomers")) as made, made.staying_open():
        made.add_project("p")
        yield made


@pytest.fixture
def daemon(home):
    with home.daemon() as running:
        yield running


def explained(http, model):
    params = {"model": model, "tokens": 1}
    return http.get(f"{API}/explain", params=params).status_code


def test_a_client_that_invents_models_is_refused_once_there_are_many(home, daemon):
    token = home.add_client()
    flood = daemon.known(token)
    for number in range(MOST - 1):
        assert daemon.lease(flood, model=f"invented-{number}").status_code == 201
    assert explained(flood, "the-last") == 200
    refused = daemon.lease(flood, model="one-more")
    assert (refused.status_code, refused.json()["title"]) == (403, "Not permitted")
    assert "keypool quota set --model" in refused.json()["detail"]
    assert explained(flood, "one-more") == 403
    path = "/v1beta/models/one-more:generateContent"
    proxied = daemon.client(None).post(path, json={}, headers={"x-goog-api-key": token})
    assert proxied.status_code == 403
    assert proxied.json()["error"]["status"] == "PERMISSION_DENIED"
    # What it has asked for before, and what is known, is served; and others are not concerned.
    for model in ("invented-7", "the-last", FLASH):
        assert daemon.lease(flood, model=model).status_code == 201
    assert daemon.lease(model="one-more").status_code == 201
    # An operator may name it.
    home.change(
        lambda registry: registry.quotas.set(QuotaScope(model="one-more"), {"rpm": 5}, by=BY),
        touched=lambda _: [1],
    )
    eventually(lambda: daemon.lease(flood, model="one-more").status_code == 201)


def a_registry(projects):
    """As much of a registry as counts here."""
    held = dict.fromkeys(range(projects), Project(1, "p"))
    return Configured(Catalog(1, held, {}, {}, (), (), {}, {}))


@pytest.mark.parametrize(
    ("projects", "most"), [(0, 100), (10_000, 100), (50_000, 20), (100_000, 10), (10**6, 10)]
)
def test_in_a_large_registry_they_are_fewer(projects, most):
    newcomers, registry = Newcomers(), a_registry(projects)
    for number in range(most):
        newcomers.check(None, f"m{number}", registry)
    with pytest.raises(Exception, match="too many models"):
        newcomers.check(None, "one more", registry)


def test_the_next_day_there_may_be_others(monkeypatch):
    newcomers, registry = Newcomers(), a_registry(10**6)
    for day in (1, 2, 3):
        monkeypatch.setattr("keypool_cli.service.newcomers.monotonic", lambda d=day: d * 86_401.0)
        for number in range(10):
            newcomers.check(None, f"m{day}-{number}", registry)
