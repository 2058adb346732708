"""Listening sockets, in this very process."""

import socket
from pathlib import Path

import pytest

from keypool_cli.errors import UsageError
from keypool_cli.http.address import Address, listen
from keypool_cli.http.tls import Tls


def test_small_parts_of_an_answer_do_not_wait_for_one_another():
    sock, bound = listen(Address())
    with sock, socket.create_connection(("127.0.0.1", bound.port)):
        sock.setblocking(True)
        accepted, _ = sock.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("port", [-1, 65_536, 99_999])
def test_a_port_that_cannot_be_is_not_taken_for_another(port):
    with pytest.raises(UsageError, match=f"{port} is no port"):
        listen(Address(port=port))


def test_the_url_tells_whether_it_is_tls():
    tls = Tls(Path("cert.pem"), Path("key.pem"))
    assert Address(port=1).url == "http://127.0.0.1:1"
    assert Address(host="::1", port=1, tls=tls).url == "https://[::1]:1"
