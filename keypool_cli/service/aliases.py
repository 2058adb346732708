"""Names of models that upstream counts as another: what was booked under them counts there."""

from collections.abc import Mapping

from keypool_cli.service.configured import Configured
from keypool_cli.service.ports import Ports
from keypool_cli.service.sync import sync_model


async def adopt_aliases(ports: Ports, known: Mapping[str, str], configured: Configured) -> None:
    """Count on its bucket model what was booked under a name now known as its alias.

    known: the aliases before. Calls of other daemons that do not know a new one yet are booked
    under the old name until they hear of it.
    """
    for name, model in configured.catalog.aliases.items() - known.items():
        await sync_model(ports, model, configured)
        ids = sorted(await ports.engine.members(name) & await ports.engine.members(model))
        found = await ports.engine.snapshot(name, ids)
        if used := [each for each in found.views if each.requests or each.day_requests]:
            await ports.engine.adopt(model, used)
