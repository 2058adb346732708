"""A client's connection, found among all that this process has."""

import socket
import time
from contextlib import ExitStack

import pytest

from keypool_cli.http.connection import drop_client, has_hung_up, write_to_client

MANY = 300


@pytest.fixture
def pairs():
    """Connections as both ends see them: who is connected, their socket."""
    with ExitStack() as ends, socket.create_server(("127.0.0.1", 0), backlog=MANY) as server:

        def pair():
            theirs = ends.enter_context(socket.create_connection(server.getsockname()))
            ours = ends.enter_context(server.accept()[0])
            theirs.settimeout(20)
            return "{}:{}".format(*ours.getpeername()), theirs, ours

        yield pair


def test_breaking_off_many_clients_holds_nobody_else_up(pairs):
    connected = [pairs() for _ in range(MANY)]
    begun = time.thread_time()
    for name, _, _ in connected:
        assert drop_client(name)
    # A hundredth of it is enough; looking at every socket for each of them takes a second and more.
    assert time.thread_time() - begun < 0.5
    assert all(theirs.recv(1) == b"" for _, theirs, _ in connected)


def test_a_descriptor_that_is_used_again_is_not_taken_for_the_client_before(pairs):
    name, _, ours = pairs()
    assert write_to_client(name, b"x")
    ours.close()
    later = [pairs() for _ in range(3)]
    assert not write_to_client(name, b"x")
    assert has_hung_up(name)
    for other, theirs, _ in later:
        assert write_to_client(other, b"y")
        assert theirs.recv(2) == b"y"
