"""What a file declares, and the changes that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keypool_cli.core.model import Secret
from keypool_cli.registry.values import NewClient, PoolFields, ProjectFields, QuotaScope

ADD, CHANGE, REMOVE = "add", "change", "remove"

Shown = Mapping[str, object]
"""Fields as they are printed; never a secret."""


@dataclass(frozen=True, slots=True)
class DeclaredProject:
    """A project as declared. fields, pools: what is not named stays as it is."""

    fields: ProjectFields
    pools: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class DeclaredKey:
    """A key as declared. secret None: the stored one stays. enabled None: its state stays."""

    project: str
    secret: Secret | None = None
    labels: Mapping[str, str] | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class DeclaredClient:
    """A client as declared; the token of a new one goes into ``token_file``."""

    new: NewClient
    token_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Declared:
    """What a file says. sections: those that it has. problems: by kind and name, what is wrong.

    A name with a problem is declared all the same: it is never removed for not being understood.
    """

    sections: frozenset[str]
    pools: Mapping[str, PoolFields] = field(default_factory=dict)
    projects: Mapping[str, DeclaredProject] = field(default_factory=dict)
    keys: Mapping[str, DeclaredKey] = field(default_factory=dict)
    quotas: Mapping[QuotaScope, Mapping[str, int]] = field(default_factory=dict)
    clients: Mapping[str, DeclaredClient] = field(default_factory=dict)
    problems: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One change. before, after: the fields that differ. problem: why it cannot be made.

    scope: what a limit covers; its words, in ``name``, may be another scope's as well.
    """

    action: str
    kind: str
    name: str
    before: Shown = field(default_factory=dict)
    after: Shown = field(default_factory=dict)
    problem: str | None = None
    scope: QuotaScope = field(default_factory=QuotaScope)
