"""Which token counts are believed."""

import pytest

from keypool_cli.core.usage import MOST_BELIEVED, input_tokens, is_count

ABSURD = [-1, MOST_BELIEVED + 1, 10**20, 10**400, True, "7", 7.0, float("nan"), None, [7], {}]


def test_input_is_the_prompt_and_what_tools_added():
    assert input_tokens({"promptTokenCount": 7}) == 7
    assert input_tokens({"promptTokenCount": 7, "toolUsePromptTokenCount": 5}) == 12
    assert input_tokens({"promptTokenCount": 0}) == 0
    assert input_tokens({}) is None


@pytest.mark.parametrize("said", ABSURD)
def test_an_absurd_count_is_none(said):
    assert not is_count(said)
    assert input_tokens({"promptTokenCount": said}) is None
    assert input_tokens({"promptTokenCount": 7, "toolUsePromptTokenCount": said}) == 7


def test_the_largest_lease_there_can_be_is_believed():
    # 100 requests of a million tokens
    assert input_tokens({"promptTokenCount": 100_000_000}) == 100_000_000
    most = {"promptTokenCount": MOST_BELIEVED, "toolUsePromptTokenCount": MOST_BELIEVED}
    assert input_tokens(most) == MOST_BELIEVED
