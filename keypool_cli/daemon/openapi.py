"""``GET /keypool/v1/openapi.json``: keypool's own API, described from the types it is made of."""

from collections.abc import Iterable, Mapping
from functools import cache
from inspect import cleandoc
from typing import Any

import msgspec

from keypool_cli.daemon import schema
from keypool_cli.daemon.problems import LimitProblem
from keypool_cli.http.message import Problem, answer_json
from keypool_cli.http.rsgi import Exchange, Scope
from keypool_cli.service.explaining import Explained
from keypool_cli.service.standing import Status, promised_schema

Json = dict[str, Any]

_API = "/keypool/v1"
_BODIES = (schema.LeaseBody, schema.SettleBody)
_ANSWERS = (
    schema.LeaseAnswer,
    schema.SettleAnswer,
    schema.EventsAnswer,
    schema.Healthy,
    Problem,
    LimitProblem,
    Status,
    Explained,
)
_TITLES = {
    400: "The call is not understood.",
    401: "No token, or one that is not valid.",
    403: "Outside the client's grant.",
    404: "There is no such thing.",
    408: "The body did not come; the connection is closed.",
    409: "It was ended the other way already.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    422: "Larger than every limit.",
    500: "A fault of keypool's; its log tells more.",
    503: "A store is away, large bodies take all the room, or no project can be used.",
}
_HEADERS = {401: "WWW-Authenticate", 503: "Retry-After"}


async def show_description(_scope: Scope, proto: Exchange) -> None:
    """Answer with the description; it needs no token."""
    answer_json(proto, 200, description())


@cache
def description() -> Json:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "keypool",
            "version": "1",
            "description": "Lease a Gemini API key, call Gemini, settle with what it said.",
        },
        "security": [{"token": []}],
        "paths": {**_leases(), **_reads(), **_plain()},
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "From keypool client add; not asked for with --no-auth.",
                }
            },
        },
    }


def _schemas() -> Json:
    answers = _components(_ANSWERS)
    promised_schema(answers["ProjectStatus"])
    for each in answers.values():
        for name in each["properties"].keys() - set(each["required"]):
            each["properties"][name] = _left_out(each["properties"][name])
    return {**_components(_BODIES), **answers}


def _components(structs: Iterable[type]) -> Json:
    _, found = msgspec.json.schema_components(
        structs, ref_template="#/components/schemas/{name}", schema_hook=_anything
    )
    # Pythons before 3.13 keep a docstring's indentation.
    return {
        name: {**each, "description": cleandoc(each["description"])} for name, each in found.items()
    }


def _left_out(told: Json) -> Json:
    """What an answer leaves out it never says as null."""
    told = {name: each for name, each in told.items() if name != "default"}
    kinds = [each for each in told.pop("anyOf", ()) if each != {"type": "null"}]
    return {**told, **kinds[0]} if kinds else told


def _anything(kind: type) -> Json:
    """The schema of a value that may be any JSON."""
    if kind is object:
        return {"description": "Any JSON value."}
    raise NotImplementedError


def _leases() -> Json:
    lease_id = _parameter("lease_id", {"type": "string"}, where="path")
    grant = _operation(
        "lease",
        "Lease a key for one request.",
        {201: _json("The lease.", "LeaseAnswer"), 429: _limited()},
        (400, 401, 403, 404, 408, 413, 415, 422, 503),
    )
    settle = _operation(
        "settle",
        "Close a lease with what upstream said.",
        {200: _json("How it was closed.", "SettleAnswer")},
        (400, 401, 403, 404, 408, 409, 413, 415, 503),
    )
    release = _operation(
        "release",
        "Give a lease back: the call was never made.",
        {204: {"description": "Given back."}},
        (401, 403, 404, 409, 503),
    )
    return {
        f"{_API}/leases": {"post": {**grant, "requestBody": _body("LeaseBody")}},
        f"{_API}/leases/{{lease_id}}": {"delete": {**release, "parameters": [lease_id]}},
        f"{_API}/leases/{{lease_id}}/settle": {
            "post": {**settle, "parameters": [lease_id], "requestBody": _body("SettleBody")}
        },
    }


