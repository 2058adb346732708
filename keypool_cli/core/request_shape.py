"""What a request body carries: its texts, files, tools and structure, whichever form it takes.

Known forms: generateContent, both forms of countTokens, embedContent, batchEmbedContents, OpenAI
chat completions and embeddings, and interactions. Keys may be camelCase or snake_case. Whatever
does not have the expected type is ignored: bodies come straight from clients.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from keypool_cli.core.json_reading import first_of, list_of, mapping_of, number_of, text_of
from keypool_cli.core.json_text import json_text
from keypool_cli.core.media_headers import decode_base64
from keypool_cli.core.media_tokens import Media, is_text

_CAMEL, _SNAKE = "functionDeclarations", "function_declarations"
_SYSTEMS: Final = ("systemInstruction", "system_instruction")
_CONVERSATIONS: Final = ("contents", "content", "messages", "input")
_KEPT: Final = {
    "cachedContent": "cachedContents/",
    "cached_content": "cachedContents/",
    "previousInteractionId": "interactions/",
    "previous_interaction_id": "interactions/",
}
_RESOLUTION_KEYS: Final = ("mediaResolution", "media_resolution", "resolution")
_LEVELS: Final = ("low", "medium", "high", "ultra_high")
# Protobuf's JSON takes an enum's number as well, also as a string.
_RESOLUTIONS: Final[Mapping[object, str]] = {
    said: level for number, level in enumerate(_LEVELS, 1) for said in (level, number, str(number))
}
_TURN_KEYS: Final = frozenset({"parts", "content", "role"})
_SCHEMAS: Final = (
    "responseSchema", "response_schema", "responseJsonSchema", "response_json_schema",
)  # fmt: skip


@dataclass(slots=True)
class RequestShape:
    """Everything of a request that costs tokens, still uncounted.

    texts: decoded texts, each counted on its own. contents: turns. systems: system instructions.
    tools: each declaration as JSON. files: inline media, and media named by URI.
    cached: cached contents and earlier interactions that it names, whose tokens upstream adds to the
    prompt. schemas: what answers must look like.
    """

    texts: list[str] = field(default_factory=list)
    files: list[Media] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    contents: int = 0
    systems: int = 0
    cached: list[str] = field(default_factory=list)
    schemas: list[object] = field(default_factory=list)
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
    inner = mapping_of(body.get("generateContentRequest", body.get("generate_content_request")))
    several = list_of(body.get("requests"))
    if inner or several:
        return filter(None, map(mapping_of, [inner, *several]))
    return (body,)


def _read_one(body: Mapping[str, object], shape: RequestShape) -> None:
    _read_config(body, shape)
    for name, collection in _KEPT.items():
        if name in body and (kept := text_of(body[name])):
            shape.cached.append(collection + kept.removeprefix(collection))
    _read_spoken(body, shape)
    if "tools" in body:
        for tool in list_of(body["tools"]):
            shape.tools.extend(_declarations(mapping_of(tool)))


def _read_spoken(body: Mapping[str, object], shape: RequestShape) -> None:
    for name in _SYSTEMS:
        if system := body.get(name):
            shape.systems += 1
            _read_parts(_parts_of(system), shape)
    for name in _CONVERSATIONS:
        if name in body:
            for turn in _turns(body[name]):
                _read_turn(turn, shape)


def _read_config(body: Mapping[str, object], shape: RequestShape) -> None:
    config = mapping_of(body.get("generationConfig", body.get("generation_config")))
    if config:
        shape.resolution = _resolution(config) or shape.resolution
        shape.schemas += [config[name] for name in _SCHEMAS if config.get(name)]
    if "response_format" in body:
        shape.schemas.append(mapping_of(body["response_format"]).get("json_schema"))


def _turns(value: object) -> list[object]:
    """A conversation as a list of turns; loose parts side by side are one turn."""
    if isinstance(value, list):
        return [{"parts": value}] if value and all(map(_is_loose_part, value)) else value
    return [value] if isinstance(value, str) or mapping_of(value) else []


def _is_loose_part(value: object) -> bool:
    return bool(mapping_of(value)) and _TURN_KEYS.isdisjoint(value)  # type: ignore[arg-type]  # a dict


def _read_turn(turn: object, shape: RequestShape) -> None:
    item = mapping_of(turn)
    if item.get("role") in ("system", "developer"):
        shape.systems += 1
    elif item or isinstance(turn, str):
        shape.contents += 1
    _read_parts(_parts_of(turn), shape)
    if "tool_calls" in item:
        for call in list_of(item["tool_calls"]):
            shape.texts.append(json_text(mapping_of(call).get("function")))


def _parts_of(turn: object) -> list[object]:
    if not isinstance(turn, dict):
        return [turn] if isinstance(turn, str) else list_of(turn)
    parts = turn.get("parts", turn.get("content"))
    if isinstance(parts, list):
        return parts
    if parts is None:
        return [turn] if turn else []
    return [parts] if isinstance(parts, str) or mapping_of(parts) else []


def _read_parts(parts: list[object], shape: RequestShape, *, answered: bool = False) -> None:
    """answered: by a function; what it answers holds no answer itself, however deep it nests."""
    readers = _ANSWER_READERS if answered else _PART_READERS
    for part in parts:
        item = {"text": part} if isinstance(part, str) else mapping_of(part)
        text = item.get("text")
        if text and isinstance(text, str):
            shape.texts.append(text)
            if len(item) == 1:
                continue
        for name, value in item.items():
            read = readers.get(name)
            if read is not None and value is not None:
                read(value, item, shape)


def _read_json(value: object, _part: Mapping[str, object], shape: RequestShape) -> None:
    if isinstance(value, str) and value:
        shape.texts.append(value)
    elif isinstance(value, (dict, list)) and value:
        shape.texts.append(json_text(value))


def _read_response(value: object, part: Mapping[str, object], shape: RequestShape) -> None:
    """What a function answered, which may hold files."""
    parts = list_of(mapping_of(value).get("parts"))
    _read_parts(parts, shape, answered=True)
    bare = {k: v for k, v in mapping_of(value).items() if k != "parts"} if parts else value
    _read_json(bare, part, shape)


def _read_result(value: object, part: Mapping[str, object], shape: RequestShape) -> None:
    """What a function of interactions answered: typed parts, or any JSON."""
    if isinstance(value, list) and all("type" in mapping_of(each) for each in value):
        _read_parts(value, shape, answered=True)
    else:
        _read_json(value, part, shape)


def _read_blob(value: object, part: Mapping[str, object], shape: RequestShape) -> None:
    blob = mapping_of(value)
    data, mime_type = blob.get("data"), text_of(first_of(blob, "mimeType", "mime_type"))
    if isinstance(data, str):
        _add_file(mime_type, data, part, shape)


def _read_file(value: object, part: Mapping[str, object], shape: RequestShape) -> None:
    file = mapping_of(value)
    mime_type = text_of(first_of(file, "mimeType", "mime_type")) or "video/*"
    _add_file(mime_type, None, part, shape, uri=text_of(first_of(file, "fileUri", "file_uri")))


def _read_url(value: object, part: Mapping[str, object], shape: RequestShape) -> None:
    url = (
        value
        if isinstance(value, str)
        else text_of(first_of(mapping_of(value), "url", "file_data"))
    )
    header, comma, data = url.partition(",")
    if url.startswith("data:") and comma:
        _add_file(header[5:].partition(";")[0], data, part, shape)
    elif url:
        _add_file("image/*", None, part, shape, uri=url)


def _read_audio(value: object, part: Mapping[str, object], shape: RequestShape) -> None:
    _add_file("audio/*", text_of(mapping_of(value).get("data")) or None, part, shape)


def _read_typed(value: object, part: Mapping[str, object], shape: RequestShape) -> None:
    """An interactions part: {"type": "image", "data" or "uri", "mime_type"}."""
    kind = text_of(value)
    if kind in ("image", "audio", "video", "document") and part.keys() & {"data", "uri"}:
        default = "application/pdf" if kind == "document" else f"{kind}/*"
        mime_type = text_of(first_of(part, "mimeType", "mime_type")) or default
        data = text_of(part.get("data")) or None
        _add_file(mime_type, data, part, shape, uri=text_of(part.get("uri")))


_Reader = Callable[[object, Mapping[str, object], RequestShape], None]
_ANSWER_READERS: Final[Mapping[str, _Reader]] = {
    **dict.fromkeys(("inlineData", "inline_data"), _read_blob),
    **dict.fromkeys(("fileData", "file_data"), _read_file),
    **dict.fromkeys(("functionCall", "function_call"), _read_json),
    **dict.fromkeys(("executableCode", "executable_code"), _read_json),
    **dict.fromkeys(("codeExecutionResult", "code_execution_result"), _read_json),
    **dict.fromkeys(("image_url", "imageUrl", "file"), _read_url),
    "input_audio": _read_audio,
    "type": _read_typed,
    "arguments": _read_json,  # of an interaction's function_call
}
_PART_READERS: Final[Mapping[str, _Reader]] = {
    **_ANSWER_READERS,
    **dict.fromkeys(("functionResponse", "function_response"), _read_response),
    "result": _read_result,  # of an interaction's function_result
}


def _add_file(
    mime_type: str,
    data: str | None,
    part: Mapping[str, object],
    shape: RequestShape,
    *,
    uri: str = "",
) -> None:
    mime_type = mime_type.partition(";")[0].strip().lower()
    if data is not None and is_text(mime_type):
        shape.texts.append(decode_base64(data).decode("utf-8", "replace"))
        return
    video = mapping_of(first_of(part, "videoMetadata", "video_metadata"))
    shape.files.append(
        Media(
            mime_type,
            data,
            resolution=_resolution(part) or shape.resolution,
            seconds=_clip_seconds(video),
            fps=number_of(video.get("fps")) or 1.0,
            uri=uri,
        )
    )


def _clip_seconds(video: Mapping[str, object]) -> float | None:
    start = _offset(first_of(video, "startOffset", "start_offset"))
    end = _offset(first_of(video, "endOffset", "end_offset"))
    return end - start if end > start else None


def _offset(value: object) -> float:
    """Seconds of a protobuf duration such as ``"1.5s"``; 0.0 where it is none."""
    text = text_of(value).removesuffix("s")
    return float(text) if text.replace(".", "", 1).isdecimal() and len(text) < 16 else 0.0


def _resolution(holder: Mapping[str, object]) -> str | None:
    if holder.keys().isdisjoint(_RESOLUTION_KEYS):
        return None
    level = first_of(holder, *_RESOLUTION_KEYS)
    if isinstance(level, dict):
        level = level.get("level")
    if isinstance(level, str):
        level = level.lower().replace("-", "_").removeprefix("media_resolution_")
    return _RESOLUTIONS.get(level) if isinstance(level, (str, int, float)) else None


def _declarations(tool: Mapping[str, object]) -> Iterator[str]:
    declared = [*list_of(tool.get(_CAMEL)), *list_of(tool.get(_SNAKE))]
    if declared:
        yield from map(json_text, declared)
    elif tool:
        yield json_text(tool.get("function", tool))
