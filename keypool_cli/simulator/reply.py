"""What the simulated model answers: short, the same for the same prompt, in its language."""

import re
import zlib
from collections.abc import Sequence

from keypool_cli.simulator.refusals import Json
from keypool_cli.simulator.tokens import Counted, Prompt

_ARABIC = re.compile(r"[\u0600-\u06ff]")
_ARABIC_REPLIES = (
    "أهلا بك، وصل سؤالك وهذه إجابة قصيرة من المحاكي.",
    "شكرا على رسالتك، كل شيء يعمل كما ينبغي هنا.",
    "هذا رد ثابت يصلح للاختبار، ولا يحمل معنى آخر.",
)
_ENGLISH_REPLIES = (
    "Hello, your question arrived and this is a short simulated answer.",
    "Thank you for the message, everything works here as it should.",
    "This reply is always the same, good for tests and nothing else.",
)

THOUGHT = "The user wants a short answer, so a short one it is."

_CHUNKS = 3
"""Parts that a streamed answer comes in, if it has as many words."""


def reply_to(prompt: Prompt) -> str:
    """The whole answer, chosen by the prompt's last text."""
    last = prompt.texts[-1] if prompt.texts else ""
    replies = _ARABIC_REPLIES if _ARABIC.search(last) else _ENGLISH_REPLIES
    return replies[zlib.crc32(last.encode(errors="replace")) % len(replies)]


def usage(counted: Counted, candidates: int, thoughts: int = 0) -> Json:
    """The usageMetadata of an answer of ``candidates`` tokens, after so many of thinking."""
    return {
        "promptTokenCount": counted.tokens,
        "candidatesTokenCount": candidates,
        "totalTokenCount": counted.tokens + candidates + thoughts,
        **({"thoughtsTokenCount": thoughts} if thoughts else {}),
        **prompt_details(counted),
        "candidatesTokensDetails": modalities(candidates, 0),
        "serviceTier": "standard",
    }


def prompt_details(counted: Counted) -> Json:
    """What a prompt's tokens are made of; caches count as the text they hold."""
    cached = counted.cached_tokens
    details = modalities(counted.text_tokens + cached, counted.media_tokens)
    found: Json = {"promptTokensDetails": details}
    if cached:
        found |= {"cachedContentTokenCount": cached, "cacheTokensDetails": modalities(cached, 0)}
    return found


def modalities(text: int, media: int) -> list[Json]:
    """Token counts by modality; those of media only where there are some."""
    details = [{"modality": "TEXT", "tokenCount": text}]
    if media:
        details.append({"modality": "IMAGE", "tokenCount": media})
    return details


def answers(
    texts: Sequence[str],
    *,
    model: str,
    usages: Sequence[Json],
    response_id: str,
    thought: str = "",
) -> list[Json]:
    """One answer object for each text of the reply, with the usage up to there; the last ends it.

    thought: a summary of the thinking, which comes before the first text.
    """
    chunks = [
        {**_answer(text, model, response_id), "usageMetadata": told}
        for text, told in zip(texts, usages, strict=True)
    ]
    if thought:
        chunks[0]["candidates"][0]["content"]["parts"].insert(0, {"text": thought, "thought": True})
    chunks[-1]["candidates"][0]["finishReason"] = "STOP"
    return chunks


def in_chunks(text: str) -> list[str]:
    """The text in about equal parts, cut between words."""
    words = text.split(" ")
    size = -(-len(words) // _CHUNKS)
    parts = [" ".join(words[at : at + size]) for at in range(0, len(words), size)]
    return [part + " " for part in parts[:-1]] + parts[-1:]


def _answer(text: str, model: str, response_id: str) -> Json:
    content = {"parts": [{"text": text}], "role": "model"}
    return {
        "candidates": [{"content": content, "index": 0}],
        "modelVersion": model,
        "responseId": response_id,
    }
