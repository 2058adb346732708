"""Upload sessions: what a token holds, and when it opens no more."""

import pytest

from keypool_cli.core.model import DEFAULT_POOL, Secret
from keypool_cli.errors import NotFoundError
from keypool_cli.registry.values import NewClient, NewKey
from keypool_cli.service.egress import Egress
from keypool_cli.service.sync import read_configured
from keypool_cli.service.uploads import LASTS_S, Uploads
from keypool_cli.service.watch import Watch
from keypool_cli.upstream.forward import Forwarder
from tests.support.daemon import BY

URL = "https://upstream.example/upload?upload_id=1"


class Clock:
    now_s = 1_700_000_000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def watch(ports):
    ports.registry.keys.add(NewKey("k1", Secret("a-secret"), "p1"), by=BY)
    return Watch(ports, await read_configured(ports))


@pytest.fixture
async def uploads(ports, watch, clock):
    forwarder = Forwarder()
    yield Uploads(ports, watch, forwarder, Egress(ports), clock=clock)
    await forwarder.close()


@pytest.fixture
async def token(uploads, watch):
    configured = watch.configured
    return uploads.token(URL, configured.projects["p1"], configured.pools[DEFAULT_POOL], None)


async def test_a_token_opens_to_upstreams_url_and_project(uploads, token):
    session = await uploads.session(token)
    assert session.url == URL
    assert uploads.project(session).name == "p1"


async def test_a_token_names_what_another_daemon_has_heard_of_only(uploads, ports):
    ports.registry.keys.add(NewKey("k2", Secret("another-secret"), "p2"), by=BY)
    client, _ = ports.registry.clients.add(NewClient("c"), by=BY)
    other = await read_configured(ports)
    token = uploads.token(URL, other.projects["p2"], other.pools[DEFAULT_POOL], client)
    session = await uploads.session(token)
    assert uploads.project(session).name == "p2"
    assert uploads.client(session).name == "c"


async def test_a_token_expires(uploads, token, clock):
    clock.now_s += LASTS_S - 1
    assert (await uploads.session(token)).url == URL
    clock.now_s += 1
    with pytest.raises(NotFoundError):
        await uploads.session(token)


async def test_a_token_of_a_removed_project_leads_nowhere(uploads, token, ports, watch):
    ports.registry.projects.remove("p1", by=BY, with_keys=True)
    await watch.refresh()
    with pytest.raises(NotFoundError):
        await uploads.session(token)


@pytest.mark.parametrize("wrong", ["", "x", "A" * 9000, "ü", "A" * 200])
async def test_no_other_text_opens_anything(uploads, wrong):
    with pytest.raises(NotFoundError):
        await uploads.session(wrong)
