"""Many single calls, sent together."""

import asyncio

import pytest

from keypool_cli.errors import UnreachableError
from keypool_cli.service.batching import MOST_AT_ONCE, MOST_NAMES, Batcher, Batchers


class Store:
    """Answers each item with its double, once it is let go; keeps what it was sent."""

    def __init__(self):
        self.calls = []
        self.open = asyncio.Event()

    async def send(self, items):
        self.calls.append(list(items))
        await self.open.wait()
        if 13 in items:
            raise ValueError("13")
        return [2 * item for item in items]


async def asked(batcher, *items):
    futures = [batcher.ask(item) for item in items]
    await asyncio.sleep(0)
    return futures


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_item_that_comes_alone_is_sent_at_once():
    store = Store()
    batcher = Batcher(store.send)
    [task] = await asked(batcher, 1)
    await settled()
    assert store.calls == [[1]]
    store.open.set()
    assert await task == 2


async def test_items_that_come_during_a_call_go_together_into_the_next_one_in_order():
    store = Store()
    batcher = Batcher(store.send)
    first = await asked(batcher, 1)
    await settled()
    later = [*await asked(batcher, 2), *await asked(batcher, 3, 4)]
    await settled()
    assert store.calls == [[1]]
    store.open.set()
    assert await asyncio.gather(*first, *later) == [2, 4, 6, 8]
    assert store.calls == [[1], [2, 3, 4]]


async def test_the_next_call_is_on_its_way_before_anyone_hears_of_the_last():
    store = Store()
    batcher = Batcher(store.send)
    [first] = await asked(batcher, 1)
    later = await asked(batcher, 3)
    seen = []
    first.add_done_callback(lambda _: seen.append(list(store.calls)))
    store.open.set()
    await asyncio.gather(first, *later)
    assert [3] in seen[0]


async def test_while_a_call_is_under_way_the_next_one_waits_however_many_ask():
    store = Store()
    batcher = Batcher(store.send)
    asking = await asked(batcher, 1)
    await settled()
    asking += await asked(batcher, *range(100, 100 + MOST_AT_ONCE))
    await settled()
    assert store.calls == [[1]]
    store.open.set()
    await asyncio.gather(*asking)
    assert len(store.calls) == 2


async def test_what_comes_after_a_quiet_time_is_sent_at_once_again():
    store = Store()
    store.open.set()
    batcher = Batcher(store.send)
    for item in range(5):
        assert await batcher.ask(item) == 2 * item
    assert store.calls == [[0], [1], [2], [3], [4]]


async def test_a_call_carries_so_many_items_at_most():
    store = Store()
    store.open.set()
    batcher = Batcher(store.send)
    count = 2 * MOST_AT_ONCE + 5
    tasks = await asked(batcher, *range(100, 100 + count))
    assert await asyncio.gather(*tasks) == [2 * n for n in range(100, 100 + count)]
    assert [len(call) for call in store.calls] == [MOST_AT_ONCE, MOST_AT_ONCE, 5]


async def test_what_a_call_meets_is_told_to_all_of_its_items_and_to_no_other():
    store = Store()
    batcher = Batcher(store.send)
    failing = await asked(batcher, 12, 13)
    await settled()
    fine = await asked(batcher, 14)
    store.open.set()
    told = await asyncio.gather(*failing, *fine, return_exceptions=True)
    assert [type(each) for each in told] == [ValueError, ValueError, int]


async def test_whoever_stops_waiting_takes_nothing_from_the_others():
    store = Store()
    batcher = Batcher(store.send)
    leaving, staying = await asked(batcher, 1, 2)
    await settled()
    leaving.cancel()
    store.open.set()
    assert await staying == 4
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert store.calls == [[1, 2]]


async def test_when_the_store_is_away_all_who_wait_hear_of_it_at_once():
    calls = []

    async def send(items):
        calls.append(list(items))
        await asyncio.sleep(0.01)
        raise UnreachableError("away")

    batcher = Batcher(send)
    futures = [batcher.ask(item) for item in range(100)]
    told = await asyncio.gather(*futures, return_exceptions=True)
    assert all(isinstance(each, UnreachableError) for each in told)
    assert [len(items) for items in calls] == [MOST_AT_ONCE]


async def test_an_answer_that_nobody_waits_for_any_more_is_told():
    store, left = Store(), []
    batcher = Batcher(store.send, unclaimed=lambda *each: left.append(each))
    futures = await asked(batcher, 1, 2)
    await settled()
    futures[0].cancel()
    store.open.set()
    assert await futures[1] == 4
    assert left == [(1, 2)]


async def test_whoever_asks_again_the_moment_a_call_ends_is_not_left_waiting():
    store = Store()
    store.open.set()
    batcher = Batcher(store.send)

    async def caller():
        return [await batcher.ask(1), await batcher.ask(2)]

    assert await asyncio.wait_for(caller(), 20) == [2, 4]


async def test_names_invented_without_end_take_no_room_and_cost_nobody_an_answer():
    store, named = Store(), []

    async def send(name, items):
        named.append(name)
        return await store.send(items)

    batchers = Batchers(send)
    assert batchers.of("model 0") is batchers.of("model 0")
    futures = [batchers.of(f"model {n}").ask(n) for n in range(3 * MOST_NAMES)]
    assert len(batchers) <= MOST_NAMES
    store.open.set()
    wanted = [2 * n if n != 13 else None for n in range(3 * MOST_NAMES)]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert [None if isinstance(each, ValueError) else each for each in answers] == wanted
    assert named == [f"model {n}" for n in range(3 * MOST_NAMES)]
