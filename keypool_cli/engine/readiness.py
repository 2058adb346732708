"""Whether the live store does what granting takes, tried on names that no model has."""

import asyncio

from keypool_cli.engine.engine import Engine
from keypool_cli.engine.keyspace import tag
from keypool_cli.errors import UnreachableError


async def serves(engine: Engine) -> bool:
    """Raise UnreachableError unless the store takes writes, and its clock is about ours.

    Of a cluster one node that does is enough, for its models are served; False then.
    """
    names = engine.parts.one_model_each()
    away = await engine.away(names)
    tried = await asyncio.gather(*(_trouble(engine, each) for each in names if each not in away))
    troubles = [*away.values(), *filter(None, tried)]
    if len(troubles) == len(names):
        raise troubles[0]
    return not troubles


async def _trouble(engine: Engine, model: str) -> UnreachableError | None:
    """What keeps the part of the store that has a model from serving."""
    try:
        with engine.store.errors():
            await engine.store.call("SET", f"{tag(model)}:probe", 1, "PX", 1)
        await engine.snapshot(model, ())
    except UnreachableError as err:
        return err
    return None
