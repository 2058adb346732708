"""Which project a resource is in: remembered also when the database was away as it was made."""

import asyncio
from collections.abc import Collection
from typing import Any, cast

import pytest

from keypool_cli.errors import UnreachableError
from keypool_cli.registry.resources import Resource
from keypool_cli.service import repeating
from keypool_cli.service import resources as resources_module
from keypool_cli.service.resources import Resources


class _Database:
    """Keeps in memory what a registry keeps in SQL; away as long as it is told."""

    def __init__(self) -> None:
        self.away = True
        self.kept: dict[str, int] = {}
        self.registry = self
        self.resources = self

    async def call(self, work: Any, *words: Any, **named: Any) -> Any:
        await asyncio.sleep(0)
        if self.away:
            raise UnreachableError("away")
        return work(*words, **named)

    def keep(self, found: Collection[Resource], *, made: bool) -> None:
        for each in found:
            if made or each.name not in self.kept:
                self.kept[each.name] = each.project_id


class _Lookup:
    def learn(self, names: Collection[str]) -> None:
        pass


@pytest.fixture
def database(monkeypatch):
    monkeypatch.setattr(resources_module, "pauses", lambda: iter(lambda: 0.001, None))
    return _Database()


@pytest.fixture
def resources(database):
    return Resources(database, cast(Any, None), cast(Any, _Lookup()))


async def test_what_came_last_holds_once_the_database_is_back(database, resources):
    await resources.keep([Resource("files/a", 1)])
    await resources.keep([Resource("files/b", 1)])
    await resources.keep([Resource("files/a", 2)])
    await asyncio.sleep(0.1)
    assert database.kept == {}
    database.away = False
    await resources.keep([Resource("files/a", 3)])
    await resources.close()
    assert database.kept == {"files/a": 3, "files/b": 1}


async def test_a_second_outage_is_caught_up_like_the_first(database, resources):
    for name in ("files/a", "files/b"):
        database.away = True
        await resources.keep([Resource(name, 1)])
        database.away = False
        await asyncio.sleep(0.05)
    assert database.kept == {"files/a": 1, "files/b": 1}


async def test_a_database_that_stays_away_does_not_keep_a_daemon_from_ending(
    monkeypatch, resources, caplog
):
    monkeypatch.setattr(repeating, "END_S", 0.05)
    await resources.keep([Resource("files/a", 1)])
    await resources.close()
    assert "which project and client" in caplog.text
