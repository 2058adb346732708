"""The simulator's memory: projects with their ledgers and tallies, keys, faults."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from keypool_cli.simulator.faults import FaultBook
from keypool_cli.simulator.limiter import DayCount, Ledger, SlidingLog, day_end_ms
from keypool_cli.simulator.quota_bodies import not_offered, over_quota
from keypool_cli.simulator.record import KeyTally, Tally
from keypool_cli.simulator.shelf import Shelf
from keypool_cli.simulator.tokens import CountText, counting
from keypool_cli.simulator.world import ProjectSpec, World

_FIRST_NUMBER = 100_000_000_001
_MS, _S = 10**6, 10**9


@dataclass(slots=True)
class Project:
    """A project of the world, and what it has used.

    number: the project number that some error bodies name. shelf: what it keeps.
    """

    name: str
    number: int
    spec: ProjectSpec
    total: Tally
    models: dict[str, Tally] = field(default_factory=dict)
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    keys: dict[str, KeyTally] = field(default_factory=dict)
    shelf: Shelf = field(default_factory=Shelf)


class State:
    """Everything that changes while the simulator runs. clock_ns: now, since the epoch."""

    def __init__(self, world: World, clock_ns: Callable[[], int]) -> None:
        self.world = world
        self.zone = ZoneInfo(world.day_zone)
        self.window_ms = max(1, round(world.window_s * 1000))
        self.count_text: CountText = counting(world.counts)
        self.faults = FaultBook()
        self.outside: Counter[str] = Counter()
        self.projects: dict[str, Project] = {}
        self.revoked: set[str] = set()
        self.uploads: dict[str, Any] = {}  # open ones, by their id
        self._clock_ns = clock_ns
        self._last_ns = 0
        self._owners: dict[str, Project] = {}
        self._models: dict[str, None] = dict.fromkeys((*world.models, *world.aliases))
        for name, spec in world.projects.items():
            self.add_project(name, spec)

    def now_ns(self) -> int:
        """Now; never earlier than the time before, though a machine's clock may be set back."""
        self._last_ns = max(self._last_ns, self._clock_ns())
        return self._last_ns

    def now_ms(self) -> int:
        """Now in milliseconds."""
        return self.now_ns() // _MS

    @property
    def model_names(self) -> list[str]:
        """Every model that is offered to someone."""
        return list(self._models)

    def has_model(self, model: str) -> bool:
        """Whether there is such a model."""
        return model in self._models

    def bucket(self, model: str) -> str:
        """The name under which a model's quota is counted."""
        return self.world.aliases.get(model, model)

    def add_project(self, name: str, spec: ProjectSpec) -> Project:
        """Add a project, or change one: its keys are added, tier and limits replaced."""
        project = self.projects.get(name)
        if project is None:
            number = _FIRST_NUMBER + len(self.projects)
            project = Project(name, number, spec, self._tally())
            self.projects[name] = project
        project.spec = spec
        for key in spec.keys:
            project.keys.setdefault(key, KeyTally())
            self._owners[key] = project
        named = [model for model in spec.models or () if model != "*"]
        self._models.update(dict.fromkeys(named))
        return project

    def owner(self, key: str) -> Project | None:
        """The project of a key, revoked or not; None when the key is unknown."""
        return self._owners.get(key) or self._from_prefix(key)

    def _from_prefix(self, key: str) -> Project | None:
        prefix = self.world.key_prefix
        if prefix is None or not key.startswith(prefix):
            return None
        name, dash, rest = key.removeprefix(prefix).rpartition("-")
        if not (name and dash and rest):
            return None
        known = self.projects.get(name)
        project = known or self.add_project(name, self.world.template)
        project.keys[key] = KeyTally()
        self._owners[key] = project
        return project

    def admit(self, project: Project, model: str, tokens: int) -> None:
        """Book one request of ``tokens``, or raise the 429 that its limits call for."""
        now_ns = self.now_ns()
        bucket = self.bucket(model)
        limits = project.spec.limits(bucket)
        tier = project.spec.tier
        if not limits.is_offered:
            raise not_offered(tier=tier, model=bucket, retry_ns=self.minute_left_ns())
        ledger = self._ledger(project, bucket)
        excesses = ledger.excesses(limits, tokens, now_ms=now_ns // _MS)
        if excesses:
            is_day = any(excess.limit == "rpd" for excess in excesses)
            retry_ns = self.day_hint_ns() if is_day else self.minute_left_ns()
            raise over_quota(excesses, tier=tier, model=bucket, retry_ns=retry_ns)
        ledger.book(tokens, now_ms=now_ns // _MS)
        project.total.window.add(tokens, now_ns // _MS)

    def minute_left_ns(self) -> int:
        """Time to the next boundary of a fixed grid of windows, where real retry hints point."""
        window_ns = self.window_ms * _MS
        return window_ns - self.now_ns() % window_ns

    def day_hint_ns(self) -> int:
        """What a refusal for a spent day says about when to retry."""
        if self.world.day_hint == "short":
            return self.minute_left_ns()
        zone = ZoneInfo("UTC") if self.world.day_hint == "utc" else self.zone
        return day_end_ms(self.now_ms(), zone) * _MS - self.now_ns()

    def tally(self, project: Project, model: str) -> Tally:
        """The tally of a project's model; its window is the one that limits it."""
        bucket = self.bucket(model)
        if bucket not in project.models:
            project.models[bucket] = Tally(self._ledger(project, bucket).window)
        return project.models[bucket]

    def accepted(self, project: Project, key: str, *, model: str, tokens: int) -> None:
        """Record that a call was let through."""
        project.total.accept(tokens)
        self.tally(project, model).accept(tokens)
        project.keys[key].accepted += 1

    def dropped(self, project: Project, model: str) -> None:
        """Record that a fault broke the connection of an accepted call."""
        project.total.dropped += 1
        self.tally(project, model).dropped += 1

    def refused(self, project: Project, key: str, *, model: str | None, kind: str) -> None:
        """Record that a call was refused; model: None where it named none that exists."""
        project.total.refused[kind] += 1
        project.keys[key].refused += 1
        if model is not None and self.has_model(model):
            self.tally(project, model).refused[kind] += 1

    def reset(self) -> None:
        """Forget windows, days, faults, revocations and the record; projects and keys stay."""
        self.faults.clear()
        self.revoked.clear()
        self.outside.clear()
        for project in self.projects.values():
            project.total = self._tally()
            project.models.clear()
            project.ledgers.clear()
            project.keys = {key: KeyTally() for key in project.keys}

    def record(self) -> Mapping[str, Any]:
        """What was seen since the start or the last reset."""
        return {
            "window_s": self.window_ms / 1000,
            "outside": dict(self.outside),
            "projects": {name: _project_json(it) for name, it in self.projects.items()},
        }

    def _ledger(self, project: Project, bucket: str) -> Ledger:
        if bucket not in project.ledgers:
            window = SlidingLog(self.window_ms)
            project.ledgers[bucket] = Ledger(window, DayCount(self.zone))
        return project.ledgers[bucket]

    def _tally(self) -> Tally:
        return Tally(SlidingLog(self.window_ms))


def _project_json(project: Project) -> Mapping[str, Any]:
    return {
        **project.total.as_json(),
        "number": project.number,
        "keys": {key: tally.as_json() for key, tally in project.keys.items()},
        "models": {model: tally.as_json() for model, tally in project.models.items()},
    }
