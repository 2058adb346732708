"""Counts that Gemini itself gave, published in recordings of js-genai and pydantic-ai.

The numbers are promptTokenCount or totalTokens of real answers for text-only requests.
"""

from typing import NamedTuple

import pytest

from keypool_cli.core.estimator import estimate_request


class Vector(NamedTuple):
    """One recorded request, and what it cost."""

    model: str
    contents: list[list[str]]
    system: str
    tokens: int


VECTORS = [
    Vector(
        "gemini-3-pro-image",
        [["A cute baby sea otter"]],
        "Generate an image based on the user prompt. Do not ask clarifying questions.",
        22,
    ),
    Vector("gemini-embedding-2-preview", [["Hello, world!"]], "", 5),
    Vector(
        "gemini-1.5-flash",
        [
            [
                'What is the capital of France? Give me an answer that contains the word "Paris", but is not the first word.'
            ]
        ],
        "",
        25,
    ),
    Vector("gemini-2.5-flash", [["What is 2+2? Reply with just the number."]], "", 14),
    Vector("gemini-2.5-flash", [["Return exactly this payment amount: 12.34"]], "", 13),
    Vector(
        "gemini-2.5-flash",
        [['Create a config named "api-config" with metadata author="Alice" and version="1.0"']],
        "",
        23,
    ),
    Vector(
        "gemini-2.0-flash",
        [['Create a config named "api-config" with metadata author="Alice" and version="1.0"']],
        "",
        22,
    ),
    Vector("gemini-2.5-flash", [["Tell me about a cat with a meow volume of 5"]], "", 14),
    Vector("gemini-2.0-flash", [["Tell me about a cat with a meow volume of 5"]], "", 12),
    Vector("gemini-1.5-flash", [["Hello"]], "", 2),
    Vector("gemini-2.5-flash-lite", [["What is the capital of France?"]], "", 8),
    Vector("gemini-2.5-flash-lite", [["What is the capital of Mexico?"]], "", 8),
    Vector(
        "gemini-2.5-flash-image",
        [["Tell me a two-sentence story about an axolotl with an illustration."]],
        "",
        17,
    ),
    Vector(
        "gemini-3-pro-image-preview",
        [["Generate an illustrated two-sentence story about an axolotl."]],
        "",
        14,
    ),
    Vector(
        "gemini-2.5-flash-image",
        [["Tell me a two-sentence story about an axolotl, no image please."]],
        "",
        18,
    ),
    Vector("gemini-2.5-flash-image", [["Generate an image of an axolotl."]], "", 10),
    Vector("gemini-2.5-flash", [['Create a task named "Fix bug" with a priority']], "", 12),
    Vector("gemini-2.0-flash", [['Create a task named "Fix bug" with a priority']], "", 11),
    Vector("gemini-2.5-flash", [["Hello!"]], "You are a chatbot.", 9),
    Vector("gemini-2.5-flash", [["Hi"], [""], ["Was your previous response empty?"]], "", 10),
    Vector("gemini-2.5-flash", [[""]], "You are a helpful assistant.", 8),
    Vector("gemini-3.5-flash", [["What is 2 + 2? Reply with just the number."]], "", 15),
    Vector(
        "gemini-2.0-flash", [["What is the capital of France?"]], "You are a helpful assistant.", 13
    ),
    Vector(
        "gemini-2.5-flash", [["What is the capital of France?"]], "You are a helpful chatbot.", 15
    ),
    Vector("gemini-3-pro-preview", [["Hi"]], "", 2),
    Vector("gemini-1.5-flash", [["Tell me a joke about a Brazilians."]], "You hate the world!", 14),
    Vector(
        "gemini-3.1-flash-lite",
        [["What is the capital of France?"]],
        "You are a helpful chatbot.",
        15,
    ),
    Vector(
        "gemini-1.5-flash", [["What is the capital of France?"]], "You are a helpful chatbot.", 13
    ),
    Vector("gemini-2.5-flash", [["The quick brown fox jumps over the lazydog."]], "", 12),
    Vector("gemini-2.0-flash", [["What is the largest city in Mexico?"]], "", 8),
    Vector(
        "gemini-2.5-flash",
        [["Create a simple example with 2 pages, each with 2 items"]],
        "You are a helpful assistant that creates structured data.",
        26,
    ),
    Vector("gemini-2.5-flash", [["Tell me about London, UK with population 9 million"]], "", 12),
    Vector("gemini-2.5-flash", [["Just tell me a city: Paris"]], "", 8),
    Vector("gemini-2.0-flash", [["Tell me about London, UK with population 9 million"]], "", 11),
    Vector("gemini-2.0-flash", [["Just tell me a city: Paris"]], "", 7),
    Vector(
        "gemini-2.5-flash",
        [["Give me coordinates for New York City: latitude 40.7128, longitude -74.0060"]],
        "",
        28,
    ),
    Vector(
        "gemini-2.0-flash",
        [["Give me coordinates for New York City: latitude 40.7128, longitude -74.0060"]],
        "",
        27,
    ),
    Vector(
        "gemini-2.0-flash",
        [['Create a simple tree with root "A" and two children "B" and "C"']],
        "",
        19,
    ),
    Vector(
        "gemini-2.5-flash",
        [['Create a simple tree with root "A" and two children "B" and "C"']],
        "",
        20,
    ),
    Vector("gemini-2.5-flash", [["Count from 1 to 30, one number per line, digits only."]], "", 18),
    Vector("gemini-1.5-flash", [["Hello!"]], "", 2),
    Vector("gemini-2.5-flash", [["Reply with exactly: Paris"]], "", 6),
    Vector(
        "gemini-2.0-flash",
        [["why is the sky blue?", "Can the sky appear in other colors?"]],
        "",
        14,
    ),
    Vector("gemini-2.0-flash", [["Tell me a story in 100 words?"]], "", 11),
    Vector("gemini-2.0-flash", [["why is the sky blue?"]], "", 6),
    Vector("gemini-2.0-flash", [["a=5"], [""], ["what is the value of a+10?"]], "", 13),
    Vector("gemini-2.0-flash", [["a=5"], ["b=10"], ["what is the value of a+b?"]], "", 16),
    Vector("gemini-2.5-flash", [["why is the sky blue?"]], "", 7),
    Vector(
        "gemini-2.5-flash",
        [["high"]],
        "I say high you say low, and then tell me why is the sky blue.",
        20,
    ),
    Vector("gemini-2.5-flash", [["populate the following object"]], "", 5),
    Vector("gemini-2.5-flash", [["high"]], "I say high you say low", 9),
]


def the_body(vector):
    contents = [{"role": "user", "parts": [{"text": t} for t in c]} for c in vector.contents]
    system = {"systemInstruction": {"parts": [{"text": vector.system}]}} if vector.system else {}
    return {"contents": contents, **system}


@pytest.mark.parametrize("vector", VECTORS, ids=[str(number) for number in range(len(VECTORS))])
def test_a_recorded_request_is_estimated_within_a_few_tokens(vector):
    estimate = estimate_request(the_body(vector), model=vector.model)
    assert estimate.tokens == pytest.approx(vector.tokens, rel=0.15, abs=1.5)


@pytest.mark.parametrize("vector", VECTORS, ids=[str(number) for number in range(len(VECTORS))])
def test_a_recorded_request_is_never_under_reserved(vector):
    estimate = estimate_request(the_body(vector), model=vector.model)
    assert estimate.tokens + estimate.margin >= vector.tokens


def test_all_recorded_requests_together_are_within_three_percent():
    estimated = sum(estimate_request(the_body(v), model=v.model).tokens for v in VECTORS)
    assert estimated == pytest.approx(sum(v.tokens for v in VECTORS), rel=0.03)
