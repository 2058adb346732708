"""A status in plain words: headlines, tab-separated rows, and the command that helps."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from keypool_cli.cli.durations import in_words
from keypool_cli.core.natural import natural

if TYPE_CHECKING:
    from keypool_cli.service.standing import (
        KeyStatus,
        ModelStatus,
        PoolStatus,
        ProjectStatus,
        Status,
        Use,
    )

PROBLEMS_FIRST = ("dead", "disabled", "cooling", "excluded", "full", "ready")
_RANK = {state: rank for rank, state in enumerate(PROBLEMS_FIRST)}
_DOWN = frozenset({"dead", "disabled"})
_SERVING = frozenset({"full", "ready"})
NO_LIMIT = "∞"

Row = tuple["ProjectStatus", "ModelStatus | None", str]
"""Project, model (None where it has none to show) and state."""

WHOLE_PROJECT_RULES = frozenset(
    {"project-spend-cap", "account-spend-cap", "spend-rate", "no-credit"}
)
"""Rules of cooldowns on every model at once, which no reset of one model lifts. Named here too:
the module that has them is slow to import."""

_UPSTREAM_FIRST: Mapping[str, str] = {
    "project-spend-cap": "once its spend cap is raised",
    "account-spend-cap": "once the account's spend cap is raised",
    "no-credit": "once the account has credit",
}
"""What has to happen before a reset helps, by the rule of a cooldown."""

KEYS_SHOWN = 3
"""Keys named in one cell; the rest are counted."""

MOST_HINTS = 3


def lines(status: "Status", sort: str = "problems") -> Iterator[str]:
    """Headlines, then tab-separated rows."""
    for pool in status.pools:
        yield headline(pool, status.at)
    for pool in status.pools:
        for project, model, state in rows(pool, sort):
            yield _tabbed(pool, project, model, state)


def worst_first(pools: "Iterable[PoolStatus]") -> "list[PoolStatus]":
    """Pools whose projects are all held, then those with some that are, then the others."""
    return sorted(pools, key=lambda pool: (not _held(pool), pool.ready + pool.full > 0))


def headline(pool: "PoolStatus", at: str) -> str:
    """The answer in one line: how many serve, what holds the others, when the next is ready."""
    total = sum(getattr(pool, state) for state in PROBLEMS_FIRST)
    if total == 0:
        return f"{pool.pool}: no projects"
    parts = [f"{pool.ready + pool.full} of {total} projects ready"]
    if pool.full:
        parts.append(f"{pool.full} of them full this minute")
    parts += _held(pool)
    if pool.next_ready_at and pool.next_ready_s is not None:
        parts.append(f"next at {clock(pool.next_ready_at, at)} in {in_words(pool.next_ready_s)}")
    return f"{pool.pool}: {', '.join(parts)}"


def short_headline(pool: "PoolStatus") -> str:
    """The answer in few words, for a line that must not be longer than the terminal."""
    total = sum(getattr(pool, state) for state in PROBLEMS_FIRST)
    full = f" ({pool.full} full)" if pool.full else ""
    parts = [f"{pool.ready + pool.full} of {total} ready{full}", *_held(pool)]
    if pool.next_ready_s is not None:
        parts.append(f"next in {in_words(pool.next_ready_s)}")
    return f"{pool.pool}: {', '.join(parts)}"


def _held(pool: "PoolStatus") -> list[str]:
    held = ("cooling", "excluded", "disabled", "dead")
    return [f"{getattr(pool, state)} {state}" for state in held if getattr(pool, state)]


def clock(instant: str, now: str) -> str:
    """An instant to the second, with its date where that is not today's."""
    when = datetime.fromisoformat(instant)
    today = when.date() == datetime.fromisoformat(now).date()
    return when.strftime("%H:%M:%S UTC" if today else "%Y-%m-%d %H:%M:%S UTC")


def rows(pool: "PoolStatus", sort: str = "problems") -> list[Row]:
    """Every row of a pool. sort: of ORDERS; rows that are equal in it are in the order of names."""
    return rows_of(pool.projects, sort)


def rows_of(projects: "Iterable[ProjectStatus]", sort: str = "problems") -> list[Row]:
    """Every row of these projects, sorted as those of a pool are."""
    return sorted(_unsorted(projects), key=ORDERS[sort])


def _unsorted(projects: "Iterable[ProjectStatus]") -> "Iterator[Row]":
    for project in projects:
        # Without a usable key, what its models would allow is beside the point.
        down = project.state if project.state in _DOWN else None
        for model in project.models:
            yield project, model, down or model.state
        if not project.models:
            yield project, None, project.state


def _share(dimension: str) -> Callable[[Row], float]:
    """Most used first; what has no limit, or no model, comes last."""

    def share(row: Row) -> float:
        use: Use | None = getattr(row[1], dimension, None)
        return -used_share(use) if use is not None else 1.0

    return share


def used_share(use: "Use") -> float:
    """How much of a limit is used, from 0; without a limit 0, of a limit of 0 all."""
    if use.limit is None:
        return 0.0
    return use.used / use.limit if use.limit else 1.0


def left_s(row: Row) -> float | None:
    """Seconds until a row is ready, where that is known."""
    return (row[1] or row[0]).remaining_s


def _left(row: Row) -> float:
    left = left_s(row)
    return float("inf") if left is None else left


