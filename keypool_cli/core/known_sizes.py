"""What is known of the size of what upstream keeps, and estimates with it in place of a guess."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

from keypool_cli.core.estimator import Estimate, Unknown
from keypool_cli.core.media_tokens import Media, MediaTokens, generation_of, media_tokens


@dataclass(frozen=True, slots=True)
class Size:
    """How large a file, a cache or an interaction is, as far as upstream told; None where not.

    tokens: what it adds to a prompt that names it. seconds: a clip's length.
    """

    tokens: int | None = None
    mime_type: str | None = None
    size_bytes: int | None = None
    seconds: float | None = None


UNTOLD = Size()

_UNTOLD_TYPES = frozenset({"", "application/octet-stream"})


def with_sizes(estimate: Estimate, sizes: Mapping[str, Size], *, model: str) -> Estimate:
    """An estimate that counts what it names by its size; sizes: by the name as the request has it."""
    tokens = margin = 0.0
    left = []
    for each in estimate.unknown:
        told = _counted(each, sizes.get(each.name, UNTOLD), model)
        if told is None:
            left.append(each)
        else:
            tokens += told.tokens - each.tokens
            margin += told.margin - each.margin
    if len(left) == len(estimate.unknown):
        return estimate
    return estimate._replace(
        tokens=max(1, round(estimate.tokens + tokens)),
        margin=max(0, ceil(estimate.margin + margin)),
        most=None if estimate.most is None else ceil(estimate.most + tokens + margin),
        unknown=tuple(left),
    )


def _counted(unknown: Unknown, size: Size, model: str) -> MediaTokens | None:
    if unknown.media is None:
        return None if size.tokens is None else MediaTokens(size.tokens)
    if size.mime_type is None:
        return None
    asked, told = unknown.media.mime_type, size.mime_type
    # Which of two types upstream believes is not documented: the dearer one is reserved.
    types = {each for each in (asked, told) if each not in _UNTOLD_TYPES and each[-2:] != "/*"}
    found = [_as(each, unknown.media, size, model) for each in types or {asked}]
    return max(found, key=lambda each: each.tokens + each.margin)


def _as(mime_type: str, media: Media, size: Size, model: str) -> MediaTokens:
    known = replace(
        media,
        mime_type=mime_type,
        size_bytes=size.size_bytes,
        seconds=media.seconds or size.seconds,
    )
    return media_tokens(known, generation=generation_of(model))
