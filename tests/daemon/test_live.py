"""The Live API through a daemon: conversations, refusals, failover, closes, settlements."""

import asyncio
import ssl

import pytest
from google.genai import errors
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.daemon import FLASH, eventually, secret_of, unique
from tests.support.live import HELLO, LIVE, a_setup, a_stage, a_turn, goodbye, heard

pytestmark = pytest.mark.e2e

TEXT = {"response_modalities": ["TEXT"]}
SAID = {"role": "user", "parts": [{"text": HELLO}]}


@pytest.fixture(scope="session")
def stage(tmp_path_factory):
    with a_stage(tmp_path_factory.mktemp("live")) as made:
        yield made


@pytest.fixture
def pool(stage):
    with stage.proxy.pool() as made:
        yield made
    stage.proxy.sim.clear_faults()


async def added(pool, **options):
    """A project; the registry's own loop runs in a thread."""
    return await asyncio.to_thread(pool.add, **options)


def settled(pool, project):
    """Tokens booked once nothing is in flight."""
    eventually(lambda: pool.model(project)["leases"] == 0)
    return pool.model(project)["tpm"]["used"]


async def test_googles_own_client_converses_and_each_turn_is_settled(stage, pool):
    project = await added(pool)
    client = stage.google(x_keypool_pool=pool.name)
    spent = 0
    async with client.aio.live.connect(model=FLASH, config=TEXT) as session:
        assert session.setup_complete is not None
        for _ in range(2):
            await session.send_client_content(turns=SAID, turn_complete=True)
            answers = [each async for each in session.receive()]
            assert HELLO in [each.text for each in answers]
            told = answers[-1].usage_metadata
            assert told is not None
            spent += told.prompt_token_count
    assert spent > 0
    assert settled(pool, project) == spent
    assert pool.model(project)["rpm"]["used"] == 1
    assert pool.used(project)["accepted"] == 1


@pytest.mark.parametrize(
    "where",
    [
        pytest.param(lambda token: {"query": f"?key={token}"}, id="in the query as a key"),
        pytest.param(lambda token: {"query": f"?access_token={token}"}, id="as an access token"),
        pytest.param(lambda token: {"x_goog_api_key": token}, id="in the header"),
        pytest.param(
            lambda token: {"query": f"?key={token}", "x_goog_api_key": token}, id="twice the same"
        ),
        pytest.param(
            lambda token: {"path": "/" + LIVE, "query": f"?key={token}"}, id="two slashes"
        ),
    ],
)
async def test_the_token_is_taken_from_where_clients_put_their_key(stage, pool, where):
    await added(pool)
    token = stage.proxy.home.token
    async with stage.raw(x_keypool_pool=pool.name, **where(token)) as wire:
        await wire.send(a_setup())
        assert await heard(wire, "setupComplete")


@pytest.mark.parametrize(
    ("options", "status"),
    [
        pytest.param({}, 401, id="no token"),
        pytest.param({"query": "?key=kp_wrong"}, 401, id="a wrong token"),
        pytest.param({"query": "?key=a", "x_goog_api_key": "b"}, 400, id="two tokens"),
        pytest.param({"query": "?key=TOKEN", "path": LIVE + "Constrained"}, 404, id="another call"),
        pytest.param({"query": "?key=LEASER"}, 403, id="a client without the proxy scope"),
    ],
)
async def test_a_handshake_is_refused_with_a_status(stage, options, status):
    leaser = (
        await asyncio.to_thread(stage.proxy.home.add_client, scopes=("lease",))
        if "LEASER" in str(options)
        else ""
    )
    if leaser:
        stage.daemon.known(leaser)
    query = options.pop("query", "").replace("TOKEN", stage.proxy.home.token)
    with pytest.raises(InvalidStatus) as refused:
        async with stage.raw(query=query.replace("LEASER", leaser), **options):
            pass
    assert refused.value.response.status_code == status


async def test_a_refused_setup_moves_to_the_next_project_before_the_client_knows(stage, pool):
    first, second = await added(pool, priority=9), await added(pool)
    stage.proxy.sim.fault("rpm", on="live", project=first)
    async with stage.set_up(pool.name) as wire:
        await heard(wire, "setupComplete")
        assert pool.model(first)["state"] == "cooling"
        assert pool.model(second)["leases"] == 1
    assert pool.used(first)["accepted"] == 0


async def test_a_dead_key_is_set_aside_and_the_conversation_goes_on_with_another(stage, pool):
    first, _ = await added(pool, priority=9), await added(pool)
    stage.proxy.sim.revoke(secret_of(f"{first}-key0"))
    async with stage.set_up(pool.name) as wire:
        await heard(wire, "setupComplete")
    assert pool.key_states(first) == ["dead"]


async def test_another_key_of_its_project_is_tried_where_no_other_can_help(stage, pool):
    project = await added(pool, keys=3)
    for number in (0, 1):
        stage.proxy.sim.revoke(secret_of(f"{project}-key{number}"))
    for _ in range(3):
        async with stage.set_up(pool.name) as wire:
            await heard(wire, "setupComplete")
    assert sorted(pool.key_states(project)) == ["dead", "dead", "ready"]


async def test_what_is_wrong_with_the_request_is_passed_on_as_upstream_closed(stage, pool):
    project = await added(pool)
    async with stage.set_up(pool.name, "unheard-of") as wire:
        code, reason = await goodbye(wire)
    assert code == 1008
    assert reason.startswith("models/unheard-of is not found for API version v1beta")
    assert pool.used(project)["refused"] == {"not_found": 1}


async def test_over_tls_googles_client_is_told_by_a_last_message(stage, pool):
    await added(pool)
    client = stage.google(x_keypool_pool=pool.name)
    async with client.aio.live.connect(model="unheard-of", config=TEXT) as session:
        with pytest.raises(errors.ClientError, match="models/unheard-of is not found") as told:
            [each async for each in session.receive()]
    assert told.value.code == 404