ORDERS: Mapping[str, Callable[[Row], float | str]] = {
    "problems": lambda row: _RANK[row[2]],
    "project": lambda row: natural(row[0].project),
    "model": lambda row: row[1].model if row[1] is not None else "",
    "rpm": _share("rpm"),
    "tpm": _share("tpm"),
    "rpd": _share("rpd"),
    "leases": lambda row: -row[1].leases if row[1] is not None else 1,
    "left": _left,
}
"""How rows may be sorted: what needs attention first."""


def keys_text(project: "ProjectStatus", *, fingerprints: bool) -> str:
    """The first keys of a project, those that are not ready marked."""
    if len(project.keys) == 1:  # nearly always
        return _key_text(project.keys[0], fingerprints=fingerprints)
    first = sorted(project.keys, key=lambda key: key.state == "ready")[:KEYS_SHOWN]
    words = [_key_text(key, fingerprints=fingerprints) for key in first]
    more = len(project.keys) - len(first)
    return ", ".join(words) + (f", +{more}" if more else "")


def _key_text(key: "KeyStatus", *, fingerprints: bool) -> str:
    named = f"{key.name} {key.fingerprint}" if fingerprints else key.name
    return named if key.state == "ready" else f"{named} ({key.state})"


def reason_text(project: "ProjectStatus", model: "ModelStatus | None") -> str:
    """Why a row is not ready, with the rule that said so."""
    told = model if model is not None and model.reason else project
    rule = f" ({told.rule})" if told.rule else ""
    return f"{told.reason}{rule}" if told.reason else ""


def short_reason(text: str) -> str:
    """A reason without upstream's own words, which come last and between quotes."""
    ours, _, quoted = text.partition(": “")
    rule = quoted.rpartition("”")[2].lstrip(".")
    return f"{ours}{rule}"


def use_text(use: "Use") -> str:
    """Used, limit and the provenance's letter: ``12/15 c``."""
    limit = NO_LIMIT if use.limit is None else use.limit
    return f"{use.used}/{limit} {use.provenance[0]}"


def advice(status: "Status") -> list[str]:
    """The commands that help most, one for each kind of trouble, the worst first."""
    found: dict[str, str] = {}
    for pool in worst_first(status.pools):
        stopped = [row for row in _unsorted(pool.projects) if row[2] not in _SERVING]
        for row in sorted(stopped, key=ORDERS["problems"]):
            command = _remedy(*row)
            if command is not None:
                found.setdefault(command.partition(": ")[0], command)
    told = [*found.values()][:MOST_HINTS]
    spent = [pool for pool in status.pools if not pool.ready + pool.full]
    told += [_more_keys(pool) for pool in spent]
    return told if status.pools else ["to store a key: keypool add NAME --project PROJECT"]


def _more_keys(pool: "PoolStatus") -> str:
    used = any(getattr(pool, state) for state in PROBLEMS_FIRST)
    what = "for more room" if used else "to store a key"
    return f"{what}: keypool add NAME --project PROJECT --pool {shlex.quote(pool.pool)}"


def _remedy(project: "ProjectStatus", model: "ModelStatus | None", state: str) -> str | None:
    name = shlex.quote(project.project)
    key = next((shlex.quote(key.name) for key in project.keys if key.state == state), None)
    if state == "dead":
        return f"upstream refuses the key; give it a new secret: keypool rotate {key}"
    if state == "disabled":
        return _remedy_of_disabled(project, key)
    if state == "cooling":
        return _remedy_of_cooling(project, model)
    if state == "excluded" and model is not None and model.rule:
        return f"if the model is offered now: keypool reset --project {name} --failures"
    return None


def _remedy_of_cooling(project: "ProjectStatus", model: "ModelStatus | None") -> str:
    name, rule = shlex.quote(project.project), (model or project).rule or ""
    alone = model is not None and rule not in WHOLE_PROJECT_RULES
    on = f" --model {shlex.quote(model.model)}" if model is not None and alone else ""
    when = _UPSTREAM_FIRST.get(rule, "if upstream would serve it again already")
    return f"{when}: keypool reset --project {name}{on}"


def _remedy_of_disabled(project: "ProjectStatus", key: str | None) -> str:
    name = shlex.quote(project.project)
    if project.rule:
        return f"once upstream accepts the project: keypool reset --project {name} --failures"
    if not project.keys:
        return f"it has no key: keypool add NAME --project {name}"
    if key is not None and all(each.state != "ready" for each in project.keys):
        return f"to use it again: keypool enable {key}"
    return f"to use it again: keypool project set {name} --enable"


def _tabbed(
    pool: "PoolStatus", project: "ProjectStatus", model: "ModelStatus | None", state: str
) -> str:
    name, uses = "", "\t\t\t"
    if model is not None:
        name = model.model
        uses = (
            f"{use_text(model.rpm)}\t{use_text(model.tpm)}\t{use_text(model.rpd)}\t{model.leases}"
        )
    left = left_s((project, model, state))
    left_text = "" if left is None else f"{left:.0f}"
    reason = reason_text(project, model).replace("\t", " ")
    keys = keys_text(project, fingerprints=True)
    start = f"{pool.pool}\t{project.project}\t{name}\t{state}\t{uses}"
    return f"{start}\t{left_text}\t{reason}\t{keys}"
