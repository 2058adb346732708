"""Compressed bodies: unpacked, and never more of them than is read of plain ones."""

import gzip
import tracemalloc

import pytest

from keypool_cli.daemon.leases import LARGEST_BODY
from keypool_cli.daemon.proxy_body import unpacked
from keypool_cli.errors import UsageError
from keypool_cli.http.message import BodyTooLargeError


def test_a_body_of_the_largest_size_is_unpacked():
    assert unpacked(gzip.compress(bytes(LARGEST_BODY), 1), "gzip") == bytes(LARGEST_BODY)


def test_a_bomb_is_not_unpacked_beyond_what_would_be_read():
    bomb = gzip.compress(bytes(8 * LARGEST_BODY), 1)
    tracemalloc.start()
    with pytest.raises(BodyTooLargeError):
        unpacked(bomb, "gzip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * LARGEST_BODY


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("data", [b"", b"{}", b"\x78\x9c", b"\x1f\x8b"], ids=repr)
def test_what_is_not_compressed_as_it_says_is_refused(coding, data):
    with pytest.raises(UsageError):
        unpacked(data, coding)
