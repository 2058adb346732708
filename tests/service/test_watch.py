"""A daemon's view of the registry: every secret at hand, and nobody held up for it."""

import asyncio

from keypool_cli.core.model import Secret
from keypool_cli.registry.values import NewKey
from keypool_cli.service.sync import read_configured
from keypool_cli.service.watch import Watch
from tests.support.registry import BY

COUNT = 3000


async def test_looking_for_new_secrets_among_many_lets_others_go_first(ports):
    news = [NewKey(f"k{each}", Secret(f"secret-{each}"), "p1") for each in range(COUNT)]
    ports.registry.keys.add_many(news, by=BY)
    watch = Watch(ports, await read_configured(ports))
    await watch._unseal_new()
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    await watch._unseal_new()
    beside.cancel()
    assert turns >= COUNT / 1000
    ports.registry.keys.rotate("k7", Secret("another"), by=BY)
    await watch.refresh()
    await watch._unseal_new()
    known = {watch.known_secret(each) for each in watch.configured.catalog.keys}
    wanted = {f"secret-{each}" for each in range(COUNT) if each != 7} | {"another"}
    assert {each.text for each in known if each is not None} == wanted
