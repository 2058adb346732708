"""Shares of what there is only so much of: by turns of clients, and never more than there is."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.service.turns import Room


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


class Line:
    """Takers of a room, and the order in which they were served."""

    def __init__(self, room):
        self.room, self.served = room, []

    async def take(self, name, amount, client):
        await self.room.take(amount, client)
        self.served.append(name)

    async def begin(self, name, amount=1, client=0):
        task = asyncio.create_task(self.take(name, amount, client))
        await settle()
        return task


async def test_who_fits_does_not_wait():
    room = Room(10)
    await room.take(4, 1)
    await room.take(6, 1)
    assert room.free == 0


async def test_clients_take_turns_however_many_calls_one_of_them_has():
    line = Line(Room(1))
    await line.begin("held")
    for name, client in (("a1", 1), ("a2", 1), ("a3", 1), ("b1", 2), ("c1", 3), ("b2", 2)):
        await line.begin(name, client=client)
    for _ in range(6):
        line.room.give(1)
        await settle()
    assert line.served == ["held", "a1", "b1", "c1", "a2", "b2", "a3"]


async def test_a_large_one_is_not_passed_over():
    line = Line(Room(10))
    await line.begin("held", 6)
    await line.begin("large", 8, client=1)
    await line.begin("small", 1, client=2)
    assert line.served == ["held"]
    line.room.give(6)
    await settle()
    assert line.served == ["held", "large", "small"]


async def test_who_gives_up_holds_nobody_up():
    line = Line(Room(10))
    await line.begin("held", 6)
    large = await line.begin("large", 8, client=1)
    await line.begin("small", 1, client=1)
    large.cancel()
    await settle()
    assert line.served == ["held", "small"]
    assert line.room.free == 3


async def test_who_gives_up_at_the_moment_of_its_turn_leaves_it_to_the_next():
    line = Line(Room(1))
    await line.begin("held")
    first = await line.begin("first")
    await line.begin("next")
    line.room.give(1)
    first.cancel()
    await settle()
    assert line.served == ["held", "next"]


class Play:
    """A room in which anything happens, in any order."""

    def __init__(self, size):
        self.size, self.room = size, Room(size)
        self.taken, self.tasks = [], []

    async def _taking(self, amount, client):
        await self.room.take(amount, client)
        self.taken.append(amount)

    def take(self, number, client):
        self.tasks.append(asyncio.create_task(self._taking(number, client)))

    def give(self, number, _client=0):
        if self.taken:
            self.room.give(self.taken.pop(number % len(self.taken)))

    def cancel(self, number, _client):
        if self.tasks:
            self.tasks[number % len(self.tasks)].cancel()

    async def end(self):
        while not all(each.done() for each in self.tasks):
            await settle()
            self.give(0)
        self.room.give(sum(self.taken))


steps = st.tuples(
    st.sampled_from([Play.take, Play.give, Play.cancel]), st.integers(1, 10), st.integers(0, 3)
)


@given(played=st.lists(steps, max_size=40))
def test_whatever_happens_all_of_it_is_there_again_in_the_end(played):
    async def play():
        game = Play(10)
        for verb, number, client in played:
            verb(game, number, client)
            if client:
                await settle()
                assert game.room.free + sum(game.taken) == game.size
        await game.end()
        assert game.room.free == game.size

    asyncio.run(play())
