"""Loading a model's live state from the registry, and what survives it."""

import re

import pytest

from keypool_cli.engine.engine import new_epoch
from keypool_cli.engine.keyspace import tag
from keypool_cli.engine.scripts import layout, library
from keypool_cli.engine.types import LiveMark, LivePool, MarkAction, Stale
from tests.support.live_engine import NOON, a_demand, a_project

WINDOW_MS = 60_501


def test_nothing_is_granted_before_the_seal(live):
    live.model = "other"
    live.run(live.engine.load("other", [a_project()]))
    answer = live.run(live.engine.acquire("other", 1, [a_demand()], revision=1))
    assert answer == Stale(0)


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        pytest.param({"rpm": 2}, 0, id="fewer requests"),
        pytest.param({"rpm": 5}, 3, id="more requests"),
        pytest.param({"tpm": 25}, 0, id="fewer tokens"),
        pytest.param({"rpd": 3}, 1, id="fewer requests a day"),
        pytest.param({"flags": 0}, 0, id="disabled"),
        pytest.param({"keys": []}, 0, id="no keys"),
    ],
)
def test_new_limits_count_what_is_booked_already(live, changes, left):
    live.load(a_project(rpm=4))
    live.acquire_all(a_demand(), a_demand())
    live.load(a_project(**{"rpm": 4, **changes}))
    results = live.acquire_all(*[a_demand() for _ in range(9)])
    assert sum(hasattr(each, "key_id") for each in results) == left


def test_a_project_moves_between_priorities_and_pools(live):
    pools = [LivePool(1, 0, [5, 0]), LivePool(2, 0, [5, 0])]
    live.load(a_project(1, tpm=5000), a_project(2), pools=pools)
    assert live.grant().project_id == 1
    live.load(a_project(2, priority=5), pools=pools)
    assert live.grant().project_id == 2
    live.load(a_project(2, priority=5, pools=[2]), pools=pools)
    assert live.grant().project_id == 1
    assert live.grant(pool=2).project_id == 2
    assert live.keys().isdisjoint({"ready:1:5"})


def test_an_unloaded_project_is_gone_and_comes_back_empty(live):
    live.load(a_project(1), a_project(2, priority=-1))
    live.grant(900)
    live.run(live.engine.unload(live.model, [1]))
    assert live.grant().project_id == 2
    assert live.run(live.engine.members(live.model)) == {2}
    live.load(a_project(1), a_project(2, priority=-1))
    assert live.grant(1000).project_id == 1


def test_a_pool_has_the_members_that_are_configured(live):
    def members(pool):
        found = live.run(live.client.smembers(f"{tag(live.model)}:members:{pool}"))
        return {int(each) for each in found}

    pools = [LivePool(1, 0, [0]), LivePool(2, 0, [0])]
    live.load(a_project(1), a_project(2, pools=[1, 2]), a_project(3, pools=[]), pools=pools)
    assert (members(1), members(2)) == ({1, 2}, {2})
    live.load(a_project(2, pools=[2]), a_project(3, pools=[2]), pools=pools)
    assert (members(1), members(2)) == ({1}, {2, 3})
    live.run(live.engine.unload(live.model, [1, 2]))
    assert (members(1), members(2)) == (set(), {3})


def test_an_old_lease_does_not_correct_the_window_of_a_rebuilt_project(live):
    live.load(a_project())
    old = live.grant(500)
    live.run(live.engine.unload(live.model, [1]))
    live.now += 5
    live.load(a_project())
    live.grant(300)
    live.settle(old.lease_id, 0)
    assert live.view().tokens == 300
    assert live.view().in_flight == 1


def test_a_lease_of_a_project_that_one_change_removed_takes_no_slot_of_its_next_life(live):
    live.load(a_project(1, in_flight=1), a_project(2))
    old = live.grant(prefer="1")
    for revisions, change in (((1, 2), ([], [1])), ((2, 3), ([a_project(1, in_flight=1)], []))):
        pools = [LivePool(1, 0, [0])]
        amend = live.engine.amend(live.model, *change, pools=pools, revisions=revisions)
        assert live.run(amend)
    assert live.renew(old.lease_id, ttl_ms=9_000_000) == 0
    assert live.grant(prefer="1").project_id == 1
    live.settle(old.lease_id)
    assert live.view().in_flight == 1


