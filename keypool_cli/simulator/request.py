"""Read Gemini's requests: who calls, what, and the prompt to count."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from keypool_cli.http import message
from keypool_cli.http.message import BodyTooLargeError, query_pairs
from keypool_cli.http.rsgi import Exchange, Scope
from keypool_cli.simulator.refusals import (
    GeminiError,
    bearer_refused,
    invalid_argument,
    no_credential,
    path_unknown,
    two_credentials,
)
from keypool_cli.simulator.tokens import Prompt

_BODY_LIMIT = 100 * 2**20
_VERSIONS = ("v1beta", "v1", "v1alpha")
_ROLES = (None, "", "user", "model", "function", "tool")
_HUMP = re.compile(r"(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Call:
    """Where a call goes. model: None for the list of models. method: ``get`` or ``list`` there.

    resource: the name, or the collection, of what one project keeps; then method is the HTTP
    method and the kind, such as ``GET files/*``.
    """

    version: str
    model: str | None
    method: str
    resource: str = ""


def read_path(scope: Scope) -> Call:
    """The call that method and path stand for; raises GeminiError for any other."""
    match scope.path.split("/"):
        case ["", "upload", version, "files"] if version in _VERSIONS:
            return Call(version, None, "upload", "files")
        case ["", "download", version, *rest] if version in _VERSIONS:
            return _of_resource(scope.method, version, rest)
        case ["", version, *rest] if version in _VERSIONS and rest:
            return _of_version(scope.method, version, rest)
        case _:
            raise path_unknown()


def _of_version(method: str, version: str, parts: list[str]) -> Call:
    match method, parts:
        case "GET", ["models"]:
            return Call(version, None, "list")
        case "GET", ["models", model]:
            return Call(version, model, "get")
        case _, ["openai", *rest]:
            return _of_openai(method, version, rest)
        case "POST", ["interactions"]:
            return Call(version, None, "interactions")
        case "POST", ["models", action] if ":" in action:
            model, _, verb = action.partition(":")
            return Call(version, model, verb)
        case _:
            return _of_resource(method, version, parts)


def _of_openai(method: str, version: str, parts: list[str]) -> Call:
    """Ids may come with their collection, which OpenAI's clients put into the path, or without."""
    match parts:
        case [("files" | "batches") as kept, again, own, *verbs] if again == kept:
            kind, name = "/".join([kept, "*", *verbs]), f"{kept}/{own}"
        case [("files" | "batches") as kept, own, *verbs]:
            kind, name = "/".join([kept, "*", *verbs]), f"{kept}/{own}"
        case ["models", *names] if names:
            kind, name = "models/*", "/".join(names)
        case _:
            kind = name = "/".join(parts)
    return Call(version, None, f"{method} openai/{kind}", name)


def _of_resource(method: str, version: str, parts: list[str]) -> Call:
    *inner, last = parts
    own, _, verb = last.partition(":")
    if inner[-1:] == ["cancel"] or last == "cancel":
        inner, own, verb = inner[:-1], inner[-1], "cancel"
    name = "/".join([*inner, own])
    kind = f"{inner[-1]}/*" if inner else own
    return Call(version, None, f"{method} {kind}{':' if verb else ''}{verb}", name)


def read_key(scope: Scope) -> str:
    """The one credential of a call; raises GeminiError for none, two, or a bearer token."""
    headers = scope.headers.items()
    keys = [value for name, value in query_pairs(scope.query_string) if name == "key"]
    keys += [value for name, value in headers if name == "x-goog-api-key"]
    bearers = [value for name, value in headers if name == "authorization"]
    if len(keys) + len(bearers) > 1:
        raise two_credentials()
    if scope.path.split("/")[2:3] == ["openai"]:
        keys = [value.removeprefix("Bearer ") for value in bearers]
    elif bearers:
        raise bearer_refused()
    if not keys or not keys[0]:
        raise no_credential()
    return keys[0]


async def read_body(scope: Scope, exchange: Exchange) -> bytes:
    """The whole body; raises GeminiError for one larger than Gemini takes."""
    try:
        return await message.read_body(scope.headers, exchange, limit=_BODY_LIMIT)
    except BodyTooLargeError as err:
        raise invalid_argument(
            f"Request payload size exceeds the limit: {_BODY_LIMIT} bytes."
        ) from err


def read_json(data: bytes) -> dict[str, Any]:
    """The body as an object; raises GeminiError as Gemini does for anything else."""
    try:
        value = msgspec.json.decode(data or b"{}")
    except (msgspec.MsgspecError, UnicodeDecodeError) as err:
        line = data[:100].decode(errors="replace").split("\n", 1)[0]
        raise invalid_argument(
            f"Invalid JSON payload received. Unexpected token.\n{line}\n^"
        ) from err
    if not isinstance(value, dict):
        raise invalid_argument("Invalid JSON payload received. Expected an object at the root.")
    return value


def read_prompt(body: dict[str, Any]) -> Prompt:
    """What counts of a generateContent body; raises GeminiError for one Gemini would refuse."""
    contents = body.get("contents")
    if not contents:
        raise invalid_argument("* GenerateContentRequest.contents: contents is not specified\n")
    parts = [part for content in _objects(contents, "contents") for part in _parts(content)]
    instruction = field_of(body, "systemInstruction")
    if instruction is not None:
        parts += _parts(_object(instruction, "system_instruction"))
    texts = [text for part in parts for text in _texts(part)]
    texts += [
        msgspec.json.encode(tool).decode() for tool in _objects(body.get("tools") or [], "tools")
    ]
    media = sum(1 for part in parts if _is_media(part))
    return Prompt(tuple(texts), len(contents), media, instruction is not None)


@dataclass(frozen=True, slots=True)
class Thinking:
    """Whether a request wants thinking, and a summary of it in the answer."""

    on: bool
    shown: bool


def thinking_of(body: dict[str, Any]) -> Thinking:
    """What a body's thinkingConfig asks for; without one this model does not think."""
    config = field_of(body, "generationConfig")
    asked = field_of(config, "thinkingConfig") if isinstance(config, dict) else None
    if not isinstance(asked, dict) or field_of(asked, "thinkingBudget") == 0:
        return Thinking(on=False, shown=False)
    return Thinking(on=True, shown=field_of(asked, "includeThoughts") is True)


def read_counted(body: dict[str, Any]) -> Prompt:
    """The prompt of a countTokens body, in either of its two forms."""
    inner = field_of(body, "generateContentRequest")
    if inner is None:
        return read_prompt({"contents": body.get("contents")})
    if body.get("contents"):
        raise invalid_argument(
            "contents and generate_content_request are mutually exclusive.", counts=False
        )
    request = _object(inner, "generate_content_request")
    if not request.get("model"):
        raise invalid_argument(
            "* CountTokensRequest.generate_content_request.model: model is not specified\n"
        )
    return read_prompt(request)


def field_of(value: dict[str, Any], name: str) -> object:
    """A field by its JSON name or its proto name, which Gemini takes alike."""
    return value.get(name, value.get(_snake(name)))


@cache
def _snake(name: str) -> str:
    return _HUMP.sub("_", name).lower()


def _parts(content: dict[str, Any]) -> list[dict[str, Any]]:
    if content.get("role") not in _ROLES:
        raise invalid_argument("Please use a valid role: user, model.")
    return _objects(content.get("parts") or [], "parts")


def _texts(part: dict[str, Any]) -> Iterator[str]:
    text = part.get("text")
    if isinstance(text, str):
        yield text
    elif text is not None:
        raise _wrong_type("text", "TYPE_STRING")
    elif not _is_media(part):
        # Function calls and answers are counted as the JSON they are.
        yield msgspec.json.encode(part).decode()


def _is_media(part: dict[str, Any]) -> bool:
    return any(field_of(part, name) is not None for name in ("inlineData", "fileData"))


def _objects(value: object, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise _wrong_type(name, "a list")
    return [_object(item, name) for item in value]


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong_type(name, "an object")
    return value


def _wrong_type(name: str, wanted: str) -> GeminiError:
    return invalid_argument(f"Invalid value at '{name}' ({wanted})")
