"""The audit log, followed."""

import asyncio

import pytest

from keypool_cli.core.model import Secret
from keypool_cli.errors import UnreachableError
from keypool_cli.registry.values import EventFilter, NewKey
from keypool_cli.service.events import POLL_S, follow_events
from tests.support.registry import BY


def add(ports, name):
    key = NewKey(name=name, secret=Secret(f"secret-{name}"), project="p1")
    ports.registry.keys.add(key, by=BY)


@pytest.fixture
def outage(ports, home, tmp_path):
    """Take the database away, and bring it back."""
    file, aside = home.path / "keypool.db", tmp_path / "aside.db"

    def begin():
        ports.registry.close()
        file.rename(aside)
        file.mkdir()  # so that no new one is made either

    def end():
        file.rmdir()
        aside.rename(file)

    return begin, end


async def test_one_that_follows_misses_nothing_of_an_outage(ports, outage):
    begin, end = outage
    heard = asyncio.Event()
    add(ports, "k1")
    told = []

    def away(err):
        told.append(err)
        heard.set()

    following = follow_events(ports, EventFilter(kind="key."), away=away)
    assert (await anext(following)).subject == "k1"
    begin()
    coming = asyncio.ensure_future(anext(following))
    await asyncio.wait_for(heard.wait(), 20)
    end()
    add(ports, "k2")
    assert (await asyncio.wait_for(coming, 20)).subject == "k2"
    assert len(told) == 1


async def test_one_that_goes_on_where_nothing_has_happened_since_hears_nothing_twice(ports):
    add(ports, "k1")
    last = ports.registry.events.read()[-1].id
    following = follow_events(ports, EventFilter(after_id=last))
    coming = asyncio.ensure_future(anext(following))
    await asyncio.sleep(2 * POLL_S)
    add(ports, "k2")
    assert (await asyncio.wait_for(coming, 20)).subject == "k2"


async def test_who_does_not_want_to_wait_gets_the_error(ports, outage):
    begin, end = outage
    add(ports, "k1")
    following = follow_events(ports, EventFilter(kind="key."))
    await anext(following)
    begin()
    with pytest.raises(UnreachableError):
        await asyncio.wait_for(anext(following), 20)
    end()
