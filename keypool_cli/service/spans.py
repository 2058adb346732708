"""The spans of windows: daemons bring them, and every model that is loaded has to follow."""

from keypool_cli.service.configured import Configured
from keypool_cli.service.loaded import models_in_reach
from keypool_cli.service.ports import Ports
from keypool_cli.service.sync import reload


async def put_in_force(ports: Ports, configured: Configured) -> None:
    """Make this daemon's spans those of all models, where others were in force."""
    engine = ports.engine
    if await engine.told_times() not in {None, engine.times}:
        there, _ = await models_in_reach(ports)
        for model in there:
            await _follow(ports, model, configured)


async def _follow(ports: Ports, model: str, configured: Configured) -> None:
    epoch = await ports.engine.epoch(model)
    loaded = (await ports.engine.snapshot(model, [])).revision >= 0
    if epoch is None or not loaded:
        return
    await reload(ports, model, configured, distrusted=False)
    pools = configured.live_pools()
    await ports.engine.seal(model, revision=configured.revision, pools=pools, epoch=epoch)
