"""Limits: listed, set by an operator, taken back."""

from collections.abc import Callable, Collection, Mapping
from operator import itemgetter
from typing import TypeVar

import msgspec

from keypool_cli.core.model import DIMENSIONS, Project, Provenance, QuotaRow
from keypool_cli.core.natural import natural
from keypool_cli.core.quota import shown, shown_limits
from keypool_cli.core.tiers import all_defaults
from keypool_cli.registry.values import Actor, QuotaScope
from keypool_cli.service.changing import changing
from keypool_cli.service.configured import Configured
from keypool_cli.service.instants import iso
from keypool_cli.service.ports import Ports
from keypool_cli.service.sync import read_configured

T = TypeVar("T")


class QuotaView(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits set or learned at one scope; a dimension that is absent is not spoken of.

    project and tier: at most one is set, neither means every project. model None: every model.
    """

    provenance: str
    at: str
    project: str | None = None
    tier: str | None = None
    model: str | None = None
    rpm: int | str | None = None
    tpm: int | str | None = None
    rpd: int | str | None = None
    in_flight: int | str | None = None


async def list_quotas(ports: Ports) -> list[QuotaView]:
    """Every row, the most general first."""
    configured = await read_configured(ports)
    views = [_view(configured, row) for row in configured.catalog.quotas]
    return sorted(views, key=_by_name)


def _by_name(view: QuotaView) -> tuple[str, ...]:
    names = view.project, view.tier, view.model
    return (*(natural(each or "") for each in names), view.provenance)


def default_quotas() -> list[QuotaView]:
    """What is assumed of each tier, as rows; ``at``: when it was last seen."""
    return [
        QuotaView(
            provenance=Provenance.DEFAULT.value,
            at=iso(limits.at_ms),
            tier=tier,
            model=model,
            rpm=shown(limits.rpm),
            tpm=shown(limits.tpm),
            rpd=shown(limits.rpd),
        )
        for tier, model, limits in all_defaults()
    ]


async def set_quota(
    ports: Ports, scope: QuotaScope, values: Mapping[str, int], *, by: Actor
) -> QuotaView:
    """Set limits at a scope, other dimensions stay; answers the whole row."""
    row = await _changing(
        ports, lambda: ports.registry.quotas.set(scope, values, by=by), scope=scope
    )
    return _view(await read_configured(ports), row)


async def unset_quota(
    ports: Ports, scope: QuotaScope, dimensions: Collection[str], *, by: Actor
) -> tuple[QuotaView, QuotaView | None]:
    """Take back limits at exactly this scope (all of them if none is named); before and after."""
    chosen = dimensions or DIMENSIONS
    removed = await _changing(
        ports, lambda: ports.registry.quotas.unset(scope, chosen, by=by), scope=scope
    )
    configured = await read_configured(ports)
    after = None if removed.after is None else _view(configured, removed.after)
    return _view(configured, removed.before), after


async def may_unset(
    ports: Ports, scope: QuotaScope, dimensions: Collection[str], *, learned: bool, by: Actor
) -> bool:
    """Whether there is anything to take back; raises what taking it back would."""
    quotas = ports.registry.quotas
    if learned:
        return bool(await ports.call(quotas.unset_learned, scope, by=by, dry_run=True))
    await ports.call(quotas.unset, scope, dimensions or DIMENSIONS, by=by, dry_run=True)
    return True


async def forget_learned(ports: Ports, scope: QuotaScope, *, by: Actor) -> list[QuotaView]:
    """Forget what refusals taught of a scope; answers the rows that were removed."""
    rows = await _changing(
        ports, lambda: ports.registry.quotas.unset_learned(scope, by=by), scope=scope
    )
    configured = await read_configured(ports)
    return [_view(configured, row) for row in rows]


async def _changing(ports: Ports, change: Callable[[], T], *, scope: QuotaScope) -> T:
    def changed() -> tuple[T, list[int]]:
        result = change()
        projects = ports.registry.catalog().projects.values() if ports.live else ()
        return result, [each.id for each in projects if _covers(scope, each)]

    result, _ = await changing(ports, changed, touched=itemgetter(1))
    return result


def _covers(scope: QuotaScope, project: Project) -> bool:
    # A tier's text may be written otherwise than it is stored: then every project is loaded.
    return scope.project in {None, project.name}


def _view(configured: Configured, row: QuotaRow) -> QuotaView:
    project = configured.catalog.projects.get(row.project_id or 0)
    return QuotaView(
        provenance=row.provenance.value,
        at=iso(row.at_ms),
        project=project.name if project else None,
        tier=row.tier,
        model=row.model,
        **shown_limits(row),
    )
