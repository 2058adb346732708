"""What the simulated model answers where a request says in which shape: JSON, or a function's call."""

from collections.abc import Iterator, Mapping

import msgspec

from keypool_cli.simulator.refusals import Json
from keypool_cli.simulator.request import field_of

_DEEPEST = 20
"""Levels of a schema that are followed: one may name itself."""

_SCHEMAS = ("responseSchema", "responseJsonSchema")
_PLAIN = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None}


def json_text(schema: object) -> str:
    """JSON that fits a schema, of Gemini's kind or JSON Schema."""
    return msgspec.json.encode(_example(schema, schema, 0)).decode()


def wanted_json(body: Json) -> str | None:
    """The JSON that a generateContent body asks for; None where it asks for plain text."""
    config = _object(field_of(body, "generationConfig"))
    schema = next(filter(None, (field_of(config, name) for name in _SCHEMAS)), None)
    if schema is None and field_of(config, "responseMimeType") != "application/json":
        return None
    return json_text(schema or {"type": "object"})


def wanted_call(body: Json) -> Json | None:
    """The function call that a body insists on, by mode ANY; None where it does not."""
    config = _object(field_of(_object(field_of(body, "toolConfig")), "functionCallingConfig"))
    if config.get("mode") != "ANY":
        return None
    allowed = field_of(config, "allowedFunctionNames")
    for each in _declared(body):
        name = each.get("name")
        if not isinstance(allowed, list) or name in allowed:
            schema = field_of(each, "parametersJsonSchema") or each.get("parameters")
            args = _example(schema, schema, 0) if schema else {}
            return {"functionCall": {"name": name, "args": args}}
    return None


def _declared(body: Json) -> Iterator[Json]:
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        found = field_of(_object(tool), "functionDeclarations")
        yield from map(_object, found if isinstance(found, list) else ())


def _example(schema: object, root: object, depth: int) -> object:
    told = _resolved(_object(schema), root)
    if depth == _DEEPEST:
        return None
    if isinstance(several := told.get("enum"), list) and several:
        return several[0]
    for name in ("anyOf", "any_of", "oneOf", "allOf"):
        if isinstance(several := told.get(name), list) and several:
            return _example(several[0], root, depth + 1)
    kinds = told.get("type")
    kind = str(kinds[0] if isinstance(kinds, list) and kinds else kinds or "").lower()
    members = _object(told.get("properties"))
    if kind == "array":
        return [_example(told.get("items"), root, depth + 1)]
    if kind == "object" or members:
        # What may be left out is: it may be of the schema's own kind, without end.
        said = told.get("required")
        names = said if isinstance(said, list) else members
        return {str(name): _example(members.get(str(name)), root, depth + 1) for name in names}
    return _PLAIN.get(kind, "text")


def _resolved(schema: Json, root: object) -> Json:
    """A schema in place of a ``$ref`` to one of the root's."""
    said = schema.get("$ref")
    if not isinstance(said, str):
        return schema
    found: object = root
    for name in said.removeprefix("#/").split("/"):
        found = _object(found).get(name)
    return _object(found)


def _object(value: object) -> Json:
    return dict(value) if isinstance(value, Mapping) else {}
