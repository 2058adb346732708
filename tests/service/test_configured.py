"""One revision of the registry, as the live store is loaded with it."""

from dataclasses import replace
from typing import Any

import pytest

from keypool_cli.core.model import (
    DIMENSIONS,
    UNLIMITED,
    Catalog,
    Client,
    Key,
    KeyState,
    Mark,
    MarkKind,
    MarkScope,
    Policy,
    Pool,
    Project,
    Provenance,
    QuotaRow,
)
from keypool_cli.service.configured import BOTH_DAYS, EXCLUDED, USABLE, Configured

NOW = 1_790_000_000_000
FLASH = "gemini-2.5-flash"


def a_catalog(**parts):
    empty: dict[str, Any] = {
        "projects": {}, "keys": {}, "pools": {}, "quotas": (),
        "marks": (), "aliases": {}, "clients": {},
    }  # fmt: skip
    return Catalog(revision=7, **{**empty, **parts})


def a_mark(kind=MarkKind.COOL, scope=MarkScope.PROJECT_MODEL, **parts):
    fields = {
        "project_id": 1,
        "model": FLASH if scope is MarkScope.PROJECT_MODEL else None,
        "until_at_ms": NOW if kind is MarkKind.COOL else None,
        "rule": "r", "reason": "why", "at_ms": 5, "granted_at_ms": 5,
    }  # fmt: skip
    return Mark(scope=scope, kind=kind, **{**fields, **parts})


P1 = Project(1, "p1", priority=3, billing_account="acct", reset_at_ms=11)
P2 = Project(2, "p2", billing_account="acct")
P3 = Project(3, "p3")
K1 = Key(10, "k1", 1, "f1")


def live(project=P1, model=FLASH, **parts):
    projects = {each.id: each for each in (P1, P2, P3)} | {project.id: project}
    catalog = a_catalog(**{"projects": projects, "keys": {10: K1}, **parts})
    return Configured(catalog).live_project(project, model)


def test_limits_priority_pools_and_reset_are_loaded():
    pools = {n: Pool(n, f"pool{n}", project_ids=frozenset({1})) for n in (4, 2)}
    quotas = (QuotaRow(Provenance.CONFIGURED, project_id=1, rpm=5, tpm=100, rpd=9, in_flight=2),)
    found = live(pools=pools, quotas=quotas)
    assert (found.rpm, found.tpm, found.rpd, found.in_flight) == (5, 100, 9, 2)
    assert (found.priority, found.pools, found.reset_at_ms) == (3, [2, 4], 11)
    assert found.flags == USABLE


def test_only_keys_that_are_ready_are_loaded():
    keys = {
        n: Key(n, f"k{n}", 1, "f", state=state)
        for n, state in ((12, KeyState.READY), (11, KeyState.DEAD), (10, KeyState.DISABLED))
    }
    assert live(keys=keys | {9: replace(K1, id=9)}).keys == [9, 12]


@pytest.mark.parametrize(
    ("project", "marks", "quotas", "flags"),
    [
        pytest.param(replace(P1, enabled=False), (), (), 0, id="an operator disabled it"),
        pytest.param(P1, (a_mark(MarkKind.EXCLUDE),), (), USABLE | EXCLUDED, id="a model excluded"),
        pytest.param(P1, (a_mark(MarkKind.EXCLUDE, model="m"),), (), USABLE, id="another model"),
        pytest.param(P1, (a_mark(MarkKind.DISABLE, MarkScope.PROJECT),), (), 0, id="disabled"),
        pytest.param(P1, (a_mark(MarkKind.DAY_END),), (), USABLE | BOTH_DAYS, id="both days"),
        pytest.param(
            P1, (), (QuotaRow(Provenance.CONFIGURED, rpm=0),), USABLE | EXCLUDED, id="a limit of 0"
        ),
        pytest.param(P1, (a_mark(project_id=2),), (), USABLE, id="another project"),
    ],
)
def test_marks_and_switches_become_flags(project, marks, quotas, flags):
    assert live(project, marks=marks, quotas=quotas).flags == flags


def test_the_longest_cooldown_of_each_kind_is_loaded():
    marks = (
        a_mark(until_at_ms=NOW, granted_at_ms=21),
        a_mark(scope=MarkScope.PROJECT, until_at_ms=NOW + 5, granted_at_ms=22),
        a_mark(
            scope=MarkScope.BILLING,
            project_id=None,
            billing_account="acct",
            until_at_ms=NOW + 9,
            granted_at_ms=23,
        ),
        a_mark(model="another", until_at_ms=NOW + 99),
    )
    found = live(marks=marks)
    assert (found.cool_until_ms, found.cool_granted_at_ms) == (NOW, 21)
    assert (found.wide_until_ms, found.wide_granted_at_ms) == (NOW + 9, 23)


def test_a_cooldown_that_a_reset_left_stands_though_its_call_came_before():
    found = live(marks=(a_mark(until_at_ms=NOW, granted_at_ms=1),))
    assert found.cool_granted_at_ms > found.reset_at_ms


