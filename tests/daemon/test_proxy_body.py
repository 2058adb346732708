"""Compressed bodies: unpacked, and never more of them held than a piece."""

import gzip
import tracemalloc

import pytest

from keypool_cli.daemon.bodies import LARGEST_BODY
from keypool_cli.daemon.proxy_body import PIECE, unpacked
from keypool_cli.errors import UsageError


async def parts(data, size=65536):
    for begin in range(0, len(data), size):
        yield data[begin : begin + size]


async def test_a_body_of_the_largest_size_is_unpacked():
    packed = gzip.compress(bytes(LARGEST_BODY), 1)
    assert sum([len(each) async for each in unpacked(parts(packed), "gzip")]) == LARGEST_BODY


@pytest.mark.parametrize("size", [1, 2, 7, 100])
async def test_a_body_in_parts_of_any_size_is_unpacked(size):
    data = bytes(range(256)) * 9
    got = [each async for each in unpacked(parts(gzip.compress(data), size), "gzip")]
    assert b"".join(got) == data


async def test_a_bomb_is_unpacked_piece_by_piece():
    bomb = gzip.compress(bytes(8 * LARGEST_BODY), 1)
    tracemalloc.start()
    largest = max([len(each) async for each in unpacked(parts(bomb), "gzip")])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert largest <= PIECE
    assert peak < 10 * PIECE


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("data", [b"", b"{}", b"\x78\x9c", b"\x1f\x8b"], ids=repr)
async def test_what_is_not_compressed_as_it_says_is_refused(coding, data):
    with pytest.raises(UsageError):
        [each async for each in unpacked(parts(data), coding)]
