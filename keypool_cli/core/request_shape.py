"""What a request body carries: its texts, files, tools and structure, whichever form it takes.

Known forms: generateContent, both forms of countTokens, embedContent, batchEmbedContents, OpenAI
chat completions and embeddings, and interactions. Keys may be camelCase or snake_case. Whatever
does not have the expected type is ignored: bodies come straight from clients.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from keypool_cli.core.json_text import json_text
from keypool_cli.core.media_headers import decode_base64
from keypool_cli.core.media_tokens import Media

_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})
_CONVERSATIONS: Final = ("contents", "content", "messages", "input")
_KEPT: Final = (
    "cachedContent",
    "cached_content",
    "previousInteractionId",
    "previous_interaction_id",
)
_RESOLUTION_KEYS: Final = ("mediaResolution", "media_resolution", "resolution")
_TURN_KEYS: Final = frozenset({"parts", "content", "role"})
_TEXT_TYPES: Final = frozenset(
    f"application/{name}"
    for name in ("json", "xml", "rtf", "yaml", "javascript", "x-javascript", "x-python", "x-sh")
)


@dataclass(slots=True)
class RequestShape:
    """Everything of a request that costs tokens, still uncounted.

    texts: decoded texts, each counted on its own. contents: turns. systems: system instructions.
    tools: each declaration as JSON. files: inline media, and media named by URI.
    cached: whether it names cached content or an earlier interaction, whose tokens upstream adds to
    the prompt.
    """

    texts: list[str] = field(default_factory=list)
    files: list[Media] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    contents: int = 0
    systems: int = 0
    cached: bool = False
    resolution: str | None = None


def read_request(body: Mapping[str, object]) -> RequestShape:
    """The shape of one request body; never raises."""
    shape = RequestShape()
    for request in _requests(body):
        _read_one(request, shape)
    return shape


def _requests(body: Mapping[str, object]) -> Iterable[Mapping[str, object]]:
    if "contents" in body:
        return (body,)
    inner = _mapping(body.get("generateContentRequest", body.get("generate_content_request")))
    several = _list(body.get("requests"))
    if inner or several:
        return filter(None, map(_mapping, [inner, *several]))
    return (body,)


def _read_one(body: Mapping[str, object], shape: RequestShape) -> None:
    config = body.get("generationConfig", body.get("generation_config"))
    if isinstance(config, dict):
        shape.resolution = _resolution(config) or shape.resolution
    shape.cached |= any(body.get(name) and isinstance(body[name], str) for name in _KEPT)
    system = body.get("systemInstruction", body.get("system_instruction"))
    if system:
        shape.systems += 1
        _read_parts(_parts_of(system), shape)
    for name in _CONVERSATIONS:
        if name in body:
            for turn in _turns(body[name]):
                _read_turn(turn, shape)
    if "tools" in body:
        for tool in _list(body["tools"]):
            shape.tools.extend(_declarations(_mapping(tool)))


def _turns(value: object) -> list[object]:
    """A conversation as a list of turns; loose parts side by side are one turn."""
    if isinstance(value, list):
        return [{"parts": value}] if value and all(map(_is_loose_part, value)) else value
    return [value] if isinstance(value, str) or _mapping(value) else []


def _is_loose_part(value: object) -> bool:
    return bool(_mapping(value)) and _TURN_KEYS.isdisjoint(value)  # type: ignore[arg-type]  # a dict


def _read_turn(turn: object, shape: RequestShape) -> None:
    item = _mapping(turn)
    if item.get("role") in ("system", "developer"):
        shape.systems += 1
    elif item or isinstance(turn, str):
        shape.contents += 1
    _read_parts(_parts_of(turn), shape)
    if "tool_calls" in item:
        for call in _list(item["tool_calls"]):
            shape.texts.append(json_text(_mapping(call).get("function")))


def _parts_of(turn: object) -> list[object]:
    if not isinstance(turn, dict):
        return [turn] if isinstance(turn, str) else _list(turn)
    parts = turn.get("parts", turn.get("content"))
    if isinstance(parts, list):
        return parts
    if parts is None:
        return [turn] if turn else []
    return [parts] if isinstance(parts, str) or _mapping(parts) else []


def _read_parts(parts: list[object], shape: RequestShape) -> None:
    for part in parts:
        item = {"text": part} if isinstance(part, str) else _mapping(part)
        text = item.get("text")
        if text and isinstance(text, str):
            shape.texts.append(text)
            if len(item) == 1:
                continue
        for name, value in item.items():
            read = _PART_READERS.get(name)
            if read is not None and value is not None:
                read(value, item, shape)


def _read_json(value: object, _part: Mapping[str, object], shape: RequestShape) -> None:
    if isinstance(value, str) and value:
        shape.texts.append(value)
    elif isinstance(value, (dict, list)) and value:
        shape.texts.append(json_text(value))


def _read_response(value: object, part: Mapping[str, object], shape: RequestShape) -> None:
    """What a function answered, which may hold files."""
    parts = _list(_mapping(value).get("parts"))
    _read_parts(parts, shape)
    bare = {k: v for k, v in _mapping(value).items() if k != "parts"} if parts else value
    _read_json(bare, part, shape)


def _read_result(value: object, part: Mapping[str, object], shape: RequestShape) -> None:
    """What a function of interactions answered: typed parts, or any JSON."""
    if isinstance(value, list) and all("type" in _mapping(each) for each in value):
        _read_parts(value, shape)
    else:
        _read_json(value, part, shape)


def _read_blob(value: object, part: Mapping[str, object], shape: RequestShape) -> None:
    blob = _mapping(value)
    data, mime_type = blob.get("data"), _text(_get(blob, "mimeType", "mime_type"))
    if isinstance(data, str):
        _add_file(mime_type, data, part, shape)


def _read_file(value: object, part: Mapping[str, object], shape: RequestShape) -> None:
    mime_type = _text(_get(_mapping(value), "mimeType", "mime_type")) or "video/*"
    _add_file(mime_type, None, part, shape)


def _read_url(value: object, part: Mapping[str, object], shape: RequestShape) -> None:
    url = value if isinstance(value, str) else _text(_get(_mapping(value), "url", "file_data"))
    header, comma, data = url.partition(",")
    if url.startswith("data:") and comma:
        _add_file(header[5:].partition(";")[0], data, part, shape)
    elif url:
        _add_file("image/*", None, part, shape)


def _read_audio(value: object, part: Mapping[str, object], shape: RequestShape) -> None:
    _add_file("audio/*", _text(_mapping(value).get("data")) or None, part, shape)


def _read_typed(value: object, part: Mapping[str, object], shape: RequestShape) -> None:
    """An interactions part: {"type": "image", "data" or "uri", "mime_type"}."""
    kind = _text(value)
    if kind in ("image", "audio", "video", "document") and part.keys() & {"data", "uri"}:
        default = "application/pdf" if kind == "document" else f"{kind}/*"
        mime_type = _text(_get(part, "mimeType", "mime_type")) or default
        _add_file(mime_type, _text(part.get("data")) or None, part, shape)


_Reader = Callable[[object, Mapping[str, object], RequestShape], None]
_PART_READERS: Final[Mapping[str, _Reader]] = {
    **dict.fromkeys(("inlineData", "inline_data"), _read_blob),
    **dict.fromkeys(("fileData", "file_data"), _read_file),
    **dict.fromkeys(("functionCall", "function_call"), _read_json),
    **dict.fromkeys(("functionResponse", "function_response"), _read_response),
    **dict.fromkeys(("executableCode", "executable_code"), _read_json),
    **dict.fromkeys(("codeExecutionResult", "code_execution_result"), _read_json),
    **dict.fromkeys(("image_url", "imageUrl", "file"), _read_url),
    "input_audio": _read_audio,
    "type": _read_typed,
    # A function_call of interactions, and its function_result.
    "arguments": _read_json,
    "result": _read_result,
}


def _add_file(
    mime_type: str, data: str | None, part: Mapping[str, object], shape: RequestShape
) -> None:
    mime_type = mime_type.partition(";")[0].strip().lower()
    if data is not None and _is_text(mime_type):
        shape.texts.append(decode_base64(data).decode("utf-8", "replace"))
        return
    video = _mapping(_get(part, "videoMetadata", "video_metadata"))
    shape.files.append(
        Media(
            mime_type,
            data,
            resolution=_resolution(part) or shape.resolution,
            seconds=_clip_seconds(video),
            fps=_number(video.get("fps")) or 1.0,
        )
    )


def _is_text(mime_type: str) -> bool:
    return mime_type.startswith("text/") or mime_type in _TEXT_TYPES or mime_type.endswith("+xml")


def _clip_seconds(video: Mapping[str, object]) -> float | None:
    start = _offset(_get(video, "startOffset", "start_offset"))
    end = _offset(_get(video, "endOffset", "end_offset"))
    return end - start if end > start else None


def _offset(value: object) -> float:
    """Seconds of a protobuf duration such as ``"1.5s"``; 0.0 where it is none."""
    text = _text(value).removesuffix("s")
    return float(text) if text.replace(".", "", 1).isdecimal() and len(text) < 16 else 0.0


def _resolution(holder: Mapping[str, object]) -> str | None:
    if holder.keys().isdisjoint(_RESOLUTION_KEYS):
        return None
    level = _get(holder, *_RESOLUTION_KEYS)
    if isinstance(level, dict):
        level = level.get("level")
    name = _text(level).lower().removeprefix("media_resolution_")
    return name if name in ("low", "medium", "high", "ultra_high") else None


def _declarations(tool: Mapping[str, object]) -> Iterator[str]:
    declared = _list(_get(tool, "functionDeclarations", "function_declarations"))
    if declared:
        yield from map(json_text, declared)
    elif tool:
        yield json_text(tool.get("function", tool))


def _mapping(value: object) -> Mapping[str, object]:
    # Decoded JSON holds dicts only; asking for Mapping would cost as much as counting the text.
    return value if isinstance(value, dict) else _NOTHING


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    """A number, which protobuf's JSON takes as a string, too; None unless it is above zero."""
    if isinstance(value, str) and len(value) < 16 and value.replace(".", "", 1).isdecimal():
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value <= 1000 else None


def _get(holder: Mapping[str, object], *names: str) -> object:
    for name in names:
        if name in holder:
            return holder[name]
    return None