def test_a_billing_accounts_mark_covers_all_its_projects_and_no_other():
    mark = a_mark(scope=MarkScope.BILLING, project_id=None, billing_account="acct")
    ends = [live(each, marks=(mark,)).wide_until_ms for each in (P1, P2, P3)]
    assert ends == [NOW, NOW, 0]


def test_siblings_share_a_billing_account():
    configured = Configured(a_catalog(projects={1: P1, 2: P2, 3: P3}))
    assert {each.name for each in configured.siblings(P1)} == {"p1", "p2"}
    assert configured.siblings(P3) == [P3]


def test_a_pool_knows_its_priorities_highest_first():
    pools = {
        1: Pool(1, "a", project_ids=frozenset({1, 2, 3})),
        2: Pool(2, "b", policy=Policy.PACK),
    }
    configured = Configured(a_catalog(projects={1: P1, 2: P2, 3: P3}, pools=pools))
    found = {each.id: (each.policy, each.priorities) for each in configured.live_pools()}
    assert found == {1: (0, [3, 0]), 2: (1, [])}


def test_a_model_is_counted_under_its_bucket():
    configured = Configured(a_catalog(aliases={"preview": "stable"}))
    assert (configured.bucket("preview"), configured.bucket("stable")) == ("stable", "stable")


def test_a_revoked_clients_token_is_nobodys():
    clients = {1: Client(1, "a"), 2: Client(2, "b", revoked_at_ms=5)}
    configured = Configured(a_catalog(clients=clients), {"h1": 1, "h2": 2, "h3": 3})
    assert [configured.client_of(each) for each in ("h1", "h2", "h3", "h4")] == [
        clients[1],
        None,
        None,
        None,
    ]


def test_newer_marks_replace_the_older_ones():
    configured = Configured(a_catalog(projects={1: P1}, marks=(a_mark(),)), {"h": 1})
    newer = configured.with_marks([a_mark(until_at_ms=NOW + 1)])
    assert newer.live_project(P1, FLASH).cool_until_ms == NOW + 1
    assert (newer.revision, newer.token_hashes) == (7, {"h": 1})
    assert configured.live_project(P1, FLASH).cool_until_ms == NOW


def test_newer_marks_replace_those_that_were_looked_at_before():
    project = Project(id=1, name="p1")
    old, new = (
        Mark(MarkScope.PROJECT, MarkKind.DISABLE, rule, "reason", 1, 1, project_id=1)
        for rule in ("old", "new")
    )
    configured = Configured(Catalog(1, {1: project}, {}, {}, (), (old,), {}, {}))
    assert configured.marks_of[1] == [old]
    assert configured.projects == {"p1": project}
    newer = configured.with_marks([new])
    assert newer.marks_of[1] == [new]
    assert newer.catalog.marks == (new,)
    assert newer.projects is configured.projects
    assert configured.marks_of[1] == [old]


@pytest.mark.parametrize(
    ("demand", "parts", "takes"),
    [
        pytest.param((5, 100), {}, True, id="all there is"),
        pytest.param((6, 100), {}, False, id="more requests than a minute takes"),
        pytest.param((1, 101), {}, False, id="more tokens than a minute takes"),
        pytest.param((4, 1), {"rpd": 3}, False, id="more requests than a day takes"),
        pytest.param((1, 1), {"in_flight": 0}, False, id="none in flight"),
        pytest.param((9, 9999), {"rpm": UNLIMITED, "tpm": UNLIMITED}, True, id="no limits"),
        pytest.param((1, 1), {"keys": {}}, False, id="no key"),
        pytest.param((1, 1), {"marks": (a_mark(),)}, True, id="cooling"),
        pytest.param((1, 1), {"marks": (a_mark(MarkKind.DISABLE),)}, False, id="set aside"),
        pytest.param((1, 1), {"marks": (a_mark(MarkKind.EXCLUDE),)}, False, id="excluded"),
        pytest.param((1, 1), {"pools": {}}, False, id="no pool"),
        pytest.param((1, 1), {"pools": {4: Pool(4, "p", project_ids=frozenset({9}))}}, False, id="removed"),
    ],
)  # fmt: skip
def test_what_a_pool_may_ever_take(demand, parts, takes):
    limits = {"rpm": 5, "tpm": 100} | {name: parts[name] for name in DIMENSIONS if name in parts}
    known: dict[str, Any] = {
        "projects": {1: P1, 2: P2},
        "keys": {10: K1},
        "pools": {4: Pool(4, "p", project_ids=frozenset({1, 2}))},
        "quotas": (QuotaRow(Provenance.CONFIGURED, project_id=1, **limits),),
    }
    known |= {name: value for name, value in parts.items() if name not in DIMENSIONS}
    assert Configured(a_catalog(**known)).may_take(4, FLASH, *demand) == takes
