"""``apply``: what a file declares against what is configured, as a list of changes.

The comparison is pure; :mod:`keypool_cli.service.applying_steps` makes the changes. A section that
the file does not have is not spoken of: nothing there is compared or removed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from keypool_cli.core.model import (
    DIMENSIONS,
    Client,
    Key,
    KeyState,
    Pool,
    Project,
    Provenance,
    QuotaRow,
    Secret,
)
from keypool_cli.core.natural import natural
from keypool_cli.core.quota import shown, shown_limits
from keypool_cli.errors import UsageError
from keypool_cli.registry.names import refuse_hyphen
from keypool_cli.registry.projects import still_has_keys
from keypool_cli.registry.values import NewClient, QuotaScope
from keypool_cli.service.applying_values import (
    ADD,
    CHANGE,
    REMOVE,
    Change,
    Declared,
    DeclaredKey,
    Shown,
)
from keypool_cli.service.configured import Configured


@dataclass(frozen=True, slots=True)
class Current:
    """What is configured. secrets: in clear by key id, of the keys that the file names."""

    configured: Configured
    secrets: Mapping[int, Secret]

    def clients(self) -> dict[str, Client]:
        """Clients by name, revoked ones too."""
        return {each.name: each for each in self.configured.catalog.clients.values()}

    def quotas(self) -> dict[QuotaScope, QuotaRow]:
        """Configured limits by scope."""
        return {
            self._scope(row): row
            for row in self.configured.catalog.quotas
            if row.provenance is Provenance.CONFIGURED
        }

    def _scope(self, row: QuotaRow) -> QuotaScope:
        project = self.configured.catalog.projects.get(row.project_id or 0)
        return QuotaScope(project.name if project else None, row.tier, row.model)


def plan(declared: Declared, current: Current, *, prune: bool) -> list[Change]:
    """Every change that makes the registry as declared, in the order in which to make them.

    prune: what a section that is there does not name is removed, last.
    """
    problems = [
        Change(CHANGE, kind, name, problem=text) for (kind, name), text in declared.problems.items()
    ]
    changes = [
        *problems,
        *_pools(declared, current),
        *_projects(declared, current),
        *_keys(declared, current),
        *_quotas(declared, current),
        *_clients(declared, current),
    ]
    changes = [_named_well(each) for each in changes]
    return [*changes, *_prune(declared, current)] if prune else changes


def _named_well(change: Change) -> Change:
    if change.action == ADD and change.kind != "quota" and change.problem is None:
        try:
            refuse_hyphen(change.name, change.kind)
        except UsageError as err:
            return replace(change, problem=str(err))
    return change


def _difference(kind: str, name: str, before: Shown, after: Shown) -> Iterator[Change]:
    differ = [each for each in after if before.get(each) != after[each]]
    if differ:
        was, now = ({each: side.get(each) for each in differ} for side in (before, after))
        yield Change(CHANGE, kind, name, was, now)


def _pools(declared: Declared, current: Current) -> Iterator[Change]:
    known = current.configured.pools
    wanted = {name: dict(fields) for name, fields in declared.pools.items()}
    for project in declared.projects.values():
        for name in sorted(project.pools or ()):
            if name not in known:
                wanted.setdefault(name, {})
    for name, fields in wanted.items():
        found = known.get(name)
        if found is None:
            yield Change(ADD, "pool", name, after=fields)
        else:
            yield from _difference("pool", name, pool_fields(found), fields)


def pool_fields(pool: Pool) -> dict[str, object]:
    """What a file can say of a pool."""
    return {
        "policy": pool.policy.value,
        "wait_s": pool.wait_s,
        "shared_resources": pool.shared_resources,
    }


def _projects(declared: Declared, current: Current) -> Iterator[Change]:
    known = current.configured.projects
    for name, wanted in declared.projects.items():
        after: dict[str, object] = dict(wanted.fields)
        if isinstance(proxy := after.get("egress_proxy"), Secret):
            after["egress_proxy"] = proxy.text  # without a password: the file must not hold one
        if wanted.pools is not None:
            after["pools"] = sorted(wanted.pools)
        found = known.get(name)
        if found is None:
            yield Change(ADD, "project", name, after=after)
        else:
            before = project_fields(current.configured, found)
            yield from _difference("project", name, before, after)


def project_fields(configured: Configured, project: Project) -> dict[str, object]:
    """What a file can say of a project."""
    pools = configured.pools_of.get(project.id, ())
    return {
        "tier": project.tier,
        "priority": project.priority,
        "billing_account": project.billing_account,
        "labels": dict(project.labels),
        "enabled": project.enabled,
        "egress_proxy": project.egress_proxy,
        "pools": sorted(each.name for each in pools),
    }


def _keys(declared: Declared, current: Current) -> Iterator[Change]:
    known, twins = current.configured.keys, _twins(declared)
    for name, wanted in declared.keys.items():
        found = known.get(name)
        twin = twins.get((name, wanted.secret.text if wanted.secret else ""))
        if twin is not None:
            yield Change(CHANGE, "key", name, problem=f"key {twin!r} has the same secret")
        elif found is not None:
            yield from _known_key(current, found, wanted)
        elif wanted.secret is None:
            why = "it is new, and has neither secret_env nor secret_file"
            yield Change(ADD, "key", name, problem=why)
        else:
            yield Change(ADD, "key", name, after={"project": wanted.project})


def _twins(declared: Declared) -> dict[tuple[str, str], str]:
    """For each name and secret that an earlier key of the file has as well: that other key."""
    first: dict[str, str] = {}
    found: dict[tuple[str, str], str] = {}
    for name, wanted in declared.keys.items():
        if wanted.secret is not None:
            other = first.setdefault(wanted.secret.text, name)
            if other != name:
                found[name, wanted.secret.text] = other
    return found


def _known_key(current: Current, key: Key, wanted: DeclaredKey) -> Iterator[Change]:
    owner = current.configured.catalog.projects[key.project_id].name
    if owner != wanted.project:
        why = f"it belongs to {owner}, not {wanted.project}: remove it first, a key never moves"
        yield Change(CHANGE, "key", key.name, problem=why)
        return
    if wanted.labels is not None and dict(key.labels) != dict(wanted.labels):
        why = "its labels differ, and are set when a key is added: remove it first"
        yield Change(CHANGE, "key", key.name, problem=why)
        return
    before, after = {}, {}
    stored = current.secrets.get(key.id)
    if wanted.secret is not None and (stored is None or stored.text != wanted.secret.text):
        before["secret"], after["secret"] = key.fingerprint, "another"
    # A dead key needs a new secret or `reset --failures`; a file must not revive it each time.
    if wanted.enabled is False and key.state is KeyState.READY:
        before["state"], after["state"] = "ready", "disabled"
    if wanted.enabled is True and key.state is KeyState.DISABLED:
        before["state"], after["state"] = "disabled", "ready"
    yield from _difference("key", key.name, before, after)


def _quotas(declared: Declared, current: Current) -> Iterator[Change]:
    known = current.quotas()
    for scope, values in declared.quotas.items():
        row = known.get(scope)
        after = {name: shown(values.get(name)) for name in DIMENSIONS}
        if row is None:
            yield Change(ADD, "quota", scope.place, after=said(after), scope=scope)
        else:
            for each in _difference("quota", scope.place, shown_limits(row), after):
                yield replace(each, scope=scope)


def said(values: Shown) -> Shown:
    """The fields that say something."""
    return {name: value for name, value in values.items() if value is not None}


def _clients(declared: Declared, current: Current) -> Iterator[Change]:
    known = current.clients()
    for name, wanted in declared.clients.items():
        found, after = known.get(name), client_fields(wanted.new)
        if found is None:
            why = None if wanted.token_file else "it is new: name the token_file its token goes to"
            yield Change(ADD, "client", name, after=said(after), problem=why)
        elif found.revoked_at_ms is not None:
            yield Change(ADD, "client", name, problem="it was revoked: choose another name")
        else:
            for each in _difference("client", name, client_fields(found), after):
                fields = ", ".join(each.after)
                why = f"its {fields} would change: revoke it, and add one of another name"
                yield Change(CHANGE, "client", name, each.before, each.after, why)


def client_fields(client: NewClient | Client) -> dict[str, object]:
    """What a file can say of a client."""
    return {
        "pools": None if client.pools is None else sorted(client.pools),
        "models": None if client.models is None else sorted(client.models),
        "scopes": sorted(client.scopes),
        "rpm": client.rpm,
        "tpm": client.tpm,
        "reports": client.reports,
        "expires_at_ms": client.expires_at_ms,
    }


def _prune(declared: Declared, current: Current) -> Iterator[Change]:
    """Removals, what depends on others first."""
    if "quotas" in declared.sections:
        yield from _prune_quotas(declared, current)
    used = {each.project for each in declared.keys.values()}
    pooled = {name for each in declared.projects.values() for name in each.pools or ()}
    clients = {n for n, each in current.clients().items() if each.revoked_at_ms is None}
    kept: tuple[tuple[str, set[str], set[str]], ...] = (
        ("key", {*current.configured.keys}, {*declared.keys}),
        ("project", {*current.configured.projects}, {*declared.projects} | used),
        ("pool", {*current.configured.pools}, {*declared.pools} | pooled),
        ("client", clients, {*declared.clients}),
    )
    for kind, known, named in kept:
        if f"{kind}s" in declared.sections:
            for name in sorted(known - named - _troubled(declared, kind), key=natural):
                why = _in_the_way(name, declared, current) if kind == "project" else None
                yield Change(REMOVE, kind, name, problem=why)


def _in_the_way(project: str, declared: Declared, current: Current) -> str | None:
    """Why a project cannot be removed: keys that are not removed before it."""
    configured = current.configured
    keys = {each.name for each in configured.keys_of.get(configured.projects[project].id, ())}
    if "keys" in declared.sections:
        keys &= declared.keys.keys() | _troubled(declared, "key")
    return str(still_has_keys(project, len(keys))) if keys else None


def _prune_quotas(declared: Declared, current: Current) -> Iterator[Change]:
    troubled = _troubled(declared, "quota")
    gone = current.quotas().keys() - declared.quotas.keys()
    for scope in sorted(gone, key=lambda each: natural(each.place)):
        if scope.place not in troubled:
            yield Change(REMOVE, "quota", scope.place, scope=scope)


def _troubled(declared: Declared, kind: str) -> set[str]:
    return {name for of, name in declared.problems if of == kind}
