"""What ``top`` shows, as of one moment: how the pools stand, and what the daemons say."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from keypool_cli.engine.engine import Engine
from keypool_cli.service.configured import Configured
from keypool_cli.service.instances import INSTANCES, InstanceView, read_instances
from keypool_cli.service.standing import ProjectStatus, Status
from keypool_cli.service.status import stand


class Top(msgspec.Struct, frozen=True):
    """One moment. leases: open now. leases_per_s: granted, by all daemons.

    queue: demands that wait, by model. errors: upstream's of the last minute, by the rule that
    explains them. refused: demands without room in the last minute, by the limit that lacked it.
    unreported: why what the daemons say of themselves cannot be read.
    """

    status: Status
    projects: Sequence[ProjectStatus]
    leases: int
    leases_per_s: float
    queue: Mapping[str, int]
    errors: Mapping[str, int]
    refused: Mapping[str, int]
    instances: Sequence[InstanceView]
    unreported: str | None = None


async def read_top(
    engine: Engine,
    configured: Configured,
    *,
    pools: Sequence[str],
    models: Sequence[str],
) -> Top:
    """How the named pools (all when none is named) stand now. Raises NotFoundError.

    models: those in use.
    """
    status = await stand(engine, configured, pools=pools, models=models)
    silenced = [str(err) for err in (await engine.parts.away([INSTANCES])).values()]
    instances = [] if silenced else await read_instances(engine)
    alive = [each for each in instances if each.reporting]
    unread = {each.model for each in status.unread}
    queue = {model: await engine.queued(model) for model in models if model not in unread}
    # A project in several pools is shown once.
    projects = {each.project: each for pool in status.pools for each in pool.projects}
    return Top(
        status=status,
        projects=list(projects.values()),
        leases=sum(model.leases for each in projects.values() for model in each.models),
        leases_per_s=sum(each.leases_per_s for each in alive),
        queue={model: count for model, count in queue.items() if count},
        errors=_sum(each.errors for each in alive),
        refused=_sum(each.refused for each in alive),
        instances=instances,
        unreported=next(iter(silenced), None),
    )


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    whole = Counter[str]()
    for each in counts:
        whole.update(each)
    return dict(whole.most_common())
