"""JSON of very many values: not decoded, which takes many times its bytes."""

import msgspec
import pytest

from keypool_cli.daemon.json_bodies import MOST_VALUES, TooManyValuesError, decoded
from keypool_cli.daemon.live_request import setup_of
from tests.support.estimates import Shipped

anything = msgspec.json.Decoder()
kinds = pytest.mark.parametrize(
    "kind", [pytest.param(each, id=each.__name__) for each in (bytes, memoryview, bytes.decode)]
)


def a_list(count):
    return b"[" + b"[],".join([b""] * (count // 2)) + b"[]]"


@kinds
def test_as_many_values_as_may_be_are_decoded(kind):
    assert len(decoded(anything, kind(a_list(MOST_VALUES)))) == MOST_VALUES // 2


@kinds
def test_more_are_refused(kind):
    with pytest.raises(TooManyValuesError, match="more than 1000000 JSON values"):
        decoded(anything, kind(a_list(MOST_VALUES + 2)))


@pytest.mark.parametrize("text", [b"[[],", b'\\"[,\\\\'])
def test_text_may_hold_as_many_signs_as_it_likes(text):
    assert decoded(anything, b'["' + text * MOST_VALUES + b'"]')


def test_a_live_setup_is_a_body_too():
    message = b'{"setup":{"model":"m","tools":' + a_list(MOST_VALUES + 2) + b"}}"
    with pytest.raises(TooManyValuesError):
        setup_of(message.decode(), Shipped())
