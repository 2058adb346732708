"""A pool declared in a file: read into values, each mistake with the name it stands under.

Secrets never stand in the file; it names a variable or a file that holds each.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from keypool_cli.cli import asking
from keypool_cli.cli.declaration_text import Form, parsed
from keypool_cli.cli.options import limit
from keypool_cli.config import masked_url
from keypool_cli.core.model import DIMENSIONS, Policy, Secret
from keypool_cli.errors import UsageError
from keypool_cli.registry.names import checked_labels, checked_model, checked_name, checked_tier
from keypool_cli.registry.values import NewClient, PoolFields, ProjectFields, QuotaScope
from keypool_cli.service.applying_values import (
    Declared,
    DeclaredClient,
    DeclaredKey,
    DeclaredProject,
)

T = TypeVar("T")

SECTIONS = {
    "pools": ("policy", "wait_s", "shared_resources"),
    "projects": (
        "tier",
        "priority",
        "billing_account",
        "labels",
        "enabled",
        "egress_proxy",
        "pools",
    ),
    "keys": ("project", "secret_env", "secret_file", "labels", "enabled"),
    "quotas": ("project", "tier", "model", *DIMENSIONS),
    "clients": ("pools", "models", "scopes", "rpm", "tpm", "reports", "expires", "token_file"),
}


def read_declared(text: str, form: Form, folder: Path) -> Declared:
    """What the file says; paths in it start from ``folder``.

    Raises UsageError where the file as a whole cannot be understood.
    """
    whole = parsed(text, form)
    for name in whole:
        _known(name, tuple(SECTIONS), "section")
    return _Reader(whole, folder).declared()


def _known(name: str, names: tuple[str, ...], what: str) -> None:
    if name not in names:
        close = get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names)}"
        raise UsageError(f"no {what} is called {name!r}; {hint}")


@dataclass(slots=True)
class _Reader:
    """Reads one file; problems gathers what is wrong, by kind and name."""

    whole: Mapping[str, Any]
    folder: Path
    problems: dict[tuple[str, str], str] = field(default_factory=dict)

    def declared(self) -> Declared:
        pools = dict(self._named("pools", self._pool))
        projects = dict(self._named("projects", self._project))
        keys = dict(self._named("keys", self._key))
        clients = dict(self._named("clients", self._client))
        return Declared(
            frozenset(self.whole), pools, projects, keys, self._quotas(), clients, self.problems
        )

    def _named(
        self, section: str, read: Callable[[str, Mapping[str, Any]], T]
    ) -> Iterator[tuple[str, T]]:
        table, kind = self.whole.get(section, {}), section.removesuffix("s")
        if not isinstance(table, dict):
            raise UsageError(f"{section} is a table of tables, by name")
        for given, entry in table.items():
            try:
                name = checked_name(given, kind)
                yield name, read(name, self._entry(section, entry))
            except UsageError as err:
                self.problems[kind, given] = str(err)

    def _entry(self, section: str, entry: object) -> Mapping[str, Any]:
        if not isinstance(entry, dict):
            raise UsageError("it is not a table")
        if "secret" in entry:
            raise UsageError("a secret never stands in this file: use secret_env or secret_file")
        for name in entry:
            _known(name, SECTIONS[section], "field")
        return entry

    def _pool(self, _name: str, entry: Mapping[str, Any]) -> PoolFields:
        fields: PoolFields = {}
        if "policy" in entry:
            if entry["policy"] not in list(Policy):
                raise UsageError(f"policy is one of {', '.join(Policy)}")
            fields["policy"] = Policy(entry["policy"])
        if "wait_s" in entry:
            fields["wait_s"] = float(_of(entry, "wait_s", (int, float), "a number of seconds"))
        if "shared_resources" in entry:
            fields["shared_resources"] = _of(entry, "shared_resources", bool, "true or false")
        return fields

    def _project(self, _name: str, entry: Mapping[str, Any]) -> DeclaredProject:
        fields: ProjectFields = {}
        if "tier" in entry:
            fields["tier"] = checked_tier(_text(entry, "tier")) if entry["tier"] else None
        if "priority" in entry:
            fields["priority"] = _of(entry, "priority", int, "a whole number")
        if "billing_account" in entry:
            account = _text(entry, "billing_account")
            fields["billing_account"] = checked_name(account, "billing account")
        if "labels" in entry:
            fields["labels"] = _labels(entry)
        if "enabled" in entry:
            fields["enabled"] = _of(entry, "enabled", bool, "true or false")
        if "egress_proxy" in entry:
            fields["egress_proxy"] = _proxy(_text(entry, "egress_proxy"))
        pools = frozenset(_names(entry, "pools", "pool")) if "pools" in entry else None
        return DeclaredProject(fields, pools)

    def _key(self, _name: str, entry: Mapping[str, Any]) -> DeclaredKey:
        if "project" not in entry:
            raise UsageError("it names no project")
        return DeclaredKey(
            project=checked_name(_text(entry, "project"), "project"),
            secret=self._secret(entry),
            labels=_labels(entry) if "labels" in entry else None,
            enabled=_of(entry, "enabled", bool, "true or false") if "enabled" in entry else None,
        )

    def _secret(self, entry: Mapping[str, Any]) -> Secret | None:
        if "secret_env" in entry and "secret_file" in entry:
            raise UsageError("it has both secret_env and secret_file")
        if "secret_env" in entry:
            text = asking.env_text(_text(entry, "secret_env"))
        elif "secret_file" in entry:
            text = asking.file_text(str(self.folder / _text(entry, "secret_file")))
        else:
            return None
        if not text.strip():
            raise UsageError("its secret is empty")
        return Secret(text.strip())

    def _client(self, name: str, entry: Mapping[str, Any]) -> DeclaredClient:
        new = NewClient(
            name=name,
            pools=tuple(_names(entry, "pools", "pool")) if "pools" in entry else None,
            models=tuple(map(checked_model, _texts(entry, "models")))
            if "models" in entry
            else None,
            scopes=tuple(_texts(entry, "scopes")) if "scopes" in entry else ("lease", "proxy"),
            rpm=_of(entry, "rpm", int, "a whole number") if "rpm" in entry else None,
            tpm=_of(entry, "tpm", int, "a whole number") if "tpm" in entry else None,
            reports=_text(entry, "reports") if "reports" in entry else "all",
            expires_at_ms=_instant(entry["expires"]) if "expires" in entry else None,
        )
        file = self.folder / _text(entry, "token_file") if "token_file" in entry else None
        return DeclaredClient(new, file)

    def _quotas(self) -> dict[QuotaScope, Mapping[str, int]]:
        found: dict[QuotaScope, Mapping[str, int]] = {}
        entries = self.whole.get("quotas", [])
        if not isinstance(entries, list):
            raise UsageError("quotas is a list of tables")
        for number, given in enumerate(entries, start=1):
            name = f"quotas number {number}"
            try:
                entry = self._entry("quotas", given)
                scope = _scope(entry)
                name = scope.place
                limits = _limits(entry)
            except UsageError as err:
                self.problems["quota", name] = str(err)
                continue
            if scope in found:
                self.problems["quota", name] = "it stands there twice"
            found[scope] = limits
        return found


def _proxy(url: str) -> Secret | None:
    """A proxy's URL; empty for none. One with a password belongs on stdin, not into a file."""
    if masked_url(url) != url:
        raise UsageError(
            "a password does not stand in this file: keypool project set --egress-proxy -"
        )
    return Secret(url) if url else None


