"""Secrets at rest: bound to their row and to one master key, in clear nowhere."""

import sqlite3
from contextlib import closing

import pytest

from keypool_cli.core.model import Secret
from keypool_cli.errors import ConflictError, NotPermittedError
from keypool_cli.registry.repository import Registry
from keypool_cli.registry.values import NewKey
from keypool_cli.registry.vault import Vault, new_salt, new_uid
from tests.support.registry import BY, MASTER_KEY

SECRET = Secret("AQ.Ab8-a-secret-that-must-not-be-found")
SALT = bytes(16)


def opened(url, master_key=MASTER_KEY):
    return closing(Registry.open(url, master_key=master_key))


@pytest.fixture
def vault() -> Vault:
    return Vault(MASTER_KEY, SALT)


def test_a_sealed_secret_opens_in_its_own_row_only(vault):
    uid = new_uid()
    sealed = vault.seal(SECRET, uid)
    assert vault.unseal(sealed, uid) == SECRET
    with pytest.raises(NotPermittedError):
        vault.unseal(sealed, new_uid())


def test_sealing_twice_gives_different_texts(vault):
    uid = new_uid()
    assert vault.seal(SECRET, uid) != vault.seal(SECRET, uid)


@pytest.mark.parametrize("position", [1, 13, -1])
def test_a_changed_byte_is_noticed(vault, position):
    uid = new_uid()
    sealed = bytearray(vault.seal(SECRET, uid))
    sealed[position] ^= 1
    with pytest.raises(NotPermittedError, match="changed"):
        vault.unseal(bytes(sealed), uid)


def test_a_secret_in_a_format_of_later_says_to_upgrade(vault):
    uid = new_uid()
    with pytest.raises(NotPermittedError) as caught:
        vault.unseal(b"\x02" + vault.seal(SECRET, uid)[1:], uid)
    assert caught.value.hint == "upgrade keypool on this machine"


@pytest.mark.parametrize("sealed", [b"", b"\x02" + bytes(40), b"\x01", b"\x01" + bytes(12)])
def test_what_was_never_sealed_does_not_open(vault, sealed):
    with pytest.raises(NotPermittedError):
        vault.unseal(sealed, new_uid())


def test_a_fingerprint_depends_on_secret_master_key_and_salt(vault):
    same, other = Vault(MASTER_KEY, SALT), Secret("other")
    assert vault.fingerprint(SECRET) == same.fingerprint(SECRET)
    vaults = [vault, Vault(bytes(32), SALT), Vault(MASTER_KEY, new_salt())]
    prints = {v.fingerprint(secret) for v in vaults for secret in (SECRET, other)}
    assert len(prints) == 6


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_master_key_has_32_bytes(length):
    with pytest.raises(NotPermittedError):
        Vault(bytes(length), SALT)


def test_nothing_shows_the_master_key(vault):
    assert "Vault(…)" in repr(vault)


def test_a_wrong_master_key_is_refused_before_it_does_harm(migrated_url):
    with opened(migrated_url) as owner:
        key = owner.keys.add(NewKey("k1", SECRET, "p1"), by=BY)
        before = owner.catalog()
    with opened(migrated_url, bytes(32)) as stranger:
        for use in (
            stranger.check_master_key,
            lambda: stranger.keys.secret(key.id),
            lambda: stranger.keys.add(NewKey("k2", Secret("x"), "p1"), by=BY),
            lambda: stranger.keys.rotate("k1", Secret("x"), by=BY),
        ):
            with pytest.raises(NotPermittedError, match="not the one"):
                use()
        assert stranger.catalog() == before


def test_without_a_master_key_all_but_secrets_works(migrated_url):
    with opened(migrated_url) as owner:
        owner.keys.add(NewKey("k1", SECRET, "p1"), by=BY)
    with opened(migrated_url, None) as reader:
        assert reader.keys.disable("k1", by=BY).name == "k1"
        with pytest.raises(NotPermittedError, match="there is none"):
            reader.keys.secrets()


def test_a_fresh_registry_belongs_to_the_first_master_key(migrated_url):
    for _ in range(2):
        with opened(migrated_url) as owner:
            owner.check_master_key()
    with opened(migrated_url, bytes(32)) as stranger, pytest.raises(NotPermittedError):
        stranger.check_master_key()


def test_a_secret_is_found_in_no_file_and_no_repr(sqlite_url, tmp_path):
    with opened(sqlite_url) as registry:
        registry.keys.add(NewKey("k1", SECRET, "p1"), by=BY)
        with pytest.raises(ConflictError) as caught:
            registry.keys.add(NewKey("k2", SECRET, "p1"), by=BY)
        words = (caught.value.args, caught.value.hint, registry.catalog(), registry.events.read())
        held = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    held += b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"k1" in held
    assert SECRET.text not in str(words)
    assert SECRET.text.encode() not in held
    assert MASTER_KEY not in held


def test_a_secret_moved_to_another_row_does_not_open(sqlite_url, tmp_path):
    with opened(sqlite_url) as registry:
        registry.keys.add(NewKey("k1", SECRET, "p1"), by=BY)
        victim = registry.keys.add(NewKey("k2", Secret("other"), "p2"), by=BY)
        with closing(sqlite3.connect(tmp_path / "keypool.db", isolation_level=None)) as direct:
            [(sealed,)] = direct.execute("SELECT sealed FROM keys WHERE name = 'k1'")
            direct.execute("UPDATE keys SET sealed = ? WHERE name = 'k2'", [sealed])
        with pytest.raises(NotPermittedError, match="moved"):
            registry.keys.secret(victim.id)
