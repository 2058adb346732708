"""Values of a JSON text, counted without decoding it."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keypool_cli.core import json_values
from keypool_cli.core.json_values import has_more_values

scalars = st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\[{,é\n', max_size=9)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text('x"\\,{[', max_size=3), inner),
    max_leaves=30,
)


def signs(value):
    """Lists and objects, and what separates their contents."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return 0
    return 1 + max(len(value) - 1, 0) + sum(map(signs, value))


@pytest.mark.parametrize("piece", [2, 4, 64])
@example(value=["\\", '"', "\\\\", '\\"', "[[["], plain=False)
@given(value=values, plain=st.booleans())
def test_what_stands_in_strings_is_not_counted_wherever_the_text_is_cut(value, piece, plain):
    text = json.dumps(value, ensure_ascii=plain).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_values, "_PIECE", piece)
        for view in (text, memoryview(text)):
            assert not has_more_values(view, signs(value))
            assert has_more_values(view, signs(value) - 1)


@pytest.mark.parametrize(
    ("text", "count"),
    [(b"[[],[]]", 4), (b'{"a":{},"b":1}', 3), (b"[1,null,true]", 3), (b'["","",""]', 3)],
)
def test_every_value_counts_whatever_it_is(text, count):
    assert not has_more_values(text, count)
    assert has_more_values(text, count - 1)


def test_what_is_no_json_is_no_reason_to_fail():
    for text in (b"", b"\\", b'"', b"\\" * 5, b'"\\', b"\xff[,"):
        has_more_values(text, 0)
