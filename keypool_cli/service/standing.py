"""What ``status`` answers: pools, their projects, models and keys at one instant."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import structs

STATES = ("ready", "full", "cooling", "excluded", "disabled", "dead")
"""From most to least able to serve; a project's state is the best of its models'."""


class Use(msgspec.Struct, frozen=True, gc=False):
    """One window. used: settled and reserved. limit: None is unlimited."""

    used: int
    limit: int | None
    provenance: str


class ModelStatus(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A project on one bucket model."""

    model: str
    state: str
    leases: int
    rpm: Use
    tpm: Use
    rpd: Use
    reason: str | None = None
    until: str | None = None
    remaining_s: float | None = None
    rule: str | None = None


class KeyStatus(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A key of a project."""

    name: str
    fingerprint: str
    state: str
    reason: str | None = None


class ProjectStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """A project of a pool, its models and keys.

    reason, until, remaining_s, rule: of what stops it on every model, used or not; for people's
    eyes, see :func:`promised`.
    """

    project: str
    tier: str | None
    state: str
    models: list[ModelStatus]
    keys: list[KeyStatus]
    reason: str | None = None
    until: str | None = None
    remaining_s: float | None = None
    rule: str | None = None


class PoolStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pool: how many projects are in each state, and when the next is ready."""

    pool: str
    ready: int
    full: int
    cooling: int
    excluded: int
    disabled: int
    dead: int
    projects: list[ProjectStatus]
    next_ready_at: str | None = None
    next_ready_s: float | None = None


class Unread(msgspec.Struct, frozen=True):
    """A model whose part of the live store is away: it can be neither read nor leased."""

    model: str
    reason: str


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """Every pool at one instant of the store's clock. unread: models that are shown nowhere."""

    schema: int
    at: str
    pools: list[PoolStatus]
    unread: list[Unread] = []


def told_away(reasons: Mapping[str, object]) -> str:
    """Which models cannot be had, and why. reasons: by model."""
    models: dict[str, list[str]] = {}
    for model, why in sorted(reasons.items()):
        models.setdefault(str(why), []).append(model)
    told = "; ".join(f"{', '.join(names)} ({why})" for why, names in models.items())
    return f"out of reach: {told}"


def told_unread(found: Status) -> str:
    """Which models are shown nowhere, and why."""
    return told_away({each.model: each.reason for each in found.unread})


_FOR_PEOPLE = frozenset({"reason", "until", "remaining_s", "rule"})


def promised(found: Status) -> Status:
    """The status as programs are promised it: what stops a project stands with its models."""
    pools = [
        structs.replace(pool, projects=[_promised_project(each) for each in pool.projects])
        for pool in found.pools
    ]
    return structs.replace(found, pools=pools)


def promised_schema(project: dict[str, Any]) -> None:
    """Make the schema of :class:`ProjectStatus` that of what :func:`promised` keeps of it."""
    project["description"] = project["description"].partition("\n")[0]
    for name in _FOR_PEOPLE:
        del project["properties"][name]


def _promised_project(each: ProjectStatus) -> ProjectStatus:
    return ProjectStatus(each.project, each.tier, each.state, each.models, each.keys)
