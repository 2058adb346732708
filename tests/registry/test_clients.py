"""Clients: a token is shown once, kept as a hash, and refused once revoked."""

from contextlib import closing

import pytest

from keypool_cli.errors import ConflictError, NotFoundError, UsageError
from keypool_cli.registry.clients import token_hash
from keypool_cli.registry.repository import Registry
from keypool_cli.registry.values import NewClient
from tests.support.registry import BY, client_of

APP = NewClient("app", pools=("main",), models=("models/m",), rpm=5, expires_at_ms=10**13)


def test_a_client_is_found_by_its_token(registry):
    client, token = registry.clients.add(APP, by=BY)
    assert token.text.startswith("kp_")
    assert len(token.text) >= 3 + 22  # 22 characters of base64 are 132 bits
    assert (client.pools, client.models, client.rpm) == (("main",), ("m",), 5)
    assert client_of(registry, token.text) == client == registry.clients.find("app")
    assert client_of(registry, token.text + "x") is None
    assert registry.clients.token_hashes() == {token_hash(token.text): client.id}
    assert registry.catalog().clients == {client.id: client}


def test_a_client_may_be_free_of_pools_and_models(registry):
    client, _ = registry.clients.add(NewClient("app"), by=BY)
    assert (client.pools, client.models) == (None, None)


def test_a_token_is_kept_nowhere(sqlite_url, tmp_path):
    with closing(Registry.open(sqlite_url, master_key=None)) as registry:
        _, token = registry.clients.add(APP, by=BY)
        held = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert token.text not in str(registry.events.read())
    assert token_hash(token.text).encode() in held
    assert token.text.encode() not in held


def test_a_revoked_token_is_refused_and_its_name_not_used_again(registry, clock):
    _, token = registry.clients.add(APP, by=BY)
    revoked = registry.clients.revoke("app", by=BY)
    clock.now_ms += 5
    assert registry.clients.revoke("app", by=BY) == revoked
    assert client_of(registry, token.text) is None
    assert registry.clients.token_hashes() == {}
    with pytest.raises(ConflictError):
        registry.clients.add(APP, by=BY)
    with pytest.raises(NotFoundError):
        registry.clients.revoke("nope", by=BY)


def test_the_last_use_only_moves_forward(registry):
    client, _ = registry.clients.add(APP, by=BY)
    before = registry.revision()
    for at_ms in (5, 9, 7):
        registry.clients.used({client.id: at_ms})
    assert registry.clients.find("app").last_used_at_ms == 9
    assert registry.revision() == before


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"scopes": ("lease", "root")},
        {"scopes": ()},
        {"reports": "none"},
        {"rpm": -1},
        {"pools": ("",)},
        {"name": "daemon"},  # its word would be taken for the daemon's own
    ],
    ids=str,
)
def test_malformed_clients_are_refused(registry, fields):
    with pytest.raises(UsageError):
        registry.clients.add(NewClient(**({"name": "app"} | fields)), by=BY)
