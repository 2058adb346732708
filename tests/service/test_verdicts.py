"""What a verdict becomes: live marks, marks in SQL, learned limits, aliases."""

import pytest

from keypool_cli.core.model import Catalog, Client, Key, Mark, MarkKind, MarkScope, Project
from keypool_cli.engine.types import LiveMark, MarkAction, Settled
from keypool_cli.service.configured import Configured
from keypool_cli.service.verdicts import (
    DAEMON,
    AliasClaims,
    Evidence,
    acts,
    confirmed,
    decides,
    live_mark,
    refusal_of,
)
from tests.support import bodies, bodies_faults
from tests.support.refusals import DAY_END, NOW, judge

FLASH = "gemini-2.5-flash"
PROJECT = Project(1, "p1", billing_account="acct")
SIBLING = Project(2, "p2", billing_account="acct")
KEY = Key(10, "k1", 1, "f1")


def evidence(status=429, body=bodies.FREE_DAY, *, applied=True, until_ms=DAY_END, **parts):
    settled = Settled(0, applied, until_ms, "", 1, 10, NOW - 5, True)
    fields = {"model": FLASH, "project": PROJECT, "key": KEY, "lease_id": "x.m", "source": "c1"}
    verdict = judge(status, body)
    return Evidence(**{**fields, **parts}, verdict=verdict, settled=settled, reason="why")


@pytest.mark.parametrize(
    ("status", "body", "action"),
    [
        (429, bodies.FREE_DAY, MarkAction.COOL),
        (429, bodies.PROJECT_CAP, MarkAction.WIDE),
        (402, bodies.NO_CREDIT, MarkAction.WIDE),
        (429, bodies.LIMIT_ZERO_FREE, MarkAction.EXCLUDE),
        (403, bodies_faults.SERVICE_DISABLED, MarkAction.DISABLE),
        (400, bodies_faults.KEY_INVALID, MarkAction.DROP_KEY),
        (429, bodies.CAPACITY, None),
        (404, bodies_faults.UNKNOWN_MODEL, None),
        (0, None, None),
    ],
)
def test_a_verdict_has_one_effect_on_live_state(status, body, action):
    mark = live_mark(judge(status, body), jitter=0.5)
    assert (mark.action if mark else None) is action


def test_a_cooldown_ends_at_an_instant_or_grows():
    assert live_mark(judge(429, bodies.FREE_DAY), jitter=0.5) == LiveMark(
        MarkAction.COOL, until_ms=DAY_END, jitter=0.5
    )
    opaque = live_mark(judge(429, bodies.CHECK_QUOTA), jitter=0.5)
    assert opaque is not None
    assert opaque.until_ms == 0
    assert 0 < opaque.base_ms < opaque.cap_ms


def test_some_clients_are_believed_for_their_usage_only():
    verdict = judge(429, bodies.FREE_DAY)
    assert acts(verdict, None)
    assert acts(verdict, Client(1, "c"))
    assert not acts(verdict, Client(1, "c", reports="usage"))
    assert not acts(None, None)


def test_a_cooldown_is_kept_with_all_that_explains_it():
    refusal = refusal_of(evidence(), confirmed=False)
    [mark] = refusal.marks
    assert (mark.scope, mark.kind, mark.rule) == (
        MarkScope.PROJECT_MODEL,
        MarkKind.COOL,
        "per-day",
    )
    assert (mark.project_id, mark.model, mark.until_at_ms) == (1, FLASH, DAY_END)
    assert (mark.source, mark.lease_id, mark.granted_at_ms) == ("c1", "x.m", NOW - 5)
    assert (refusal.subject, refusal.source, refusal.lease_id) == ("p1", "c1", "x.m")
    [limits] = refusal.limits
    assert (limits.project_id, limits.model, limits.values) == (1, FLASH, {"rpd": 20})


def test_what_was_not_applied_marks_nothing():
    assert refusal_of(evidence(applied=False), confirmed=False).marks == ()


