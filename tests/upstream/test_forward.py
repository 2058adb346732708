"""The forwarder against an upstream that does exactly what it is told."""

import asyncio
import datetime as dt
import socket
import ssl
import threading
import time
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keypool_cli.upstream.forward import Forwarder, Outgoing, Patience, UpstreamError
from tests.support.daemon import eventually
from tests.support.raw_upstream import raw_upstream
from tests.support.running import PATIENCE_S


@pytest.fixture
def upstream():
    with raw_upstream() as running:
        yield running


@pytest.fixture
async def forwarder():
    running = Forwarder(Patience(connect_s=2.0, read_s=1.0))
    yield running
    await running.close()


def a_call(upstream, **more):
    headers = [("content-type", "application/json"), ("x-goog-api-key", "AQ.secret")]
    return Outgoing("POST", f"{upstream.url}/v1beta/x?alt=sse", headers, b"{}", **more)


async def parts_of(answer):
    parts = []
    while (part := await answer.chunk()) is not None:
        parts.append(part)
    await answer.close()
    return parts


@pytest.mark.parametrize("whole", [False, True], ids=["in parts", "whole"])
async def test_an_answer_comes_with_its_status_and_headers(upstream, forwarder, whole):
    upstream.play = lambda line: line.answer(b'{"a": 1}', status="429 Too Many Requests")
    answer = await forwarder.send(a_call(upstream, whole=whole))
    assert answer.status == 429
    assert ("content-type", "application/json") in answer.headers
    assert b"".join(await parts_of(answer)) == b'{"a": 1}'
    assert upstream.seen[0].head.startswith(b"POST /v1beta/x?alt=sse HTTP/1.1\r\n")
    assert upstream.seen[0].body == b"{}"


async def test_no_part_waits_for_the_next_one(upstream, forwarder):
    gate = threading.Event()

    def play(line):
        line.begin()
        line.chunk(b"first")
        gate.wait(PATIENCE_S)
        line.chunk(b"second")
        line.chunk(b"")

    upstream.play = play
    answer = await forwarder.send(a_call(upstream))
    assert await answer.chunk() == b"first"
    gate.set()
    assert await parts_of(answer) == [b"second"]


async def test_connections_are_used_again(upstream, forwarder):
    sockets = set()

    def play(line):
        sockets.add(line.sock.getpeername())
        line.answer(b"{}")

    upstream.play = play
    for _ in range(3):
        await parts_of(await forwarder.send(a_call(upstream)))
    assert len(sockets) == 1


@pytest.mark.parametrize("whole", [False, True], ids=["in parts", "whole"])
async def test_cancelling_before_the_answer_breaks_the_connection(upstream, forwarder, whole):
    hung_up = []
    upstream.play = lambda line: hung_up.append(line.hung_up())
    call = asyncio.ensure_future(forwarder.send(a_call(upstream, whole=whole)))
    await asyncio.to_thread(eventually, lambda: upstream.seen)
    call.cancel()
    await asyncio.wait({call})
    await asyncio.to_thread(eventually, lambda: hung_up == [True])


async def test_closing_an_answer_under_way_breaks_the_connection(upstream, forwarder):
    hung_up = []

    def play(line):
        line.begin()
        line.chunk(b"first")
        hung_up.append(line.hung_up())

    upstream.play = play
    answer = await forwarder.send(a_call(upstream))
    assert await answer.chunk() == b"first"
    await answer.close()
    await answer.close()
    await asyncio.to_thread(eventually, lambda: hung_up == [True])


async def test_an_answer_cut_short_is_an_error(upstream, forwarder):
    def play(line):
        line.begin()
        line.chunk(b"first")
        line.sock.close()

    upstream.play = play
    answer = await forwarder.send(a_call(upstream))
    with pytest.raises(UpstreamError):
        await parts_of(answer)


async def test_an_upstream_that_is_away_is_an_error_that_holds_no_secret(forwarder):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    call = Outgoing("GET", f"http://127.0.0.1:{port}/?x=secret", [("x-goog-api-key", "secret")])
    with pytest.raises(UpstreamError) as caught:
        await forwarder.send(call)
    assert not caught.value.timed_out
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_an_upstream_that_says_nothing_times_out(upstream, forwarder):
    upstream.play = lambda line: line.hung_up()
    begun = time.monotonic()
    with pytest.raises(UpstreamError) as caught:
        await forwarder.send(a_call(upstream))
    assert caught.value.timed_out
    assert time.monotonic() - begun < 15


async def test_a_redirect_is_not_followed(upstream, forwarder):
    upstream.play = lambda line: line.send(
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n"
    )
    answer = await forwarder.send(a_call(upstream))
    assert answer.status == 302
    await answer.close()


async def test_a_body_may_come_in_parts(upstream, forwarder):
    async def body():
        yield b"one "
        yield b"two"

    call = Outgoing("POST", upstream.url, [("content-length", "7")], body())
    await parts_of(await forwarder.send(call))
    assert upstream.seen[0].body == b"one two"


async def test_an_egress_proxy_carries_the_call(upstream, forwarder):
    call = Outgoing("GET", "http://upstream.invalid/v1beta/models", [], None, proxy=upstream.url)
    await parts_of(await forwarder.send(call))
    assert upstream.seen[0].head.startswith(b"GET http://upstream.invalid/v1beta/models HTTP/1.1")


async def test_http_2_is_not_offered_to_upstream(forwarder):
    """Every call has a connection to itself, so that breaking one off hurts no other."""
    hellos = []

    async def serve(reader, writer):
        hellos.append(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(UpstreamError):
        await forwarder.send(Outgoing("GET", f"https://127.0.0.1:{port}/", []))
    server.close()
    assert hellos
    assert not any(b"\x02h2" in hello for hello in hellos)


async def test_a_certificate_nobody_vouches_for_is_refused(forwarder, tmp_path):
    async def serve(_reader, writer):
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=_self_signed(tmp_path))
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(UpstreamError):
        await forwarder.send(Outgoing("GET", f"https://127.0.0.1:{port}/", []))
    server.close()


def _self_signed(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