def _of(entry: Mapping[str, Any], name: str, kind: type | tuple[type, ...], words: str) -> Any:  # noqa: ANN401  # of that kind
    value = entry[name]
    is_switch = isinstance(value, bool)  # which Python takes for a number
    if not isinstance(value, kind) or (is_switch and kind is not bool):
        raise UsageError(f"{name} is {words}")
    return value


def _text(entry: Mapping[str, Any], name: str) -> str:
    return str(_of(entry, name, str, "a text"))


def _texts(entry: Mapping[str, Any], name: str) -> list[str]:
    values = _of(entry, name, list, "a list of texts")
    if not all(isinstance(each, str) for each in values):
        raise UsageError(f"{name} is a list of texts")
    return list(values)


def _names(entry: Mapping[str, Any], name: str, what: str) -> list[str]:
    return [checked_name(each, what) for each in _texts(entry, name)]


def _labels(entry: Mapping[str, Any]) -> dict[str, str]:
    labels = _of(entry, "labels", dict, "a table of texts")
    return checked_labels({name: str(value) for name, value in labels.items()})


def _scope(entry: Mapping[str, Any]) -> QuotaScope:
    if "project" in entry and "tier" in entry:
        raise UsageError("a limit is set for a tier or for a project, not for both")
    project = checked_name(_text(entry, "project"), "project") if "project" in entry else None
    tier = checked_tier(_text(entry, "tier")) if "tier" in entry else None
    model = checked_model(_text(entry, "model")) if "model" in entry else None
    return QuotaScope(project, tier, model)


def _limits(entry: Mapping[str, Any]) -> dict[str, int]:
    given = {name: limit(str(entry[name]), name) for name in DIMENSIONS if name in entry}
    found = {name: value for name, value in given.items() if value is not None}
    if not found:
        raise UsageError(f"it names none of {', '.join(DIMENSIONS)}")
    return found


def _instant(value: object) -> int:
    """Milliseconds of a date or a date and time; in UTC where no zone is named."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        at = None
    if isinstance(at, date) and not isinstance(at, datetime):
        at = datetime(at.year, at.month, at.day, tzinfo=UTC)
    if not isinstance(at, datetime):
        raise UsageError("expires is a date, such as 2027-03-31")
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
