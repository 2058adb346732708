"""The mirror of the registry in the live store: quick where it is right, and never believed else."""

import asyncio
import zlib
from time import monotonic

import msgspec
import pytest

from keypool_cli.core.model import Secret
from keypool_cli.errors import UnreachableError
from keypool_cli.registry.values import NewClient, NewKey
from keypool_cli.service import keys
from keypool_cli.service.clients import add_client
from keypool_cli.service.mirror import MIRROR, Look, looking, renew_mirror, write_mirror
from keypool_cli.service.sync import read_configured
from keypool_cli.service.watch import Watch
from tests.support.registry import BY
from tests.support.running import PATIENCE_S

SECRET = "AIzaSy-a-secret-that-must-not-be-mirrored"


def new(name):
    return NewKey(name=name, secret=Secret(f"{SECRET}{name}"), project="p1")


@pytest.fixture
async def look(ports):
    async with looking(ports.settings) as opened:
        yield opened


async def names(look):
    return set((await look.configured()).keys)


async def mirrored(ports):
    return await ports.engine.store.client.get(MIRROR)


def opened_sql(look: Look) -> bool:
    return look._registry is not None


async def test_a_change_is_mirrored_and_read_without_sql(ports, look):
    await keys.add_key(ports, new("k9"), by=BY)
    assert "k9" in await names(look)
    assert not opened_sql(look)


async def test_what_it_answers_is_what_the_registry_says(ports, look):
    await keys.add_key(ports, new("k9"), by=BY)
    found, right = (await look.configured()).catalog, (await read_configured(ports)).catalog
    assert found == right


async def test_a_change_that_the_store_did_not_hear_of_is_read_from_sql(ports, look):
    await keys.add_key(ports, new("k9"), by=BY)
    ports.registry.keys.add(new("k10"), by=BY)
    assert "k10" in await names(look)
    assert opened_sql(look)


async def test_who_had_to_read_sql_mirrors_it_for_the_next(ports, look):
    ports.registry.keys.add(new("k10"), by=BY)
    await look.configured()
    async with looking(ports.settings) as second:
        assert "k10" in await names(second)
        assert not opened_sql(second)


async def test_one_that_looks_on_sees_every_change(ports, look):
    await keys.add_key(ports, new("k9"), by=BY)
    assert "k10" not in await names(look)
    await keys.add_key(ports, new("k10"), by=BY)
    assert "k10" in await names(look)
    assert not opened_sql(look)


async def test_an_older_catalog_never_replaces_a_newer_one(ports):
    older = await read_configured(ports)
    await keys.add_key(ports, new("k9"), by=BY)
    stands = await mirrored(ports)
    await write_mirror(ports, older)
    assert await mirrored(ports) == stands


@pytest.mark.parametrize("damage", [b"", b"words", msgspec.msgpack.encode(("stamp", b"\x00"))])
async def test_a_damaged_mirror_is_not_believed(ports, look, damage):
    await keys.add_key(ports, new("k9"), by=BY)
    await ports.engine.store.client.set(MIRROR, damage)
    assert "k9" in await names(look)


async def test_a_mirror_of_another_form_with_the_right_stamp_is_not_believed(ports, look):
    await keys.add_key(ports, new("k9"), by=BY)
    stamp, _ = msgspec.msgpack.decode(await mirrored(ports))
    other = msgspec.msgpack.encode((stamp, zlib.compress(msgspec.msgpack.encode({"x": 1}))))
    await ports.engine.store.client.set(MIRROR, other)
    assert "k9" in await names(look)
    assert opened_sql(look)


async def test_it_holds_no_secret_and_no_hash_of_a_token(ports):
    await keys.add_key(ports, new("k9"), by=BY)
    _, token = await add_client(ports, NewClient("app"), by=BY)
    _, packed = msgspec.msgpack.decode(await mirrored(ports))
    text = zlib.decompress(packed)
    assert b"k9" in text
    hashes = ports.registry.clients.token_hashes()
    for hidden in (SECRET, token.text, *hashes):
        assert hidden.encode() not in text


async def test_while_the_database_is_away_the_mirror_is_shown_and_that_is_said(
    ports, look, home, tmp_path
):
    await keys.add_key(ports, new("k9"), by=BY)
    file = home.path / "keypool.db"
    ports.registry.close()
    file.rename(tmp_path / "aside.db")
    file.mkdir()  # so that no new one is made either
    assert "k9" in await names(look)
    assert look.away is not None
    file.rmdir()
    (tmp_path / "aside.db").rename(file)
    assert "k9" in await names(look)
    assert look.away is None


async def test_without_database_and_mirror_it_says_so(ports, look, home, tmp_path):
    await ports.engine.store.client.delete(MIRROR)
    ports.registry.close()
    file = home.path / "keypool.db"
    file.rename(tmp_path / "aside.db")
    file.mkdir()
    with pytest.raises(UnreachableError):
        await look.configured()
    file.rmdir()
    (tmp_path / "aside.db").rename(file)


async def test_a_daemon_mirrors_what_was_changed_while_no_store_ran(ports, look):
    ports.registry.keys.add(new("k10"), by=BY)
    watching = asyncio.create_task(Watch(ports, await read_configured(ports)).run())
    deadline = monotonic() + PATIENCE_S
    while await mirrored(ports) is None:
        assert monotonic() < deadline
        await asyncio.sleep(0.01)
    watching.cancel()
    assert "k10" in await names(look)
    assert not opened_sql(look)


async def test_a_mirror_that_is_right_is_not_written_again(ports, monkeypatch):
    await keys.add_key(ports, new("k9"), by=BY)
    monkeypatch.setattr("keypool_cli.service.mirror.write_mirror", None)
    await renew_mirror(ports, await read_configured(ports))
