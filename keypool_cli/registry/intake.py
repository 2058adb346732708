"""Adding keys, one or 100,000: what stands in the way of each, and what it brings with it."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice

from keypool_cli.core.model import DEFAULT_POOL, KeyState
from keypool_cli.errors import ConflictError, KeypoolError, UsageError
from keypool_cli.registry.change import Change, change
from keypool_cli.registry.database import Database
from keypool_cli.registry.egress import check_proxy, sealed_columns, shown_proxy
from keypool_cli.registry.intake_store import Known, Rows, Terms, load_known, write_rows
from keypool_cli.registry.names import (
    checked_account,
    checked_labels,
    checked_name,
    checked_secret,
    checked_tier,
    refuse_hyphen,
)
from keypool_cli.registry.pools import pool_row
from keypool_cli.registry.projects import checked_priority, project_row
from keypool_cli.registry.values import Actor, KeyOutcome, NewKey
from keypool_cli.registry.vault import SHOWN_DIGITS, Vault, new_uid

LINES_AT_ONCE = 2000
"""Keys in one transaction: a refusal that must be written waits for well under a second."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A key that is well formed, with the keyed hash of its secret."""

    key: NewKey
    secret_hmac: str


def add_keys(
    database: Database,
    vault: Vault,
    news: Sequence[NewKey],
    *,
    by: Actor,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[KeyOutcome]:
    """Add each key that nothing stands in the way of, and say for each what became of it.

    progress is told how many lines are done. A dry run changes nothing, and answers the same.
    """
    outcomes: list[KeyOutcome] = []
    rest = iter(news)
    # A rehearsal keeps nothing between transactions, so its lines must all share one.
    size = len(news) if dry_run else LINES_AT_ONCE
    while part := list(islice(rest, size)):
        lines = [_checked(new, vault) for new in part]
        with change(database, by, keep=not dry_run) as done:
            outcomes += _add(done, vault, lines)
        if progress is not None:
            progress(len(outcomes))
    return outcomes


def _checked(new: NewKey, vault: Vault) -> _Line | KeyOutcome:
    try:
        secret = checked_secret(new.secret)
        if new.name.strip() == secret.text:
            # The name would be shown everywhere, so this outcome must not repeat it either.
            return KeyOutcome("(hidden)", UsageError("the name of a key is its secret itself"))
        key = replace(
            new,
            name=checked_name(new.name, "key"),
            secret=secret,
            project=checked_name(new.project, "project"),
            pool=None if new.pool is None else checked_name(new.pool, "pool"),
            tier=None if new.tier is None else checked_tier(new.tier),
            priority=None if new.priority is None else checked_priority(new.priority),
            labels=checked_labels(new.labels),
            pools=tuple(checked_name(each, "pool") for each in new.pools),
            billing_account=new.billing_account and checked_account(new.billing_account),
        )
        if key.egress_proxy is not None:
            check_proxy(key.egress_proxy)
    except UsageError as err:
        return KeyOutcome(new.name, err)
    return _Line(key, vault.fingerprint(secret))


def _add(done: Change, vault: Vault, lines: Sequence[_Line | KeyOutcome]) -> list[KeyOutcome]:
    good = [line for line in lines if isinstance(line, _Line)]
    known = load_known(
        done.connection,
        names={line.key.name for line in good},
        hashes={line.secret_hmac for line in good},
        owners={line.key.project for line in good},
    )
    rows = Rows()
    outcomes = [
        _outcome(done, vault, line, known, rows) if isinstance(line, _Line) else line
        for line in lines
    ]
    write_rows(done.connection, rows)
    return outcomes


def _outcome(done: Change, vault: Vault, line: _Line, known: Known, rows: Rows) -> KeyOutcome:
    objection = _objection(line, known)
    if objection is None:
        _accept(done, vault, line, known, rows)
        rows.keys.append(_key_row(done, vault, line))
    there = known.secrets.get(line.secret_hmac) == (line.key.name, line.key.project)
    return KeyOutcome(line.key.name, objection, there=there and objection is not None)


def _objection(line: _Line, known: Known) -> KeypoolError | None:
    """Why the key cannot be added, or None."""
    key = line.key
    twin, owner = known.secrets.get(line.secret_hmac, (None, None))
    if twin == key.name:
        return ConflictError(
            f"key {twin!r} of project {owner!r} has this secret already",
            hint=f"see: keypool show {shlex.quote(twin)}",
        )
    if twin is not None:
        return ConflictError(
            f"the secret of {key.name!r} is stored already, as key {twin!r}",
            hint=f"see: keypool show {shlex.quote(twin)}",
        )
    if key.name in known.names:
        return name_taken(key.name)
    terms = known.projects.get(key.project)
    return _misnamed(key, known) or (None if terms is None else _contradiction(key, terms))


def _misnamed(key: NewKey, known: Known) -> UsageError | None:
    """Why a name that is new cannot be, or None."""
    new = [("key", key.name)]
    if key.project not in known.projects:
        new.append(("project", key.project))
    new += [("pool", each) for each in (key.pool, *key.pools) if each and each not in known.pools]
    try:
        for what, name in new:
            refuse_hyphen(name, what)
    except UsageError as err:
        return err
    return None


def name_taken(name: str) -> ConflictError:
    """Why a second key cannot have this name."""
    return ConflictError(
        f"a key named {name!r} exists already",
        hint=f"choose another name, or replace its secret: keypool rotate {shlex.quote(name)}",
    )


def _contradiction(key: NewKey, terms: Terms) -> ConflictError | None:
    stands, asked = asdict(terms), asdict(_terms(key))
    if not key.project_disabled:
        asked["enabled"] = None  # nothing is said of it
    if key.priority is None:
        asked["priority"] = None
    for what, value in asked.items():
        if value not in (None, stands[what]):
            return _differs(key.project, what, stands[what], value)
    return None


def _differs(project: str, what: str, stands: object, asked: object) -> ConflictError:
    if what == "enabled":
        told, option = "it is enabled, not disabled", "--disable"
    else:
        told = f"{what.replace('_', ' ')} {'none' if stands is None else stands}, not {asked}"
        value = "-" if what == "egress_proxy" else shlex.quote(str(asked))
        option = f"--{what.replace('_', '-')} {value}"
    return ConflictError(
        f"project {project!r} exists with {told}",
        hint=f"to change it: keypool project set {shlex.quote(project)} {option}",
    )


def _terms(key: NewKey) -> Terms:
    """What a new project has of the line."""
    proxy = None if key.egress_proxy is None else shown_proxy(key.egress_proxy)
    enabled = not key.project_disabled
    return Terms(key.tier, key.priority or 0, key.billing_account, proxy, enabled)


def _accept(done: Change, vault: Vault, line: _Line, known: Known, rows: Rows) -> None:
    """Make the project and pools that the key needs, and log it."""
    key = line.key
    if key.project not in known.projects:
        terms = known.projects[key.project] = _terms(key)
        rows.projects.append(project_row(done, key.project, _columns(key, terms, vault)))
    if key.pool is not None or key.project not in known.pooled:
        _join_pool(done, (key.pool or DEFAULT_POOL, key.project), known, rows)
    for pool in key.pools:
        _join_pool(done, (pool, key.project), known, rows)
    known.names.add(key.name)
    known.secrets[line.secret_hmac] = key.name, key.project
    told = {"project": key.project, "fingerprint": line.secret_hmac[:SHOWN_DIGITS]}
    done.event("key.added", key.name, detail=told | ({"disabled": True} if key.disabled else {}))


def _columns(key: NewKey, terms: Terms, vault: Vault) -> dict[str, object]:
    """A new project's columns; those that are as usual need not be told in the log."""
    found: dict[str, object] = {"tier": terms.tier, "priority": terms.priority}
    if terms.billing_account is not None:
        found["billing_account"] = terms.billing_account
    if not terms.enabled:
        found["enabled"] = False
    if key.egress_proxy is None:
        return found
    return found | sealed_columns(
        key.egress_proxy, key.project, lambda url, purpose: vault.seal(url, purpose.encode())
    )


def _join_pool(done: Change, member: tuple[str, str], known: Known, rows: Rows) -> None:
    pool, project = member
    if pool not in known.pools:
        known.pools.add(pool)
        rows.pools.append(pool_row(done, pool, {}))
    if member not in known.members:
        known.members.add(member)
        known.pooled.add(project)
        rows.members.append(member)


def _key_row(done: Change, vault: Vault, line: _Line) -> dict[str, object]:
    uid = new_uid()
    return {
        "uid": uid,
        "name": line.key.name,
        "project": line.key.project,
        "sealed": vault.seal(line.key.secret, uid),
        "secret_hmac": line.secret_hmac,
        "state": (KeyState.DISABLED if line.key.disabled else KeyState.READY).value,
        "rule": "operator" if line.key.disabled else None,
        "labels": line.key.labels,
        "created_at_ms": done.at_ms,
    }
