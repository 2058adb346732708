"""What is configured, in the form of a declaration: what ``apply`` would find nothing to change in.

Secrets, tokens and what refusals taught are not in it.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from keypool_cli.config.urls import HIDDEN
from keypool_cli.core.model import Client, Key, KeyState, Project, QuotaRow
from keypool_cli.core.natural import natural
from keypool_cli.core.quota import shown_limits
from keypool_cli.registry.values import QuotaScope
from keypool_cli.service.applying import Current, client_fields, pool_fields, project_fields, said
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
        "pools": {name: pool_fields(each) for name, each in _in_order(found.pools)},
        "projects": {name: _project(found, each) for name, each in _in_order(found.projects)},
        "keys": {name: _key(found, each) for name, each in _in_order(found.keys)},
        "quotas": [_limits(scope, row) for scope, row in limits],
        "clients": {name: _client(each) for name, each in _in_order(clients)},
    }


def _in_order(found: Mapping[str, T]) -> Iterable[tuple[str, T]]:
    return sorted(found.items(), key=lambda each: natural(each[0]))


def _project(found: Configured, project: Project) -> Entry:
    fields = project_fields(found, project)
    fields["labels"] = fields["labels"] or None
    if HIDDEN in (project.egress_proxy or ""):
        del fields["egress_proxy"]
    return said(fields)


def _key(found: Configured, key: Key) -> Entry:
    """A dead key is neither enabled nor disabled: only another secret makes it ready."""
    fields = {
        "project": found.catalog.projects[key.project_id].name,
        "labels": dict(key.labels) or None,
        "enabled": None if key.state is KeyState.DEAD else key.state is KeyState.READY,
    }
    return said(fields)


def _limits(scope: QuotaScope, row: QuotaRow) -> Entry:
    place = {"project": scope.project, "tier": scope.tier, "model": scope.model}
    return said({**place, **shown_limits(row)})


def _client(client: Client) -> Entry:
    fields, ends = client_fields(client), client.expires_at_ms
    del fields["expires_at_ms"]
    fields["expires"] = None if ends is None else _EPOCH + timedelta(milliseconds=ends)
    return said({**fields, "token_file": f"{client.name.replace('/', '_')}.token"})
