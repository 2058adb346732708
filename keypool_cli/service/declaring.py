"""What is configured, in the form of a declaration: what ``apply`` would find nothing to change in.

Secrets, tokens and what refusals taught are not in it.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from keypool_cli.config.urls import HIDDEN
from keypool_cli.core.model import DIMENSIONS, Client, Key, KeyState, Pool, Project, QuotaRow
from keypool_cli.core.natural import natural
from keypool_cli.core.quota import shown
from keypool_cli.registry.values import QuotaScope
from keypool_cli.service.applying import Current
from keypool_cli.service.configured import Configured
from keypool_cli.service.ports import Ports

T = TypeVar("T")

Entry = Mapping[str, object]
Section = Mapping[str, Entry] | list[Entry]
"""Entries by name; of limits, which have none, a list."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def declared_now(ports: Ports) -> dict[str, Section]:
    """The sections of a declaration of everything that is configured now."""
    return declaration(Current(Configured(await ports.call(ports.registry.catalog)), {}))


def declaration(current: Current) -> dict[str, Section]:
    """The sections of a declaration of everything in ``current``, by name."""
    found = current.configured
    clients = {n: each for n, each in current.clients().items() if each.revoked_at_ms is None}
    limits = sorted(current.quotas().items(), key=lambda each: natural(each[0].place))
    return {
        "pools": {name: _pool(each) for name, each in _in_order(found.pools)},
        "projects": {name: _project(found, each) for name, each in _in_order(found.projects)},
        "keys": {name: _key(found, each) for name, each in _in_order(found.keys)},
        "quotas": [_limits(scope, row) for scope, row in limits],
        "clients": {name: _client(each) for name, each in _in_order(clients)},
    }


def _in_order(found: Mapping[str, T]) -> Iterable[tuple[str, T]]:
    return sorted(found.items(), key=lambda each: natural(each[0]))


def _said(**fields: object) -> Entry:
    return {name: value for name, value in fields.items() if value is not None}


def _pool(pool: Pool) -> Entry:
    return _said(
        policy=str(pool.policy), wait_s=pool.wait_s, shared_resources=pool.shared_resources
    )


def _project(found: Configured, project: Project) -> Entry:
    proxy = project.egress_proxy
    return _said(
        tier=project.tier,
        priority=project.priority,
        billing_account=project.billing_account,
        labels=dict(project.labels) or None,
        enabled=project.enabled,
        egress_proxy=None if proxy is None or HIDDEN in proxy else proxy,
        pools=sorted(each.name for each in found.pools_of.get(project.id, ())),
    )


def _key(found: Configured, key: Key) -> Entry:
    """A dead key is neither enabled nor disabled: only another secret makes it ready."""
    return _said(
        project=found.catalog.projects[key.project_id].name,
        labels=dict(key.labels) or None,
        enabled=None if key.state is KeyState.DEAD else key.state is KeyState.READY,
    )


def _limits(scope: QuotaScope, row: QuotaRow) -> Entry:
    values = {name: shown(getattr(row, name)) for name in DIMENSIONS}
    return _said(project=scope.project, tier=scope.tier, model=scope.model, **values)


def _client(client: Client) -> Entry:
    ends = client.expires_at_ms
    return _said(
        pools=None if client.pools is None else sorted(client.pools),
        models=None if client.models is None else sorted(client.models),
        scopes=sorted(client.scopes),
        rpm=client.rpm,
        tpm=client.tpm,
        reports=client.reports,
        expires=None if ends is None else _EPOCH + timedelta(milliseconds=ends),
        token_file=f"{client.name.replace('/', '_')}.token",
    )
