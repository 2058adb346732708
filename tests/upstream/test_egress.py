"""What leaves through a project's egress proxy beside proxied calls: Live conversations, counts."""

import pytest
from websockets.asyncio.server import serve

from keypool_cli.core.model import Secret
from keypool_cli.upstream.counting import TokenCounter
from keypool_cli.upstream.forward import UpstreamError
from keypool_cli.upstream.websocket import Wire, dial
from tests.support.egress import egress_proxy
from tests.support.running import FLASH
from tests.support.simulator import simulator

HELLO = {"contents": [{"parts": [{"text": "hello"}]}]}


async def _echo(wire):
    await wire.send(await wire.recv())


async def test_a_conversation_leaves_through_the_proxy_it_is_given():
    async with serve(_echo, "127.0.0.1", 0) as server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with egress_proxy("amal:hunter2") as way:
            wire = await dial(f"http://{host}/", [], way.url)
            assert isinstance(wire, Wire)
            await wire.send("hi")
            assert await wire.receive() == "hi"
            await wire.close()
            assert [each.split()[0] for each in way.targets] == ["CONNECT"]
            with pytest.raises(UpstreamError) as told:
                await dial(f"http://{host}/", [], way.url.replace("hunter2", "wrong"))
    assert "wrong" not in str(told.value)


@pytest.mark.parametrize("body", [HELLO, {**HELLO, "systemInstruction": HELLO["contents"][0]}])
async def test_counts_leave_through_the_proxy_they_are_given(body):
    with simulator({"projects": {"p": {"keys": ["k"]}}}) as sim, egress_proxy("amal:pw") as way:
        counter = TokenCounter(sim.url)
        try:
            direct = await counter.count(Secret("k"), model=FLASH, body=body)
            assert way.targets == []
            assert await counter.count(Secret("k"), model=FLASH, body=body, proxy=way.url) == direct
            assert way.targets == [f"POST /v1beta/models/{FLASH}:countTokens"]
        finally:
            await counter.close()
