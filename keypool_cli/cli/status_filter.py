"""Which rows of a status are shown, and whether what it says is good enough for ``--check``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from msgspec import structs

from keypool_cli.errors import NoCapacityError, UsageError
from keypool_cli.service.standing import STATES

if TYPE_CHECKING:
    from keypool_cli.service.configured import Configured
    from keypool_cli.service.standing import ModelStatus, PoolStatus, ProjectStatus, Status

DIMENSIONS = ("rpm", "tpm", "rpd")

_ABLE = frozenset({"ready", "full"})


@dataclass(frozen=True, slots=True)
class Shown:
    """Which rows to show, and how sorted. The headline always speaks of the whole pool.

    Empty: all. sort: of ``status_text.ORDERS``.
    """

    projects: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    states: frozenset[str] = frozenset()
    labels: Mapping[str, str] | None = None
    sort: str = "problems"

    def among(self, configured: "Configured") -> "Shown":
        """The same with labels turned into the names of the projects that carry them.

        A project carries its own labels and those of its keys. Models are named as they are
        counted, whatever their aliases.
        """
        models = frozenset(map(configured.bucket, self.models))
        if not self.labels:
            return replace(self, models=models)
        wanted = self.labels.items()
        found = {
            name
            for name, project in configured.projects.items()
            if wanted <= project.labels.items()
            or any(wanted <= key.labels.items() for key in configured.keys_of.get(project.id, ()))
        }
        names = found & self.projects if self.projects else found
        # No project has an empty name: where none carries the labels, none is shown.
        return Shown(frozenset(names or {""}), models, self.states, sort=self.sort)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What ``--check`` asks of each pool. max_used: a share from 0 to 1, or None.

    models: as they are counted; each must be served. Empty: any is enough.
    """

    min_ready: int = 1
    max_used: float | None = None
    models: frozenset[str] = frozenset()


def filtered(found: "Status", shown: Shown) -> "Status":
    """The status with the chosen rows only."""
    if not (shown.projects or shown.models or shown.states):
        return found
    pools = [_filtered_pool(each, shown) for each in found.pools]
    unread = [each for each in found.unread if not shown.models or each.model in shown.models]
    return structs.replace(found, pools=pools, unread=unread)


def hides_all(found: "Status") -> bool:
    """Whether there are projects, but none of them was chosen."""
    there = any(getattr(pool, state) for pool in found.pools for state in STATES)
    return there and not any(pool.projects for pool in found.pools)


def _filtered_pool(pool: "PoolStatus", shown: Shown) -> "PoolStatus":
    projects = []
    for project in pool.projects:
        models = [
            each
            for each in project.models
            if (not shown.models or each.model in shown.models)
            and (not shown.states or each.state in shown.states)
        ]
        fits = not shown.projects or project.project in shown.projects
        whole = not shown.models and (not shown.states or project.state in shown.states)
        if fits and (models or whole):
            projects.append(structs.replace(project, models=models))
    return structs.replace(pool, projects=projects)


def share_of(text: str | None) -> float | None:
    """A share from ``90%`` or ``90``. Raises UsageError."""
    if text is None:
        return None
    try:
        share = float(text.strip().removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"--max-used is a share from 0% to 100%, not {text!r}")
    return share


def check(found: "Status", asked: Thresholds) -> None:
    """Raise NoCapacityError unless every pool is as asked. found: with all its rows."""
    if not found.pools:
        raise NoCapacityError(f"the registry is empty: {_lacking(asked)}")
    problems = []
    models: list[str | None] = [*sorted(asked.models)]
    for model in models or [None]:
        short = [each.pool for each in found.pools if _serving(each, model) < asked.min_ready]
        if short:
            names = ", ".join(map(repr, short))
            on = f" on {model}" if model is not None else ""
            problems.append(f"pool{'s' if len(short) > 1 else ''} {names}: {_lacking(asked)}{on}")
    if asked.max_used is not None:
        problems += [each for pool in found.pools for each in _overused(pool, asked)]
    if problems:
        raise NoCapacityError("; ".join(problems))


def unserved(found: "Status", models: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Pools, by name, with the models that none of their projects is able to serve."""
    for pool in found.pools:
        yield from ((pool.pool, each) for each in sorted(models) if not _serving(pool, each))


def _lacking(asked: Thresholds) -> str:
    if asked.min_ready == 1:
        return "no project is able to serve"
    return f"fewer than {asked.min_ready} projects are able to serve"


def _serving(pool: "PoolStatus", model: str | None) -> int:
    """How many projects are able to serve a model, or any model."""
    if model is None:
        return pool.ready + pool.full
    return sum(_serves(each, model) for each in pool.projects)


def _serves(project: "ProjectStatus", model: str) -> bool:
    if project.state in {"disabled", "dead"} or project.rule is not None:
        return False
    # A model that is not listed was not used and is not held.
    return all(each.state in _ABLE for each in project.models if each.model == model)


def _overused(pool: "PoolStatus", asked: Thresholds) -> Iterator[str]:
    """What of a pool is used beyond a share, over all its projects that serve the model."""
    serving: dict[str, list[ModelStatus]] = {}
    for project in pool.projects:
        for model in project.models:
            if model.state in _ABLE and (not asked.models or model.model in asked.models):
                serving.setdefault(model.model, []).append(model)
    for name, models in sorted(serving.items()):
        for dimension in DIMENSIONS:
            share = _share(models, dimension)
            if asked.max_used is not None and share > asked.max_used:
                yield f"pool {pool.pool!r} has used {share:.0%} of its {dimension} on {name}"


def _share(models: "Sequence[ModelStatus]", dimension: str) -> float:
    uses = [getattr(each, dimension) for each in models]
    if any(each.limit is None for each in uses):
        return 0.0
    limit = sum(each.limit for each in uses)
    return sum(each.used for each in uses) / limit if limit else 1.0
