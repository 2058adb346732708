"""A secret is taken out of a stream wherever its parts are cut, and nothing else is touched."""

from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.core.redact_parts import PartsRedactor

SECRET = b"abcabd"

pieces = st.sampled_from([SECRET, b"abc", b"ab", b"d", b"xyz", b"\r\n\r\n"])
streams = st.lists(pieces, max_size=12).map(b"".join)


def shown(parts):
    redactor = PartsRedactor(SECRET)
    return [*(redactor.part(each) for each in parts), redactor.rest()]


def cut(stream, places):
    ends = sorted({each for each in places if each < len(stream)} | {len(stream)})
    return [stream[a:b] for a, b in zip([0, *ends], ends, strict=False)]


@given(stream=streams, places=st.lists(st.integers(0, 60)))
def test_how_a_stream_is_cut_changes_nothing(stream, places):
    assert b"".join(shown(cut(stream, places))) == stream.replace(SECRET, b"[redacted]")


def test_only_what_may_be_a_beginning_waits():
    assert shown([b"data: {}\r\n\r\n", b"x ab", b"y"]) == [b"data: {}\r\n\r\n", b"x ", b"aby", b""]


def test_a_beginning_that_nothing_follows_is_shown_at_the_end():
    assert shown([b"1 abcab"]) == [b"1 ", b"abcab"]


def test_a_secret_is_hidden_where_each_byte_comes_alone():
    assert b"".join(shown([b"a", b"b", b"c", b"a", b"b", b"d", b"!"])) == b"[redacted]!"
