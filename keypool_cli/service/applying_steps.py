"""Making the changes that ``apply`` has found: each by itself, and the live store told once."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from keypool_cli.core.model import Secret
from keypool_cli.errors import ConflictError, KeypoolError, NotFoundError
from keypool_cli.registry.repository import Registry
from keypool_cli.registry.values import Actor, NewKey
from keypool_cli.service.applying import Current, plan
from keypool_cli.service.applying_values import ADD, REMOVE, Change, Declared
from keypool_cli.service.changing import changing
from keypool_cli.service.configured import Configured
from keypool_cli.service.ports import Ports


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a change; reason: why it was refused."""

    change: Change
    reason: str | None = None


async def planned(ports: Ports, declared: Declared, *, prune: bool) -> list[Change]:
    """The changes that ``declared`` asks for now; the master key is needed where it has secrets."""
    configured = Configured(await ports.call(ports.registry.catalog))
    asked = [
        each.id
        for name, each in configured.keys.items()
        if name in declared.keys and declared.keys[name].secret is not None
    ]
    secrets: dict[int, Secret] = {}
    if asked:
        secrets = await ports.call(ports.registry.keys.secrets, asked)
    return plan(declared, Current(configured, secrets), prune=prune)


async def apply(
    ports: Ports,
    declared: Declared,
    changes: Sequence[Change],
    *,
    by: Actor,
    progress: Callable[[int], None],
) -> list[Outcome]:
    """Make the changes, in order; one that fails does not stop the others.

    progress is told, from a thread, how many are done.
    """

    def work() -> tuple[list[Outcome], set[int]]:
        before = _ids(ports.registry)
        outcomes = _Steps(ports.registry, declared, by).make(changes, progress)
        return outcomes, _touched(before | _ids(ports.registry), changes)

    outcomes, _ = await changing(ports, work, touched=lambda result: result[1], stoppable=True)
    return outcomes


def _ids(registry: Registry) -> dict[str, int]:
    """Project ids by ``project NAME``, and by ``key NAME`` of each key."""
    catalog = registry.catalog()
    found = {f"project {each.name}": each.id for each in catalog.projects.values()}
    return found | {f"key {each.name}": each.project_id for each in catalog.keys.values()}


def _touched(ids: Mapping[str, int], changes: Sequence[Change]) -> set[int]:
    """Ids of the projects that the changes concern."""
    found: set[int] = set()
    for change in changes:
        if change.kind == "quota" and change.scope.project is None:
            return set(ids.values())  # limits of a tier, or of everything
        kind = "key" if change.kind == "key" else "project"
        number = ids.get(f"{kind} {change.scope.project or change.name}")
        if number is not None:
            found.add(number)
    return found


@dataclass(slots=True)
class _Steps:
    """The hands that make changes on one registry."""

    registry: Registry
    declared: Declared
    by: Actor

    def make(self, changes: Sequence[Change], progress: Callable[[int], None]) -> list[Outcome]:
        new_keys = [c for c in changes if (c.kind, c.action) == ("key", ADD) and not c.problem]
        outcomes: list[Outcome] = []
        refused: dict[str, str] | None = None
        for change in changes:
            if change in new_keys:
                if refused is None:  # all new keys at once: that is a hundred times faster
                    refused = self._add_keys(new_keys)
                outcomes.append(Outcome(change, refused.get(change.name)))
            else:
                outcomes.append(Outcome(change, change.problem or self._try(change)))
            progress(len(outcomes))
        return outcomes

    def _try(self, change: Change) -> str | None:
        """Make one change; why it was refused, or None."""
        make = {
            "pool": self._pool,
            "project": self._project,
            "key": self._key,
            "quota": self._quota,
            "client": self._client,
        }[change.kind]
        try:
            make(change)
        except KeypoolError as err:
            return str(err)
        return None

    def _pool(self, change: Change) -> None:
        pools = self.registry.pools
        if change.action == REMOVE:
            pools.remove(change.name, by=self.by)
            return
        fields = self.declared.pools.get(change.name, {})
        method = pools.create if change.action == ADD else pools.set
        method(change.name, by=self.by, **fields)

    def _project(self, change: Change) -> None:
        projects, name = self.registry.projects, change.name
        if change.action == REMOVE:
            projects.remove(name, by=self.by)
            return
        wanted = self.declared.projects[name]
        method = projects.create if change.action == ADD else projects.set
        method(name, by=self.by, **wanted.fields)
        if wanted.pools is not None:
            before = change.before.get("pools")
            was = set(before) if isinstance(before, list) else set()
            if "pools" in change.after:
                self._join(name, wanted.pools - was, was - wanted.pools)

    def _join(self, project: str, into: set[str] | frozenset[str], out_of: set[str]) -> None:
        for pool in sorted(into):
            self.registry.pools.include(pool, project, by=self.by)
        for pool in sorted(out_of):
            self.registry.pools.exclude(pool, project, by=self.by)

    def _key(self, change: Change) -> None:
        keys, name = self.registry.keys, change.name
        if change.action == REMOVE:
            keys.remove(name, by=self.by)
            return
        wanted = self.declared.keys[name]
        if "secret" in change.after and wanted.secret is not None:
            keys.rotate(name, wanted.secret, by=self.by)
        if "state" in change.after:
            method = keys.enable if change.after["state"] == "ready" else keys.disable
            method(name, by=self.by)

    def _add_keys(self, changes: Sequence[Change]) -> dict[str, str]:
        """Add new keys; answers by name why each other was refused."""
        wanted = {each.name: self.declared.keys[each.name] for each in changes}
        news = [
            NewKey(name, each.secret, each.project, labels=each.labels or {})
            for name, each in wanted.items()
            if each.secret is not None
        ]
        try:
            outcomes = self.registry.keys.add_many(news, by=self.by)
        except KeypoolError as err:  # no line could be tried: a wrong master key, a lost database
            return dict.fromkeys(wanted, str(err))
        for each in outcomes:
            if each.error is None and wanted[each.name].enabled is False:
                self.registry.keys.disable(each.name, by=self.by)
        return {each.name: str(each.error) for each in outcomes if each.error is not None}

    def _quota(self, change: Change) -> None:
        quotas, scope = self.registry.quotas, change.scope
        if change.action == REMOVE:
            quotas.unset(scope, by=self.by)
            return
        values = self.declared.quotas[scope]
        gone = [name for name, value in change.after.items() if value is None]
        if gone:
            quotas.unset(scope, gone, by=self.by)
        quotas.set(scope, values, by=self.by)

    def _client(self, change: Change) -> None:
        """Add a client: the file for its token is made first, for nobody can ask for it again."""
        if change.action == REMOVE:
            self.registry.clients.revoke(change.name, by=self.by)
            return
        wanted = self.declared.clients[change.name]
        for pool in wanted.new.pools or ():
            self.registry.pools.find(pool)
        file = wanted.token_file
        if file is None:  # pragma: no cover  # planning refuses it
            raise NotFoundError("no token_file")
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as err:
            raise ConflictError(f"{file} cannot be made: {err.strerror}") from err
        try:
            with os.fdopen(handle, "w", encoding="ascii") as stream:
                _, token = self.registry.clients.add(wanted.new, by=self.by)
                stream.write(f"{token.text}\n")
        except (KeypoolError, OSError) as err:
            with suppress(OSError):
                file.unlink()
            if not isinstance(err, OSError):
                raise
            self.registry.clients.revoke(change.name, by=self.by)
            told = f"{file} cannot be written, so it is revoked again: {err.strerror}"
            raise ConflictError(told) from err
