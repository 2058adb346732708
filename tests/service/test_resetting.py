"""``reset``: what it clears, what it leaves, and that it says so exactly."""

import sqlite3
from contextlib import closing

import pytest

from keypool_cli.core.model import KeyState, Mark, MarkKind, MarkScope, Secret
from keypool_cli.engine.types import Acquired, Demand, Grant, LiveMark, MarkAction, Settlement
from keypool_cli.errors import NotFoundError, UnreachableError
from keypool_cli.registry.change import noting_revisions
from keypool_cli.registry.values import (
    DeadKey,
    EventFilter,
    LearnedLimits,
    NewKey,
    QuotaScope,
    Refusal,
    Reset,
)
from keypool_cli.service.changing import spread
from keypool_cli.service.lease_ids import new_lease_id
from keypool_cli.service.resetting import dead_keys, reset, targets
from keypool_cli.service.resetting_values import ResetRequest
from keypool_cli.service.sync import read_configured, sync_model
from tests.support.daemon import BY
from tests.support.registry import teach

M, OTHER = "model-a", "model-b"
HOUR_MS = 3_600_000


class World:
    """Three projects, two of one billing account, loaded on two models."""

    def __init__(self, ports):
        self.ports, self.registry, self.ids = ports, ports.registry, {}

    async def build(self):
        for name in ("p1", "p2", "p3"):
            key = self.registry.keys.add(NewKey(f"{name}-key", Secret(f"s-{name}"), name), by=BY)
            self.ids[name] = key.project_id
        for name in ("p1", "p2"):
            self.registry.projects.set(name, by=BY, billing_account="acct")
        self.registry.quotas.set(QuotaScope(), {"rpm": 9}, by=BY)
        for model in (M, OTHER):
            await sync_model(self.ports, model, await read_configured(self.ports))
        return self

    async def use(self, project, *, model=M, tokens=10):
        demand = Demand(new_lease_id(model), 1, tokens, prefer=str(self.ids[project]))
        revision = self.registry.revision()
        answer = await self.ports.engine.acquire(model, 1, [demand], revision=revision)
        assert isinstance(answer, Acquired)
        [grant] = answer.results
        assert isinstance(grant, Grant)
        assert grant.project_id == self.ids[project]
        return grant

    async def refuse(self, project, kind=MarkKind.COOL, scope=MarkScope.PROJECT_MODEL, model=M):
        """A refusal, in live state and in SQL."""
        await self.record(await self.stop(project, kind, scope, model))

    async def stop(self, project, kind=MarkKind.COOL, scope=MarkScope.PROJECT_MODEL, model=M):
        """A refusal in live state; answers what SQL is to have of it."""
        grant = await self.use(project, model=model)
        until = grant.granted_at_ms + HOUR_MS if kind is MarkKind.COOL else None
        actions = {
            MarkKind.COOL: MarkAction.COOL if scope is MarkScope.PROJECT_MODEL else MarkAction.WIDE,
            MarkKind.EXCLUDE: MarkAction.EXCLUDE,
            MarkKind.DISABLE: MarkAction.DISABLE,
        }
        live = LiveMark(actions[kind], until_ms=until or 0)
        await self.ports.engine.settle(model, [Settlement(grant.lease_id, 0, 0, False, live, "{}")])
        mark = Mark(
            scope, kind, f"{kind}-rule", "why", grant.granted_at_ms, grant.granted_at_ms,
            project_id=self.ids[project] if scope is not MarkScope.BILLING else None,
            model=model if scope is MarkScope.PROJECT_MODEL else None,
            billing_account="acct" if scope is MarkScope.BILLING else None,
            until_at_ms=until,
        )  # fmt: skip
        return Refusal(project, marks=(mark,))

    async def record(self, refusal):
        with noting_revisions() as made:
            self.registry.marks.record([refusal], by=BY)
        await spread(self.ports, list(self.ids.values()), made)

    async def reset(self, **request):
        configured = await read_configured(self.ports)
        done = await reset(self.ports, configured, ResetRequest(**request), by=BY)
        return [
            (each.what, each.subject, each.model, each.rule or each.was) for each in done.cleared
        ]

    async def left(self, **request):
        """What a reset leaves: whose, on which model, and whether it takes ``--failures``."""
        configured = await read_configured(self.ports)
        self.done = await reset(self.ports, configured, ResetRequest(**request), by=BY)
        return [
            (each.mark.billing_account or each.project, each.mark.model, each.needs_failures)
            for each in self.done.held
        ]

    async def view(self, project, model=M):
        [found] = (await self.ports.engine.snapshot(model, [self.ids[project]])).views
        return found