def test_day_counts_are_taken_where_the_state_is_new_and_only_there(live):
    live.load(a_project(rpd=3, day_requests=2, utc_requests=1))
    assert (live.view().day_requests, live.view().utc_requests) == (2, 1)
    live.grant()
    assert live.refusal().limit == "rpd"
    live.load(a_project(rpd=3, day_requests=0))
    assert live.refusal().limit == "rpd"


@pytest.mark.parametrize("kind", ["cool", "wide"])
def test_a_restored_cooldown_holds_unless_a_reset_covers_its_call(live, kind):
    mark = {f"{kind}_until_ms": NOON + 9000, f"{kind}_granted_at_ms": NOON - 10}
    live.load(a_project(**mark, reset_at_ms=NOON - 10))
    live.grant()
    live.load(a_project(**mark, reset_at_ms=NOON - 11))
    live.grant()
    live.fresh(a_project(**mark, reset_at_ms=NOON - 11))
    assert live.refusal().retry_at_ms == NOON + 9000


def test_a_live_cooldown_later_than_the_restored_one_stays(live):
    live.load(a_project())
    mark = LiveMark(MarkAction.COOL, NOON + 9000)
    live.run(live.engine.mark(live.model, [1], mark, granted_at_ms=NOON))
    live.load(a_project(cool_until_ms=NOON + 5000, cool_granted_at_ms=NOON))
    assert live.view().cool_until_ms == NOON + 9000


@pytest.mark.parametrize("action", [MarkAction.COOL, MarkAction.WIDE])
def test_a_reset_that_was_not_heard_of_is_made_up_for(live, action):
    """As where the node of a cluster was away when an operator reset the project."""
    live.load(a_project())
    mark = LiveMark(action, NOON + 9000)
    live.run(live.engine.mark(live.model, [1], mark, granted_at_ms=NOON))
    live.load(a_project(reset_at_ms=NOON + 1))
    live.grant()
    live.run(live.engine.mark(live.model, [1], mark, granted_at_ms=NOON + 2))
    live.load(a_project(reset_at_ms=NOON + 1))
    assert live.refusal().limit == "cooldown", "of a call after it"


def test_the_wait_after_a_loss_outlasts_a_reset_that_was_not_heard_of(live):
    until = live.run(live.engine.rebuilding(live.model))
    live.load(a_project(cool_until_ms=until, cool_granted_at_ms=until))
    live.load(a_project(reset_at_ms=NOON + 1))
    assert live.view().cool_until_ms == until


def test_seals_only_go_forward(live):
    async def seal(revision, only_from=-1):
        pools = [LivePool(1, 0, [0])]
        return await live.engine.seal(
            live.model, revision=revision, pools=pools, epoch=f"e{revision}", only_from=only_from
        )

    assert live.run(seal(5))
    assert not live.run(seal(4))
    assert live.run(live.engine.epoch(live.model)) == "e5"
    assert not live.run(seal(7, only_from=6))
    assert live.run(seal(6, only_from=5))
    assert live.run(live.engine.epoch(live.model)) == "e6"
    call = live.engine.acquire(live.model, 1, [], revision=7)
    assert live.run(call) == Stale(6)


def test_a_model_never_loaded_has_no_epoch_no_members_and_no_views(live):
    engine = live.engine
    assert live.run(engine.epoch("none")) is None
    assert live.run(engine.members("none")) == set()
    snapshot = live.run(engine.snapshot("none", [1]))
    assert (snapshot.views, snapshot.revision) == ([], -1)
    assert live.pump().grants == []
    assert live.run(engine.pump("none", "d", [1])).next_at_ms == 0
    assert live.run(engine.reset("none", [1])).views == []


def test_models_have_windows_of_their_own(live):
    live.load(a_project(rpm=1))
    first = live.model
    live.grant()
    live.model = "models/ü 2"
    live.load(a_project(rpm=1))
    live.grant()
    assert live.run(live.engine.models()) == sorted([first, "models/ü 2"])


