"""What upstream says a call cost, as far as it can be believed."""

from collections.abc import Mapping
from typing import Final, TypeGuard

MOST_BELIEVED: Final = 10**8
"""Tokens: the 100 requests of the largest lease, each of a million."""


def is_count(said: object) -> TypeGuard[int]:
    """Whether this can be a number of tokens: neither text, nor below 0, nor beyond any request."""
    return type(said) is int and 0 <= said <= MOST_BELIEVED


# Fields of a call's usage in the types of google-genai, whose dumps are snake_case, and of openai;
# interactions and the OpenAI-compatible paths name the prompt's tokens their own way.
_SPELLINGS: Final = (
    (
        "promptTokenCount",
        (
            "promptTokenCount",
            "prompt_token_count",
            "prompt_tokens",
            "total_input_tokens",
            "input_tokens",
        ),
    ),
    (
        "toolUsePromptTokenCount",
        ("toolUsePromptTokenCount", "tool_use_prompt_token_count", "total_tool_use_tokens"),
    ),
    (
        "cachedContentTokenCount",
        ("cachedContentTokenCount", "cached_content_token_count", "total_cached_tokens"),
    ),
)


def in_gemini_names(usage: Mapping[str, object]) -> Mapping[str, object]:
    """The counts of a usage as a ``usageMetadata``, whoever's names it has."""
    told: dict[str, object] = {}
    for name, spellings in _SPELLINGS:
        for spelling in spellings:
            count = usage.get(spelling)
            if is_count(count):
                told[name] = count
                break
    return told


def input_tokens(usage: Mapping[str, object]) -> int | None:
    """The prompt's and the tools' tokens of a ``usageMetadata``; None where it tells no count."""
    prompt, tools = usage.get("promptTokenCount"), usage.get("toolUsePromptTokenCount")
    if not is_count(prompt):
        return None
    return min(prompt + (tools if is_count(tools) else 0), MOST_BELIEVED)
