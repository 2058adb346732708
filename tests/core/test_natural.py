"""Names stand in the order in which people look for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.core.natural import natural


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["p1", "p2", "p10", "p100"], id="a number at the end"),
        pytest.param(["eu-2-key", "eu-10-key", "us-1-key"], id="a number in the middle"),
        pytest.param(["a1b10", "a2b1", "a10b1"], id="several numbers"),
        pytest.param(["1", "2", "10", "a"], id="numbers first"),
        pytest.param(["p", "p-1", "p1", "pa"], id="none is least"),
        pytest.param(["p1", "p01", "p2", "p009", "p10"], id="leading zeros"),
        pytest.param(["p0", "p00", "p1"], id="nothing but zeros"),
        pytest.param(["مشروع 1", "مشروع 2", "مشروع 10"], id="Arabic names"),
        pytest.param(["مشروع \u0661", "مشروع \u0662", "مشروع \u0661\u0660"], id="Arabic digits"),
        pytest.param(["v9", f"v1{'0' * 30}", f"v2{'0' * 30}"], id="numbers beyond all bounds"),
    ],
)
def test_numbers_in_names_stand_by_their_value(names):
    assert sorted({*names}, key=natural) == names


NAMES = st.text(st.characters(exclude_categories=["C"]), max_size=20)


@given(NAMES, NAMES)
def test_no_two_names_are_the_same(one, other):
    assert (natural(one) == natural(other)) is (one == other)


@given(st.text("abc-", max_size=5), st.integers(0, 10**12), st.integers(0, 10**12))
def test_the_larger_number_is_later(stem, one, other):
    assert (natural(f"{stem}{one}") < natural(f"{stem}{other}")) is (one < other)
