"""Who makes a change knows which revisions are its own."""

import asyncio

from keypool_cli.core.model import Secret
from keypool_cli.registry.change import noting_revisions
from keypool_cli.registry.values import NewKey, Reset
from tests.support.registry import BY


async def test_the_revisions_made_meanwhile_are_noted_and_no_others(registry):
    registry.projects.create("before", by=BY)
    with noting_revisions() as made:
        await asyncio.to_thread(registry.projects.create, "p", by=BY)
        registry.keys.add_many([NewKey("k", Secret("s"), "p")], by=BY)
        registry.keys.add_many([NewKey("k2", Secret("s2"), "p")], by=BY, dry_run=True)
        registry.marks.reset(Reset([]), by=BY, dry_run=True)
        registry.projects.set("p", by=BY, priority=0)
    registry.projects.create("after", by=BY)
    assert made == [2, 3]