def test_more_projects_than_one_call_carries_are_all_loaded(live):
    live.load(*[a_project(each, rpm=1) for each in range(1, 601)])
    results = [
        each for _ in range(12) for each in live.acquire_all(*[a_demand() for _ in range(50)])
    ]
    assert len({each.project_id for each in results}) == 600
    ids = list(range(1, 601))
    assert len(live.run(live.engine.snapshot(live.model, ids)).views) == 600
    live.run(live.engine.unload(live.model, ids))
    assert live.run(live.engine.members(live.model)) == set()


def test_a_glance_shows_every_project_but_the_idle_ones(live):
    live.load(*[a_project(each, priority=-each) for each in range(1, 6)])
    assert live.busy(1, 2, 3, 4, 5) == []
    live.grant()
    for project, action in ((2, MarkAction.COOL), (4, MarkAction.WIDE)):
        mark = LiveMark(action, live.now + 1000)
        live.run(live.engine.mark(live.model, [project], mark, granted_at_ms=live.now))
    everyone = [live.view(each) for each in range(1, 6)]
    assert live.busy(1, 2, 3, 4, 5) == [each for each in everyone if each.project_id in {1, 2, 4}]
    assert live.busy(3) == live.busy() == []


def test_the_scripts_come_back_when_the_server_has_lost_them(live):
    live.load(a_project())
    live.run(live.client.function_flush())
    assert live.grant()


def test_without_a_clock_of_its_own_the_engine_asks_the_server(live):
    live.load(a_project())
    live.now = 0
    grant = live.grant()
    seconds, _ = live.run(live.client.time())
    assert abs(grant.granted_at_ms - int(seconds) * 1000) < 5000


def test_epochs_do_not_repeat():
    assert len({new_epoch() for _ in range(100)}) == 100


def test_what_was_booked_under_another_name_counts_for_a_whole_window(live):
    live.load(a_project(rpm=5))
    live.grant(100)
    live.grant(200)
    live.now += 1000
    views, other = [live.view()], live.model
    live.model = f"{other}-bucket"
    live.load(a_project(rpm=5))
    live.grant(50)
    live.run(live.engine.adopt(live.model, views))
    found = live.view()
    assert (found.requests, found.tokens, found.day_requests) == (3, 350, 3)
    live.now += 60_500
    assert live.view().requests == 3
    live.now += 1
    assert live.view().requests == 0


def test_leases_that_ended_while_nothing_limited_them_fill_no_limit_set_anew(live):
    live.load(a_project(in_flight=1))
    live.grant(ttl_ms=1000)
    live.load(a_project(in_flight=-1))
    live.now += 2000
    live.load(a_project(in_flight=1))
    assert live.grant()


def test_a_state_that_another_layout_wrote_is_not_read(own_live):
    own_live.load(a_project())
    own_live.grant()
    own_live.mutate(("{ 'oldest_at', 'd' }", "{ 'oldest_at', 'I7' }"))
    own_live.engine._library = own_live.engine._library.replace(
        "local LAYOUT = ", "local LAYOUT = 1 + "
    )
    answer = own_live.run(own_live.engine.acquire(own_live.model, 1, [a_demand()], revision=1))
    assert answer == Stale(0)
    assert own_live.run(own_live.engine.snapshot(own_live.model, [1])).revision == -1
    own_live.run(own_live.engine.clear(own_live.model))
    own_live.load(a_project())
    assert own_live.grant()
    assert own_live.view().requests == 1


def test_every_stored_record_has_a_part_in_the_layout():
    _, text = library()
    for each in re.findall(r"\{ '\w+', '\w+' \}", text):
        assert layout(text.replace(each, each.replace("', '", "', 'x"), 1)) != layout(text)
    assert layout(text.replace("'<I6I3I6', 15", "'<I6I4I6', 16")) != layout(text)
    assert layout(text.replace("'<I6I3I6', 15, 8", "'<I6I3I6', 15, 9")) != layout(text)


def test_a_state_that_is_cleared_leaves_nothing(live):
    live.load(a_project(in_flight=2))
    live.grant(client=3, client_rpm=9)
    live.run(live.engine.clear(live.model))
    assert not live.keys()
