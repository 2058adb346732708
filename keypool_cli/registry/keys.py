"""Keys: added, found, their secrets opened and replaced, set aside, removed."""

from collections.abc import Callable, Collection, Sequence
from shlex import quote

from sqlalchemy import Connection, delete, select, update

from keypool_cli.core.model import Key, KeyState, Secret
from keypool_cli.errors import ConflictError, NotFoundError
from keypool_cli.registry.catalog import key_of
from keypool_cli.registry.change import Change, change
from keypool_cli.registry.database import Database
from keypool_cli.registry.intake import add_keys
from keypool_cli.registry.lockbox import Lockbox
from keypool_cli.registry.lookup import chunks, named
from keypool_cli.registry.names import checked_secret, storable
from keypool_cli.registry.tables import keys
from keypool_cli.registry.values import Actor, KeyOutcome, NewKey
from keypool_cli.registry.vault import SHOWN_DIGITS


class Keys:
    """The registry's keys. Unknown names raise NotFoundError.

    What touches a secret raises NotPermittedError without the right master key.
    """

    def __init__(self, database: Database, lockbox: Lockbox) -> None:
        self._database = database
        self._lockbox = lockbox

    def add(self, new: NewKey, *, by: Actor) -> Key:
        """Add one key, and its project and pool if they are new; all of it or nothing.

        Raises ConflictError for a secret or a name that is there already, and where tier or
        priority differ from the existing project's; UsageError for what is malformed.
        """
        vault = self._lockbox.vault()
        [outcome] = add_keys(self._database, vault, [new], by=by)
        if outcome.error is not None:
            raise outcome.error
        return self.find(outcome.name)

    def add_many(
        self,
        news: Sequence[NewKey],
        *,
        by: Actor,
        dry_run: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> list[KeyOutcome]:
        """Add many keys; each line succeeds or fails by itself, in order.

        progress is called with the number of lines done. A dry run answers the same and keeps
        nothing.
        """
        vault = self._lockbox.vault()
        return add_keys(self._database, vault, news, by=by, dry_run=dry_run, progress=progress)

    def find(self, name: str) -> Key:
        """The key of this name."""
        with self._database.read() as connection:
            return key_of(named(connection, keys, name))

    def secret(self, key_id: int) -> Secret:
        """One key's secret in clear; raises NotFoundError if the key is gone."""
        found = self.secrets([key_id])
        if key_id not in found:
            raise NotFoundError(f"no key with id {key_id}", hint="see: keypool list")
        return found[key_id]

    def secrets(self, key_ids: Collection[int] | None = None) -> dict[int, Secret]:
        """Secrets in clear by key id, of all keys if None; ids that are gone are left out."""
        vault = self._lockbox.vault()
        with self._database.read() as connection:
            rows = _sealed(connection, key_ids)
        return {key_id: vault.unseal(sealed, uid) for key_id, sealed, uid in rows}

    def rotate(self, name: str, secret: Secret, *, by: Actor) -> Key:
        """Give a key another secret. Its windows stay: they are its project's.

        A key that was dead is ready again, since the evidence was about the old secret; one that
        an operator disabled stays so. Raises ConflictError if a key has that secret already.
        """
        vault, secret = self._lockbox.vault(), checked_secret(secret)
        secret_hmac = vault.fingerprint(secret)
        with change(self._database, by) as done:
            row = named(done.connection, keys, name)
            _refuse_twin(done.connection, secret_hmac)
            values: dict[str, object] = {
                "sealed": vault.seal(secret, row.uid),
                "secret_hmac": secret_hmac,
            }
            if row.state == KeyState.DEAD:
                values |= {"state": KeyState.READY.value, "rule": None, "reason": None}
            done.connection.execute(update(keys).where(keys.c.id == row.id).values(values))
            shown = {"before": row.secret_hmac[:SHOWN_DIGITS], "after": secret_hmac[:SHOWN_DIGITS]}
            done.event("key.rotated", name, detail=shown)
            return key_of(named(done.connection, keys, name))

    def enable(self, name: str, *, by: Actor) -> Key:
        """Make a key ready, whoever set it aside."""
        with change(self._database, by) as done:
            return _set_state(done, name, KeyState.READY, rule=None)

    def disable(self, name: str, *, by: Actor) -> Key:
        """Set a key aside until :meth:`enable`; nothing else revives it."""
        with change(self._database, by) as done:
            return _set_state(done, name, KeyState.DISABLED, rule="operator")

    def remove(self, name: str, *, by: Actor) -> Key:
        """Remove a key and its secret; returns it as it was. Its project stays."""
        with change(self._database, by) as done:
            key = key_of(named(done.connection, keys, name))
            done.connection.execute(delete(keys).where(keys.c.id == key.id))
            done.event("key.removed", name, detail={"fingerprint": key.fingerprint})
            return key


def _set_state(done: Change, name: str, state: KeyState, *, rule: str | None) -> Key:
    row = named(done.connection, keys, name)
    if row.state != state:
        reason = None if rule is None else storable(done.by.reason)
        values = {"state": state.value, "rule": rule, "reason": reason}
        done.connection.execute(update(keys).where(keys.c.id == row.id).values(values))
        verb = "enabled" if state is KeyState.READY else state.value
        done.event(f"key.{verb}", name, detail={"before": row.state})
    return key_of(named(done.connection, keys, name))


def _refuse_twin(connection: Connection, secret_hmac: str) -> None:
    query = select(keys.c.name).where(keys.c.secret_hmac == secret_hmac)
    twin = connection.scalar(query)
    if twin is not None:
        raise ConflictError(
            f"this secret is stored already, as key {twin!r}",
            hint=f"see: keypool show {quote(twin)}",
        )


def _sealed(
    connection: Connection, key_ids: Collection[int] | None
) -> list[tuple[int, bytes, bytes]]:
    query = select(keys.c.id, keys.c.sealed, keys.c.uid)
    if key_ids is None:
        return [(row.id, row.sealed, row.uid) for row in connection.execute(query)]
    return [
        (row.id, row.sealed, row.uid)
        for part in chunks(key_ids)
        for row in connection.execute(query.where(keys.c.id.in_(part)))
    ]
