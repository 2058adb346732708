"""The models in use, also while the node of a cluster that lists them is away."""

from collections.abc import Awaitable, Callable, Iterable

from keypool_cli.engine.engine import Engine
from keypool_cli.errors import UnreachableError
from keypool_cli.service.ports import Ports


async def models_from(
    engine: Engine, otherwise: Callable[[], Awaitable[Iterable[str]]]
) -> list[str]:
    """The bucket models that have been loaded, sorted. otherwise: how SQL is asked for them."""
    if await engine.lists_models():
        return await engine.models()
    return sorted(await otherwise())


async def models_in_reach(ports: Ports) -> tuple[list[str], dict[str, UnreachableError]]:
    """The models in use whose node answers, and why those of the others do not."""
    models = await loaded_models(ports)
    away = await ports.engine.away(models)
    return [each for each in models if each not in away], away


async def loaded_models(ports: Ports) -> list[str]:
    """The same for who has the registry at hand."""
    return await models_from(ports.engine, lambda: ports.call(ports.registry.live_epochs.all))
