"""Taking a model that is no longer used out of the live store; see ``lua/load.lua``."""

from collections.abc import Sequence

from keypool_cli.engine.engine import LOAD_CHUNK, SKIM_CHUNK, Engine
from keypool_cli.engine.keyspace import MODELS, tag

_PLAIN = (
    "epoch", "blocked", "stale", "leases", "waiter", "ticket", "members", "rebuilt", "used_at",
    "vouched", "clock",
)  # fmt: skip
_OF_A_POOL = ("members", "line", "sizes", "turns", "holder")
_OF_A_CLIENT = ("state:c", "ring:c")


async def is_over(engine: Engine, model: str, clients: Sequence[int], *, since_ms: int) -> bool:
    """Whether nothing known of the model counts any more, and nothing changed since an instant."""
    states = [*map(str, sorted(await engine.members(model))), *(f"c{each}" for each in clients)]
    for start in range(0, len(states), SKIM_CHUNK):
        chunk = states[start : start + SKIM_CHUNK]
        if not await engine.is_over(model, chunk, since_ms=since_ms):
            return False
    return True


async def remove_projects(engine: Engine, model: str, token: str) -> bool:
    """Remove every project, after :meth:`Engine.leave`; False once the right was lost."""
    ids = sorted(await engine.members(model))
    for start in range(0, len(ids), LOAD_CHUNK):
        if not await engine.forget(model, token, ids[start : start + LOAD_CHUNK], []):
            return False
    return True


async def remove_rest(
    engine: Engine, model: str, token: str, *, pools: Sequence[int], clients: Sequence[int]
) -> None:
    """Remove what is left of the model, and its name from the list of those that are loaded."""
    names = [
        *_PLAIN,
        *(f"{name}:{each}" for name in _OF_A_POOL for each in pools),
        *(f"{name}{each}" for name in _OF_A_CLIENT for each in clients),
    ]
    client = engine.store.client
    if await engine.forget(model, token, [], names):
        with engine.store.errors():
            await client.srem(MODELS, model)
            # Without the right, it may have been loaded again by whoever had it after us.
            if await client.get(f"{tag(model)}:loading") != token.encode():
                await client.sadd(MODELS, model)