def test_a_dead_key_is_named_with_the_secret_it_had():
    refusal = refusal_of(evidence(400, bodies_faults.KEY_INVALID), confirmed=False)
    assert refusal.marks == ()
    [dead] = refusal.dead_keys
    assert (dead.key_id, dead.rule, dead.fingerprint) == (10, "key-invalid", "f1")
    assert refusal.subject == "k1"


def test_a_key_that_is_gone_cannot_die():
    refusal = refusal_of(evidence(400, bodies_faults.KEY_INVALID, key=None), confirmed=False)
    assert not decides(refusal)


@pytest.mark.parametrize(
    ("project", "is_confirmed", "scope"),
    [
        (PROJECT, True, MarkScope.BILLING),
        (PROJECT, False, MarkScope.PROJECT),
        (Project(1, "p1"), True, MarkScope.PROJECT),
    ],
)
def test_one_clients_word_of_an_account_marks_its_project_only(project, is_confirmed, scope):
    told = evidence(402, bodies.NO_CREDIT, project=project)
    [mark] = refusal_of(told, confirmed=is_confirmed).marks
    assert mark.scope is scope
    assert (mark.billing_account is None) is (scope is MarkScope.PROJECT)


def test_another_end_of_the_day_is_kept_as_a_hint():
    [mark, hint] = refusal_of(evidence(429, bodies.PAID_DAY_TO_UTC_MIDNIGHT), confirmed=False).marks
    assert (mark.kind, hint.kind, hint.until_at_ms) == (MarkKind.COOL, MarkKind.DAY_END, None)


def test_a_refusal_that_decides_nothing_is_not_kept():
    assert not decides(refusal_of(evidence(503, bodies_faults.OVERLOADED), confirmed=True))


def configured_with(*marks):
    projects = {1: PROJECT, 2: SIBLING, 3: Project(3, "p3")}
    return Configured(Catalog(1, projects, {}, {}, (), marks, {}, {}))


def cap_mark(**parts):
    rule = judge(402, bodies.NO_CREDIT).rule
    fields = {"project_id": 2, "source": "c2", "rule": rule, "until_at_ms": DAY_END}
    return Mark(
        scope=MarkScope.PROJECT, kind=MarkKind.COOL, reason="", at_ms=0, granted_at_ms=0,
        **{**fields, **parts},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("marks", "source", "sure"),
    [
        pytest.param((), "c1", False, id="nobody else said it"),
        pytest.param((), DAEMON, True, id="the daemon saw it itself"),
        pytest.param((cap_mark(),), "c1", True, id="another client said it of a sibling"),
        pytest.param((cap_mark(project_id=1),), "c1", True, id="another client said it of it"),
        pytest.param((cap_mark(source="c1"),), "c1", False, id="the same client said it before"),
        pytest.param((cap_mark(rule="other"),), "c1", False, id="another said something else"),
        pytest.param((cap_mark(project_id=3),), "c1", False, id="it was another account"),
        pytest.param((cap_mark(until_at_ms=NOW - 9),), "c1", False, id="it is long over"),
    ],
)
def test_a_second_source_confirms_what_is_said_of_an_account(marks, source, sure):
    told = evidence(402, bodies.NO_CREDIT, source=source)
    assert confirmed(configured_with(*marks), told) is sure


def test_an_alias_needs_two_sources_or_the_daemons_own_word():
    claims = AliasClaims()
    alias = {"preview": FLASH}
    assert claims.confirmed(evidence(model="preview")) == {}
    assert claims.confirmed(evidence(model="preview")) == {}
    assert claims.confirmed(evidence(model="preview", source="c2")) == alias
    assert AliasClaims().confirmed(evidence(model="preview", source=DAEMON)) == alias
    assert claims.confirmed(evidence(source="c2")) == {}


def test_limits_and_cooldowns_are_those_of_the_bucket_that_is_sure():
    told = evidence(model="preview")
    for aliases, model in (({}, "preview"), ({"preview": FLASH}, FLASH)):
        refusal = refusal_of(told, confirmed=False, aliases=aliases)
        assert {each.model for each in refusal.limits} == {model}
        assert {each.model for each in refusal.marks} == {model}