def _reads() -> Json:
    text, count = {"type": "string"}, {"type": "integer", "minimum": 1}
    pool = _parameter("pool", text)
    pools = _parameter("pool", {"type": "array", "items": text})
    status = _operation("status", "How the pools stand.", {200: _status()}, (401, 403, 404, 503))
    explain = _operation(
        "explain",
        "Which project a request would go to, and why not the others.",
        {200: _json("Now.", "Explained")},
        (400, 401, 403, 404, 503),
    )
    events = _operation(
        "events",
        "The audit log; needs the scope read.",
        {200: _events()},
        (400, 401, 403, 503),
    )
    an_id = {"type": "integer", "minimum": 0, "maximum": 2**53}
    filters = [_parameter("kind", text), _parameter("subject", text)]
    filters.append(_parameter("limit", {**count, "maximum": 1000, "default": 50}))
    filters.append(_parameter("after", an_id))
    filters.append(_parameter("since_s", {"type": "integer", "minimum": 0, "maximum": 10**9}))
    filters.append(_parameter("follow", {"type": "boolean", "default": False}))
    filters.append(_parameter("Last-Event-ID", an_id, where="header"))
    model = {**_parameter("model", {**text, "minLength": 1}), "required": True}
    tokens = _parameter("tokens", {**count, "maximum": schema.MOST_TOKENS, "default": 1})
    requests = _parameter("requests", {**count, "maximum": schema.MOST_REQUESTS, "default": 1})
    return {
        f"{_API}/status": {"get": {**status, "parameters": [pools]}},
        f"{_API}/explain": {"get": {**explain, "parameters": [pool, model, tokens, requests]}},
        f"{_API}/events": {"get": {**events, "parameters": filters}},
    }


def _plain() -> Json:
    healthy = {200: _json("It is.", "Healthy")}
    live = _operation("healthz", "Whether the daemon lives.", healthy, ())
    ready = _operation(
        "readyz",
        "Whether leases are granted: both stores answer, the live one at least in part.",
        healthy,
        (503,),
    )
    told = {"description": "Prometheus text.", "content": {"text/plain": {}}}
    metrics = _operation("metrics", "Counters and gauges.", {200: told}, (401, 403))
    itself = {"description": "This document.", "content": {"application/json": {}}}
    described = _operation("openapi", "This description.", {200: itself}, ())
    page = {"description": "A page.", "content": {"text/html": {}}}
    board = _operation("dashboard", "The dashboard.", {200: page}, ())
    return {
        "/healthz": {"get": {**live, "security": []}},
        "/readyz": {"get": {**ready, "security": []}},
        "/metrics": {"get": {**metrics, "security": [{}, {"token": []}]}},
        f"{_API}/openapi.json": {"get": {**described, "security": []}},
        "/": {"get": {**board, "security": []}},
    }


def _operation(
    name: str, summary: str, answers: Mapping[int, Json], problems: tuple[int, ...]
) -> Json:
    told = {code: _problem(code) for code in (*problems, 500) if problems}
    responses = {str(code): answer for code, answer in sorted({**answers, **told}.items())}
    return {"operationId": name, "summary": summary, "responses": responses}


def _json(words: str, struct: str) -> Json:
    return {"description": words, "content": {"application/json": {"schema": _ref(struct)}}}


def _status() -> Json:
    away = "which store is away, where this is as last heard of, or not all"
    header = {"description": away, "required": False, "schema": {"type": "string"}}
    return {**_json("Now.", "Status"), "headers": {"X-Keypool-Away": header}}


def _body(struct: str) -> Json:
    return {"required": True, "content": {"application/json": {"schema": _ref(struct)}}}


def _problem(code: int) -> Json:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    told = {"description": _TITLES[code], "content": content}
    name = _HEADERS.get(code)
    return {**told, "headers": {name: {"schema": {"type": "string"}}}} if name else told


def _limited() -> Json:
    return {
        "description": "No room now.",
        "headers": {"Retry-After": {"schema": {"type": "integer"}}},
        "content": {"application/problem+json": {"schema": _ref("LimitProblem")}},
    }


def _events() -> Json:
    answer = _json("Oldest first; with follow=true a stream without an end.", "EventsAnswer")
    answer["content"]["text/event-stream"] = {}
    return answer


def _parameter(name: str, told: Json, *, where: str = "query") -> Json:
    return {"name": name, "in": where, "required": where == "path", "schema": told}


def _ref(struct: str) -> Json:
    return {"$ref": f"#/components/schemas/{struct}"}