@pytest.fixture
async def world(ports):
    return await World(ports).build()


async def test_a_model_may_be_named_by_its_alias(world):
    await world.refuse("p1")
    teach(world.registry, aliases={"latest": M})
    assert await world.reset(project="p1", model="latest") == [("cooldown", "p1", M, "cool-rule")]
    assert (await world.view("p1")).cool_until_ms == 0


async def test_a_keys_reset_clears_all_cooldowns_of_its_project_and_account(world):
    await world.refuse("p1")
    await world.refuse("p1", model=OTHER)
    await world.refuse("p2", scope=MarkScope.BILLING)
    cleared = await world.reset(keys=("p1-key",))
    assert sorted(cleared) == [
        ("cooldown", "acct", None, "cool-rule"),
        ("cooldown", "p1", M, "cool-rule"),
        ("cooldown", "p1", OTHER, "cool-rule"),
    ]
    for project in ("p1", "p2"):
        for model in (M, OTHER):
            await world.use(project, model=model)
    assert world.registry.marks.all() == []


async def test_a_sibling_of_the_account_loses_its_cooldown_and_nothing_else(world):
    await world.use("p2", tokens=30)
    await world.refuse("p2", MarkKind.EXCLUDE, model=OTHER)
    key = world.registry.keys.find("p2-key")
    await world.refuse("p2")
    cleared = await world.reset(keys=("p1-key",), counters=True, failures=True)
    assert cleared == [("cooldown", "p2", M, "cool-rule")]
    found = await world.view("p2")
    assert (found.requests, found.tokens, found.day_requests) == (2, 30, 2)
    assert not (await world.view("p2", OTHER)).usable
    await world.record(Refusal("p2-key", dead_keys=(DeadKey(key.id, "key-leaked", "why"),)))
    assert await world.reset(keys=("p1-key",), counters=True, failures=True) == []
    assert world.registry.keys.find("p2-key").state is KeyState.DEAD


async def test_the_log_tells_whose_reset_it_was_and_all_it_did(world):
    await world.reset(keys=("p1-key",), counters=True)
    [event] = world.registry.events.read(EventFilter(kind="reset"))
    assert event.subject == "p1"
    assert (event.detail["projects"], event.detail["counters"]) == (["p1", "p2"], True)


async def test_another_project_keeps_its_cooldown(world):
    await world.refuse("p3")
    assert await world.reset(project="p1") == []
    assert (await world.view("p3")).why == "cooldown"


async def test_nothing_to_clear_is_said(world):
    assert await world.reset(everything=True) == []


async def test_one_models_reset_leaves_the_others_cooling(world):
    await world.refuse("p3")
    await world.refuse("p3", model=OTHER)
    assert await world.reset(project="p3", model=M) == [("cooldown", "p3", M, "cool-rule")]
    await world.use("p3")
    assert (await world.view("p3", OTHER)).why == "cooldown"


async def test_one_models_reset_leaves_cooldowns_of_others_that_sql_has_not_got_yet(world):
    unwritten = await world.stop("p1", model=OTHER)
    until = (await world.view("p1", OTHER)).cool_until_ms
    await world.reset(project="p1", model=M)
    assert (await world.view("p1", OTHER)).cool_until_ms == until > 0
    await world.record(unwritten)
    assert unwritten.marks[0] in world.registry.marks.all()


