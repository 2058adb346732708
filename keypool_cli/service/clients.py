"""Clients of the daemon: added with a token, listed, revoked."""

from functools import partial

import msgspec

from keypool_cli.core.model import Client, Secret
from keypool_cli.core.natural import natural
from keypool_cli.registry.values import Actor, NewClient
from keypool_cli.service.changing import changing
from keypool_cli.service.instants import iso, iso_or_none, now_ms
from keypool_cli.service.ports import Ports


class ClientView(msgspec.Struct, frozen=True):
    """A client; its token is not kept. state: active, expired or revoked."""

    name: str
    state: str
    pools: list[str] | None
    models: list[str] | None
    scopes: list[str]
    rpm: int | None
    tpm: int | None
    reports: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None


async def list_clients(ports: Ports) -> list[ClientView]:
    """Every client, revoked ones among them, by name."""
    catalog = await ports.call(ports.registry.catalog)
    return [_view(each) for each in sorted(catalog.clients.values(), key=lambda c: natural(c.name))]


async def show_client(ports: Ports, name: str) -> ClientView:
    """The client of this name. Raises NotFoundError."""
    return _view(await ports.call(ports.registry.clients.find, name))


async def add_client(ports: Ports, new: NewClient, *, by: Actor) -> tuple[ClientView, Secret]:
    """Add a client for pools that exist; its token is never told again."""
    for pool in new.pools or ():
        await ports.call(ports.registry.pools.find, pool)
    client, token = await changing(ports, partial(ports.registry.clients.add, new, by=by))
    return _view(client), token


async def revoke_client(ports: Ports, name: str, *, by: Actor) -> ClientView:
    """Refuse a client's token from now on."""
    return _view(await changing(ports, partial(ports.registry.clients.revoke, name, by=by)))


def _view(client: Client) -> ClientView:
    return ClientView(
        name=client.name,
        state=_state(client, now_ms()),
        pools=None if client.pools is None else list(client.pools),
        models=None if client.models is None else list(client.models),
        scopes=list(client.scopes),
        rpm=client.rpm,
        tpm=client.tpm,
        reports=client.reports,
        created_at=iso(client.created_at_ms),
        expires_at=iso_or_none(client.expires_at_ms),
        last_used_at=iso_or_none(client.last_used_at_ms),
        revoked_at=iso_or_none(client.revoked_at_ms),
    )


def _state(client: Client, at_ms: int) -> str:
    if client.revoked_at_ms is not None:
        return "revoked"
    expired = client.expires_at_ms is not None and client.expires_at_ms <= at_ms
    return "expired" if expired else "active"
