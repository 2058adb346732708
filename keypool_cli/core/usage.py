"""What upstream says a call cost, as far as it can be believed."""

from collections.abc import Mapping
from typing import Final, TypeGuard

MOST_BELIEVED: Final = 10**8
"""Tokens: the 100 requests of the largest lease, each of a million."""


def is_count(said: object) -> TypeGuard[int]:
    """Whether this can be a number of tokens: neither text, nor below 0, nor beyond any request."""
    return type(said) is int and 0 <= said <= MOST_BELIEVED


def input_tokens(usage: Mapping[str, object]) -> int | None:
    """The prompt's and the tools' tokens of a ``usageMetadata``; None where it tells no count."""
    prompt, tools = usage.get("promptTokenCount"), usage.get("toolUsePromptTokenCount")
    if not is_count(prompt):
        return None
    return min(prompt + (tools if is_count(tools) else 0), MOST_BELIEVED)