async def test_a_reset_that_the_database_does_not_take_says_what_is_cleared(world):
    await world.refuse("p1")
    with closing(sqlite3.connect(world.ports.settings.home / "keypool.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnreachableError, match=r"the reset holds until .* locked") as told:
            await world.reset(project="p1")
    assert "run it again" in str(told.value.hint)
    assert (await world.view("p1")).why == ""
    assert await world.reset(project="p1") == [("cooldown", "p1", M, "cool-rule")]


async def test_one_models_reset_is_heard_where_its_node_was_away(world):
    """The live store of the model knows nothing of it before it is loaded again."""
    await world.stop("p1")
    at_ms = await world.ports.engine.now_ms()
    world.registry.marks.reset(Reset([world.ids["p1"]], model=M, at_ms=at_ms), by=BY)
    await sync_model(world.ports, M, await read_configured(world.ports))
    assert (await world.view("p1")).cool_until_ms == 0


async def test_what_one_models_reset_cleared_does_not_come_back_when_sql_gets_it(world):
    unwritten = await world.stop("p1")
    await world.reset(project="p1", model=M)
    await world.record(unwritten)
    assert unwritten.marks[0] not in world.registry.marks.all()


async def test_after_one_models_reset_a_lost_store_still_knows_the_others_cooldowns(world):
    for model in (M, OTHER):
        await world.refuse("p3", model=model)
    until = (await world.view("p3", OTHER)).cool_until_ms
    await world.reset(project="p3", model=M)
    await world.ports.engine.store.client.flushall()
    for model in (M, OTHER):
        await sync_model(world.ports, model, await read_configured(world.ports))
    assert (await world.view("p3", OTHER)).cool_until_ms == until
    assert (await world.view("p3", M)).cool_until_ms < until


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("scope", "subject"), [(MarkScope.PROJECT, "p1"), (MarkScope.BILLING, "acct")]
)
async def test_one_models_reset_leaves_and_names_what_stops_whole_projects(
    world, scope, subject, dry_run
):
    await world.refuse("p1", scope=scope)
    assert await world.left(project="p1", model=M, dry_run=dry_run) == [(subject, None, False)]
    assert world.done.cleared == ()
    assert world.done.freed == ()
    subjects = [each.subject for each in world.registry.events.read(EventFilter(kind="reset"))]
    assert subjects == (["p2"] if subject == "p1" and not dry_run else [])
    assert (await world.view("p1")).why == "cooldown"
    assert len(world.registry.marks.all()) == 1


async def test_a_project_that_stays_stopped_does_not_keep_others_from_their_reset(world):
    await world.refuse("p1", scope=MarkScope.PROJECT)
    await world.refuse("p3")
    assert await world.left(everything=True, model=M) == [("p1", None, False)]
    assert world.done.freed == ("p3-key",)
    assert (await world.view("p1")).why == "cooldown"
    await world.use("p3")


async def test_without_a_model_what_stops_whole_projects_is_lifted(world):
    await world.refuse("p1", scope=MarkScope.PROJECT)
    assert await world.left(project="p1") == []
    assert world.done.freed == ("p1-key",)
    await world.use("p1", model=OTHER)


async def test_what_refusals_shut_and_a_plain_reset_leaves_is_named(world):
    await world.refuse("p3", MarkKind.EXCLUDE)
    await world.refuse("p3", MarkKind.DISABLE, MarkScope.PROJECT, OTHER)
    assert sorted(await world.left(project="p3"), key=str) == [("p3", M, True), ("p3", None, True)]
    assert world.done.freed == ()
    assert await world.left(project="p3", model=OTHER) == [("p3", None, True)]
    assert await world.left(project="p3", failures=True) == []
    assert world.done.freed == ("p3-key",)


async def test_one_models_reset_with_failures_leaves_a_disabled_project(world):
    await world.refuse("p3", MarkKind.DISABLE, MarkScope.PROJECT, OTHER)
    assert await world.left(project="p3", model=M, failures=True) == [("p3", None, True)]
    assert len(world.registry.marks.all()) == 1


async def test_a_cooldown_that_is_over_holds_nothing(world):
    grant = await world.use("p3")
    mark = Mark(
        MarkScope.PROJECT, MarkKind.COOL, "cap", "why", grant.granted_at_ms, grant.granted_at_ms,
        project_id=world.ids["p3"], until_at_ms=grant.granted_at_ms - 1,
    )  # fmt: skip
    await world.record(Refusal("p3", marks=(mark,)))
    assert await world.left(project="p3", model=M) == []


async def test_only_keys_that_were_held_and_now_serve_are_said_to_be_free(world):
    await world.refuse("p2", scope=MarkScope.BILLING)
    await world.refuse("p3")
    world.registry.keys.disable("p3-key", by=BY)
    await world.left(everything=True)
    assert set(world.done.freed) == {"p1-key", "p2-key"}
    await world.refuse("p1")
    await world.left(everything=True)
    assert world.done.freed == ("p1-key",)


async def test_a_rehearsal_changes_nothing_and_says_the_same(world):
    await world.refuse("p1")
    rehearsed = await world.reset(project="p1", dry_run=True, counters=True)
    assert (await world.view("p1")).why == "cooldown"
    assert len(world.registry.marks.all()) == 1
    assert await world.reset(project="p1", counters=True) == rehearsed


async def test_a_cooldown_is_cleared_without_touching_a_counter(world):
    await world.use("p1", tokens=30)
    await world.refuse("p1")
    await world.reset(project="p1")
    found = await world.view("p1")
    assert (found.requests, found.tokens, found.day_requests) == (2, 30, 2)


async def test_counters_are_emptied_where_that_is_asked(world):
    await world.use("p1", tokens=30)
    cleared = await world.reset(project="p1", counters=True)
    assert cleared == [
        ("minute window", "p1", M, "1 requests, 30 tokens"),
        ("day count", "p1", M, "1 requests"),
    ]
    found = await world.view("p1")
    assert (found.requests, found.tokens, found.day_requests) == (0, 0, 0)


async def test_what_refusals_shut_opens_with_failures_only(world):
    await world.refuse("p3", MarkKind.EXCLUDE)
    await world.refuse("p3", MarkKind.DISABLE, MarkScope.PROJECT, OTHER)
    assert await world.reset(project="p3") == []
    assert not (await world.view("p3")).usable
    cleared = await world.reset(project="p3", failures=True)
    assert sorted(cleared) == [
        ("disabled", "p3", None, "disable-rule"),
        ("exclusion", "p3", M, "exclude-rule"),
    ]
    await world.use("p3")


async def test_a_dead_key_is_revived_with_failures_only(world):
    key = world.registry.keys.find("p3-key")
    await world.record(Refusal("p3-key", dead_keys=(DeadKey(key.id, "key-invalid", "why"),)))
    assert await world.reset(keys=("p3-key",)) == []
    configured = await read_configured(world.ports)
    assert [each.name for each in dead_keys(configured, [configured.projects["p3"]])] == ["p3-key"]
    cleared = await world.reset(keys=("p3-key",), failures=True)
    assert cleared == [("dead key", "p3-key", None, "key-invalid")]
    await world.use("p3")


async def test_an_operators_own_disabling_outlasts_every_reset(world):
    world.registry.keys.disable("p3-key", by=BY)
    world.registry.projects.set("p2", by=BY, enabled=False)
    await world.reset(everything=True, failures=True, counters=True)
    assert world.registry.keys.find("p3-key").state is KeyState.DISABLED
    assert not (await world.view("p2")).usable
    assert not (await world.view("p3")).usable


async def test_learned_limits_stay(world):
    limits = LearnedLimits(world.ids["p3"], M, {"rpd": 4}, 5)
    await world.record(Refusal("p3", limits=(limits,)))
    await world.reset(everything=True, failures=True, counters=True)
    assert (await world.view("p3")).limit_day == 4


async def test_an_event_is_written(world):
    await world.refuse("p3")
    await world.reset(project="p3")
    [event] = world.registry.events.read(EventFilter(kind="reset"))
    assert (event.subject, event.actor) == ("p3", BY.name)


@pytest.mark.parametrize(
    "request_", [{"keys": ("nobody",)}, {"project": "nothing"}, {"pool": "nowhere"}]
)
async def test_an_unknown_name_is_not_found(world, request_):
    configured = await read_configured(world.ports)
    with pytest.raises(NotFoundError):
        targets(configured, ResetRequest(**request_))


async def test_a_pools_reset_concerns_its_projects_and_their_accounts(world):
    world.registry.pools.create("small", by=BY)
    world.registry.pools.include("small", "p1", by=BY)
    configured = await read_configured(world.ports)
    found = targets(configured, ResetRequest(pool="small"))
    assert [each.name for each in found] == ["p1", "p2"]