async def test_a_refusal_after_the_setup_is_passed_on_and_cools_the_project(stage, pool):
    project, _ = await added(pool, priority=9), await added(pool)
    async with stage.set_up(pool.name) as wire:
        await heard(wire, "setupComplete")
        stage.proxy.sim.fault("opaque", on="turn", project=project)
        await wire.send(a_turn())
        closed = await goodbye(wire)
    assert closed == (1011, "Resource has been exhausted (e.g. check quota).")
    assert pool.model(project)["state"] == "cooling"


async def test_a_connection_upstream_that_breaks_is_told_as_an_error(stage, pool):
    project = await added(pool)
    async with stage.set_up(pool.name) as wire:
        await heard(wire, "setupComplete")
        stage.proxy.sim.fault("drop", on="turn", project=project)
        await wire.send(a_turn())
        assert await goodbye(wire) == (1011, "upstream's connection broke")
    assert settled(pool, project) > 0


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_client_that_goes_ends_the_conversation_upstream(stage, pool, how):
    project = await added(pool)
    async with stage.set_up(pool.name) as wire:
        await heard(wire, "setupComplete")
        await wire.send(a_turn())
        told = await heard(wire, "usageMetadata")
        assert pool.model(project)["leases"] == 1
        if how == "abort":
            wire.transport.abort()
    assert settled(pool, project) == told["usageMetadata"]["promptTokenCount"]


async def test_a_client_that_goes_while_upstream_thinks_gives_its_lease_back(stage, pool):
    project = await added(pool)
    stage.proxy.sim.fault("slow", on="live", project=project, first_byte_s=60)
    async with stage.set_up(pool.name):
        eventually(lambda: pool.model(project)["leases"] == 1)
    eventually(lambda: pool.model(project)["leases"] == 0)


async def test_an_exhausted_pool_closes_with_the_reason(stage, pool):
    await added(pool, limits={"rpm": 1})
    async with stage.set_up(pool.name) as wire, stage.set_up(pool.name) as other:
        await heard(wire, "setupComplete")
        code, reason = await goodbye(other)
    assert code == 1011
    assert "has no room for this request (rpm)" in reason
    client = stage.google(x_keypool_pool=pool.name)
    async with client.aio.live.connect(model=FLASH, config=TEXT) as session:
        with pytest.raises(errors.ClientError) as told:
            [each async for each in session.receive()]
    assert told.value.code == 429


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("hello", id="no JSON"),
        pytest.param("[]", id="no object"),
        pytest.param('{"clientContent": {}}', id="no setup"),
        pytest.param('{"setup": {}}', id="no model"),
        pytest.param(b"\xff\xfe", id="no text"),
    ],
)
async def test_a_first_message_that_is_no_setup_is_refused(stage, pool, message):
    await added(pool)
    async with stage.raw(x_goog_api_key=stage.proxy.home.token, x_keypool_pool=pool.name) as wire:
        await wire.send(message)
        code, reason = await goodbye(wire)
    assert (code, "setup" in reason) == (1007, True)


async def test_a_model_outside_the_grant_is_refused(stage, pool):
    await added(pool)
    token = await asyncio.to_thread(stage.proxy.home.add_client, models=("other",))
    stage.daemon.known(token)
    async with stage.raw(x_goog_api_key=token, x_keypool_pool=pool.name) as wire:
        await wire.send(a_setup())
        assert await goodbye(wire) == (1008, f"model {FLASH!r} is outside this client's grant")


async def test_a_conversation_is_resumed_on_the_project_that_held_it(stage, pool):
    first = await added(pool)
    async with stage.set_up(pool.name) as wire:
        update = await heard(wire, "sessionResumptionUpdate")
    settled(pool, first)
    second = await added(pool, priority=0)
    handle = update["sessionResumptionUpdate"]["newHandle"]
    headers = {"x_goog_api_key": stage.proxy.home.token, "x_keypool_pool": pool.name}
    for _ in range(3):
        async with stage.raw(**headers) as wire:
            await wire.send(a_setup(sessionResumption={"handle": handle}))
            await heard(wire, "setupComplete")
    assert pool.used(second)["accepted"] == 0
    assert pool.used(first)["accepted"] == 4


async def test_no_word_of_upstream_tells_the_key(stage, pool):
    project = await added(pool)
    secret = secret_of(f"{project}-key0")
    async with stage.set_up(pool.name) as wire:
        await heard(wire, "setupComplete")
        await wire.send(a_turn(f"{unique('say')} {secret}"))
        answer = await heard(wire, "serverContent")
        stage.proxy.sim.fault("suspended", on="turn", project=project)
        await wire.send(a_turn())
        code, reason = await goodbye(wire)
    assert secret not in str(answer)
    assert (code, secret in reason) == (1008, False)
    assert "has been suspended" in reason


async def test_over_tls_a_last_message_tells_of_a_frame_too_big(stage, pool):
    await added(pool)
    url = f"wss{stage.sealed.url.removeprefix('https')}{LIVE}?key={stage.proxy.home.token}"
    context = ssl.create_default_context(cafile=stage.certificate.cert)
    named = {"x-keypool-pool": pool.name}
    connecting = connect(url, ssl=context, additional_headers=named, proxy=None, ping_interval=None)
    async with connecting as wire:
        await wire.send(a_setup())
        await heard(wire, "setupComplete")
        sending = asyncio.ensure_future(wire.send(b"x" * 17 * 1024 * 1024))
        assert (await heard(wire, "code"))["code"] == 413
        await goodbye(wire)
        await asyncio.gather(sending, return_exceptions=True)
