"""What is configured, and whether it makes sense: limits, pools, keys, projects."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from shlex import quote

from keypool_cli.core.model import (
    Catalog,
    Event,
    KeyState,
    Project,
    Provenance,
    QuotaRow,
)
from keypool_cli.core.natural import natural
from keypool_cli.core.quota import is_lower, shown
from keypool_cli.core.tiers import all_defaults, default_limits
from keypool_cli.errors import ExitCode
from keypool_cli.service.doctor_finding import Finding, note, ok, problem, some, warning

FEW_TOKENS = 1000
"""A minute's tokens below which hardly any request fits."""

TOO_MANY = 10
"""How many times the tier's usual limit looks like a slip of the finger."""

_NUMBER = re.compile(r"\bprojects?[/ ](\d{6,})\b")


def configured_findings(catalog: Catalog) -> list[Finding]:
    """What does not fit together in the registry."""
    found = [*_limits(catalog), *_unlimited(catalog), *_unused_tiers(catalog)]
    found = found or ([ok("quota", "limits make sense")] if catalog.projects else [])
    return [*found, *_pools(catalog), *_keyless(catalog)]


def _limits(catalog: Catalog) -> Iterator[Finding]:
    learned = {
        (row.project_id, row.model): row
        for row in catalog.quotas
        if row.provenance is Provenance.LEARNED
    }
    for row in catalog.quotas:
        if row.provenance is Provenance.CONFIGURED:
            project = catalog.projects.get(row.project_id or 0)
            yield from _one_limit(row, project, learned.get((row.project_id, row.model)))


def _one_limit(
    row: QuotaRow, project: Project | None, learned: QuotaRow | None
) -> Iterator[Finding]:
    scope = {"project": project.name if project else None, "tier": row.tier, "model": row.model}
    where = " ".join(f"--{name} {quote(value)}" for name, value in scope.items() if value)
    command = f"keypool quota set {where}".rstrip()
    if row.tpm is not None and 0 < row.tpm < FEW_TOKENS:
        text = f"{row.tpm} tokens a minute ({where or 'every project'}): larger requests never fit"
        yield warning("quota", text, f"{command} --tpm N")
    for name, value, usual in _above_usual(row, project):
        text = f"{name} {value} ({where}) is over {TOO_MANY} times the tier's usual {usual}"
        yield warning("quota", text, f"compare with AI Studio, then: {command} --{name} N")
    for name in ("rpm", "tpm", "rpd"):
        set_to, told = getattr(row, name), getattr(learned, name, None)
        if set_to is not None and told is not None and is_lower(told, set_to):
            text = f"{name} {shown(set_to)} is set ({where}), and Google said {told}"
            yield warning("quota", text, f"{command} --{name} {told}")


def _above_usual(row: QuotaRow, project: Project | None) -> Iterator[tuple[str, int, int]]:
    tier = project.tier if project else row.tier
    usual = default_limits(tier, row.model or "")
    for name in ("rpm", "tpm", "rpd") if usual else ():
        value, expected = getattr(row, name), getattr(usual, name)
        if value is not None and expected is not None and value > expected * TOO_MANY > 0:
            yield name, value, expected


def _unlimited(catalog: Catalog) -> Iterator[Finding]:
    """Projects of which nothing is known: only upstream's refusals hold them back."""
    if any(row.project_id is None and row.tier is None for row in catalog.quotas):
        return
    limited = {row.project_id for row in catalog.quotas}
    tiers = {row.tier for row in catalog.quotas if row.tier} | {each[0] for each in all_defaults()}
    projects = catalog.projects.values()
    found = (each.name for each in projects if each.tier not in tiers and each.id not in limited)
    if bare := sorted(found, key=natural):
        yield warning(
            "quota",
            f"without limits, or a tier that has some, so only refusals hold them back: {some(bare)}",
            f"keypool project set {quote(bare[0])} --tier free, or: "
            f"keypool quota set --project {quote(bare[0])} --rpm N --tpm N --rpd N",
        )


def _unused_tiers(catalog: Catalog) -> Iterator[Finding]:
    used = {each.tier for each in catalog.projects.values()}
    for tier in sorted({row.tier for row in catalog.quotas if row.tier} - used, key=str):
        text = f"limits are set for tier {tier}, which no project has"
        yield note("quota", text, f"keypool project set PROJECT --tier {quote(str(tier))}")


def _pools(catalog: Catalog) -> Iterator[Finding]:
    pooled = {number for pool in catalog.pools.values() for number in pool.project_ids}
    found = (each.name for each in catalog.projects.values() if each.id not in pooled)
    if outside := sorted(found, key=natural):
        text = f"in no pool, so never chosen: {some(outside)}"
        yield warning("pools", text, f"keypool pool set main --add-project {quote(outside[0])}")
    for pool in catalog.pools.values():
        if not pool.project_ids:
            text = f"pool {pool.name} has no project"
            yield note("pools", text, f"keypool pool set {quote(pool.name)} --add-project PROJECT")


def _keyless(catalog: Catalog) -> Iterator[Finding]:
    ready = {each.project_id for each in catalog.keys.values() if each.state is KeyState.READY}
    bare = {each.id for each in catalog.projects.values() if each.enabled and each.id not in ready}
    for pool in catalog.pools.values() if catalog.keys else ():
        enabled = {each for each in pool.project_ids if catalog.projects[each].enabled}
        if enabled and enabled <= bare:
            text = f"no project of pool {pool.name} has a key that may be used"
            remedy = f"see why: keypool status --pool {quote(pool.name)}"
            yield problem("pools", text, remedy, ExitCode.FAILURE)
    if without := sorted((catalog.projects[each].name for each in bare), key=natural):
        text = f"without a key that may be used: {some(without)}"
        yield warning("keys", text, f"see why: keypool list --project {quote(without[0])}")


def numbers_told(catalog: Catalog, events: Iterable[Event]) -> dict[str, set[str]]:
    """Google's project numbers that refusals named, by the project of ours they were about."""
    project_of = {key.name: catalog.projects[key.project_id].name for key in catalog.keys.values()}
    names = {each.name for each in catalog.projects.values()}
    found: dict[str, set[str]] = defaultdict(set)
    for event in events:
        name = project_of.get(str(event.detail.get("key")), event.subject)
        if name in names:
            found[name].update(_NUMBER.findall(event.reason or ""))
    return found


def shared_findings(proofs: Mapping[str, set[str]]) -> list[Finding]:
    """Projects of ours that seem to be one of Google's; by name, what proves who they are."""
    owners: dict[str, set[str]] = defaultdict(set)
    for name, things in proofs.items():
        for thing in things:
            owners[thing].add(name)
    groups = sorted(
        {tuple(sorted(names, key=natural)) for names in owners.values() if len(names) > 1}
    )
    return [
        warning(
            "siblings",
            f"{some(group)} seem to be one Google project: their quota is shared, and is counted "
            f"{len(group)} times here",
            f"if so, store the keys of {some(group[1:])} under {quote(group[0])}, one by one: "
            f"keypool remove KEY; keypool add KEY --project {quote(group[0])}",
        )
        for group in groups
    ]
