"""Why no project of a pool can be used, in the words a client is told."""

import pytest

from keypool_cli.core.model import Secret
from keypool_cli.registry.values import Actor, DeadKey, NewKey, QuotaScope, Refusal
from keypool_cli.service.configured import Configured
from keypool_cli.service.explaining import why_unusable

BY = Actor("amal", "host-1")
M = "model-a"


@pytest.fixture
def told(ports):
    """What is told of one project with two keys, once something was done to it."""
    registry = ports.registry
    for name in ("k1", "k2"):
        registry.keys.add(NewKey(name, Secret(f"secret-{name}"), "p1"), by=BY)

    def why(*deeds):
        for deed in deeds:
            deed(registry)
        configured = Configured(registry.catalog(), {})
        return why_unusable(configured, [configured.projects["p1"].id], M)

    return why


def dies(name):
    def deed(registry):
        dead = DeadKey(registry.keys.find(name).id, "key-leaked", f"{name} was leaked")
        registry.marks.record([Refusal(name, dead_keys=(dead,))], by=BY)

    return deed


def is_disabled(name):
    return lambda registry: registry.keys.disable(name, by=BY)


def offers_nothing(registry):
    registry.quotas.set(QuotaScope(project="p1", model=M), {"rpd": 0}, by=BY)


def rests(registry):
    registry.projects.set("p1", by=BY, enabled=False)


@pytest.mark.parametrize(
    ("deeds", "reason"),
    [
        pytest.param((is_disabled("k1"), is_disabled("k2")), "its keys are disabled", id="keys"),
        pytest.param((dies("k1"), is_disabled("k2")), "k1 was leaked", id="a dead key, no other"),
        pytest.param((dies("k1"), offers_nothing), "its quota is 0", id="not for a dead key"),
        pytest.param((rests,), "disabled by an operator", id="the project"),
    ],
)
async def test_what_stops_a_project_is_told(told, deeds, reason):
    assert told(*deeds) == f"p1: {reason}"
