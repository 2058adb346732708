"""``doctor``: everything that an operator would look at first, with what to do about each."""

import asyncio

from keypool_cli.config import Settings, misspelt
from keypool_cli.core.model import Catalog, Event, KeyState, Secret
from keypool_cli.errors import KeypoolError
from keypool_cli.registry import database
from keypool_cli.registry.repository import Registry
from keypool_cli.registry.values import EventFilter
from keypool_cli.service.doctor_files import file_findings, is_made
from keypool_cli.service.doctor_finding import Finding, note, warning
from keypool_cli.service.doctor_quota import configured_findings, numbers_told, shared_findings
from keypool_cli.service.doctor_registry import Examined, examine
from keypool_cli.service.doctor_store import store_findings
from keypool_cli.service.doctor_upstream import proofs, upstream_findings


async def diagnose(settings: Settings, *, offline: bool = False) -> list[Finding]:
    """Look at everything; nothing is changed, and no error of one part hides another.

    offline: nothing is asked of upstream.
    """
    files = _files(settings)  # first: opening the database closes its file to others
    examined = await asyncio.to_thread(examine, settings)
    found = [
        *_variables(),
        *files,
        *examined.findings,
        *await _store(settings),
        *([] if offline else await upstream_findings(settings)),
    ]
    if examined.catalog is not None:
        found += configured_findings(examined.catalog)
        found += shared_findings(await _proofs(settings, examined, offline=offline))
    return found


def _variables() -> list[Finding]:
    return [
        warning("settings", f"{name} is set, and sets nothing", f"if {meant} is meant: rename it")
        for name, meant in misspelt().items()
    ]


def _files(settings: Settings) -> list[Finding]:
    if is_made(settings.home):
        return file_findings(settings)
    return [note("home", f"{settings.home} is not made yet")]


async def _store(settings: Settings) -> list[Finding]:
    """The live store; an embedded one only where there is a home to start it in."""
    if settings.redis_url is None and not is_made(settings.home):
        return []
    return await store_findings(settings)


async def _proofs(settings: Settings, examined: Examined, *, offline: bool) -> dict[str, set[str]]:
    """What tells which of Google's projects each of ours is."""
    catalog, secrets = examined.catalog, examined.secrets
    if catalog is None or len(catalog.projects) < 2:
        return {}
    found = numbers_told(catalog, await asyncio.to_thread(_refusals, settings))
    if not offline and secrets:
        for name, things in (await proofs(settings, _one_each(catalog, secrets))).items():
            found.setdefault(name, set()).update(things)
    return found


def _one_each(catalog: Catalog, secrets: dict[int, Secret]) -> dict[str, Secret]:
    """A usable key's secret of each project; none whose calls must leave through a proxy."""
    return {
        catalog.projects[key.project_id].name: secrets[key.id]
        for key in catalog.keys.values()
        if key.state is KeyState.READY
        and key.id in secrets
        and catalog.projects[key.project_id].egress_sealed is None
    }


def _refusals(settings: Settings) -> list[Event]:
    try:
        db = database.connect(settings.database_url)
    except KeypoolError:
        return []
    try:
        return Registry(db, None).events.read(EventFilter(kind="refusal"))
    finally:
        db.close()
