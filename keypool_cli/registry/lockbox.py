"""The vault of one registry: made at its first secret, opened when one is first needed."""

from threading import Lock

from sqlalchemy import Connection, select, update

from keypool_cli.errors import NotPermittedError
from keypool_cli.registry.database import Database
from keypool_cli.registry.tables import registry
from keypool_cli.registry.vault import Vault, new_salt


class Lockbox:
    """Opens the vault once and keeps it; may be used by several threads.

    Ask it before a write transaction begins: the first opening writes one of its own.
    """

    def __init__(self, database: Database, master_key: bytes | None) -> None:
        self._database = database
        self._master_key = master_key
        self._vault: Vault | None = None
        self._lock = Lock()

    def is_sealed(self) -> bool:
        """Whether there has been a first secret, and a master key with it."""
        with self._database.read() as connection:
            return None not in _kept(connection)

    def vault(self) -> Vault:
        """Raises NotPermittedError without a master key, or with one of another registry."""
        with self._lock:
            if self._vault is None:
                self._vault = self._open()
            return self._vault

    def _open(self) -> Vault:
        if self._master_key is None:
            raise NotPermittedError(
                "secrets need the master key, and there is none",
                hint="restore its file from your backup, or set KEYPOOL_MASTER_KEY_FILE or "
                "KEYPOOL_MASTER_KEY",
            )
        with self._database.read() as connection:
            salt, check_value = _kept(connection)
        if salt is None or check_value is None:
            salt, check_value = self._seal_first()
        vault = Vault(self._master_key, salt)
        vault.verify(check_value)
        return vault

    def _seal_first(self) -> tuple[bytes, bytes]:
        """Tie the registry to this master key, unless another process just tied it to its own."""
        salt = new_salt()
        check_value = Vault(self._master_key or b"", salt).check_value
        with self._database.write() as connection:
            connection.execute(
                update(registry)
                .where(registry.c.vault_salt.is_(None))
                .values(vault_salt=salt, vault_check=check_value)
            )
            kept_salt, kept_check = _kept(connection)
        return kept_salt or salt, kept_check or check_value


def _kept(connection: Connection) -> tuple[bytes | None, bytes | None]:
    row = connection.execute(select(registry.c.vault_salt, registry.c.vault_check)).one()
    return row.vault_salt, row.vault_check
