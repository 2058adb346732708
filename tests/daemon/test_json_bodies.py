"""JSON that is not decoded: of very many values, or of two meanings."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.daemon.json_bodies import (
    MOST_VALUES,
    RepeatedMemberError,
    TooManyValuesError,
    decoded,
)
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


TWICE = [
    b'{"model":"a","model":"b"}',
    b'{"model":"a","mod\\u0065l":"a"}',
    b'{"a":[{"fileUri":"x","b":1,"fileUri":"x"}]}',
    b'{"contents":"\\"\\"\\"","contents":""}',
    b'{"a":"\\\\u0022","a":"","b":"\\u0022"}',
    b'{"a":1,"a":"\\u0022\\u0022"}',
    b'{"a":{"":1,"":2}}',
]


@kinds
@pytest.mark.parametrize("body", TWICE)
def test_a_member_that_is_there_twice_is_refused(kind, body):
    with pytest.raises(RepeatedMemberError, match="is there twice"):
        decoded(anything, kind(body))


def test_a_member_that_is_there_twice_is_refused_in_a_live_setup():
    with pytest.raises(RepeatedMemberError):
        setup_of('{"setup":{"model":"m","model":"n"}}', Shipped())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.booleans(), st.sampled_from([None, 1]))
def test_whatever_names_each_member_once_is_decoded(value, ascii_only, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).replace("\\\\", "\\u005c")
    assert decoded(anything, text.encode()) == value


@given(st.dictionaries(st.text(max_size=3), json_values, min_size=1, max_size=4), json_values)
def test_whatever_names_one_twice_is_not(members, again):
    pairs = [*members.items(), (next(iter(members)), again)]
    body = ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in pairs)
    with pytest.raises(RepeatedMemberError):
        decoded(anything, f"[{{{body}}}]".encode())
