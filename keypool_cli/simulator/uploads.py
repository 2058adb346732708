"""Uploads: resumable ones in steps, and whole ones as multipart or raw bodies."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from keypool_cli.http.connection import has_hung_up
from keypool_cli.http.message import answer_json, query_pairs
from keypool_cli.http.rsgi import Exchange, Header, Scope
from keypool_cli.simulator.caller import Caller
from keypool_cli.simulator.refusals import GeminiError, Json, invalid_argument, path_unknown
from keypool_cli.simulator.request import read_body, read_json
from keypool_cli.simulator.shelf import Content, keep_file
from keypool_cli.simulator.state import Project, State

_GRANULARITY = 256 * 1024


@dataclass(slots=True)
class Upload:
    """One that has begun. Only whoever knows its id can go on with it; no key is asked for."""

    project: Project
    meta: Mapping[str, object]
    content: Content = field(default_factory=Content)


def upload_id(scope: Scope) -> str | None:
    """The upload that a call goes on with; None for other calls."""
    if not scope.path.startswith("/upload/"):
        return None
    return next((v for n, v in query_pairs(scope.query_string) if n == "upload_id"), None)


async def begin(state: State, caller: Caller) -> None:
    """Begin an upload, or take one whole."""
    scope = caller.scope
    command = scope.headers.get("x-goog-upload-command") or ""
    if command.strip() == "start":
        kind = scope.headers.get("x-goog-upload-header-content-type") or ""
        told = _meta(read_json(await read_body(scope, caller.exchange)))
        own = secrets.token_urlsafe(24)
        state.uploads[own] = Upload(caller.project, {"mimeType": kind, **told})
        host = scope.headers.get("host") or scope.server
        url = f"http://{host}{scope.path}?upload_id={own}&upload_protocol=resumable"
        sent: list[Header] = [
            ("x-goog-upload-url", url),
            ("x-goog-upload-control-url", url),
            ("x-guploader-uploadid", own),
            ("x-goog-upload-status", "active"),
            ("x-goog-upload-chunk-granularity", str(_GRANULARITY)),
        ]
        answer_json(caller.exchange, 200, {}, headers=sent)
        return
    meta, content = await _whole(caller)
    file = keep_file(caller.project.shelf, meta, content, now_ms=state.now_ms())
    answer_json(caller.exchange, 200, {"file": file})


async def go_on(state: State, own: str, scope: Scope, exchange: Exchange) -> None:
    """One step; raises GeminiError for an unknown upload, a wrong offset, or a key too many."""
    if "x-goog-api-key" in scope.headers or "authorization" in scope.headers:
        raise invalid_argument("a step of an upload carries no credential", counts=False)
    upload = state.uploads.get(own)
    if upload is None:
        raise path_unknown()
    command = scope.headers.get("x-goog-upload-command") or ""
    if "upload" in command:
        await _take(upload, scope, exchange)
    if "finalize" in command:
        del state.uploads[own]
        meta, content = upload.meta, upload.content
        file = keep_file(upload.project.shelf, meta, content, now_ms=state.now_ms())
        answer_json(exchange, 200, {"file": file}, headers=[("x-goog-upload-status", "final")])
        return
    received = ("x-goog-upload-size-received", str(upload.content.size))
    exchange.response_empty(200, [("x-goog-upload-status", "active"), received])


async def _take(upload: Upload, scope: Scope, exchange: Exchange) -> None:
    offset = scope.headers.get("x-goog-upload-offset") or "0"
    if offset != str(upload.content.size):
        raise invalid_argument(f"offset {offset} is not {upload.content.size}", counts=False)
    before = upload.content.size
    async for part in exchange:
        upload.content.add(bytes(part))
    _check_whole(scope, upload.content.size - before)


def _check_whole(scope: Scope, size: int) -> None:
    declared = scope.headers.get("content-length")
    if has_hung_up(scope.client) if declared is None else size < int(declared):
        raise invalid_argument("the body was cut short", counts=False)


async def _whole(caller: Caller) -> tuple[Mapping[str, object], Content]:
    kind = caller.scope.headers.get("content-type") or ""
    content = Content()
    if not kind.startswith("multipart/"):
        async for part in caller.exchange:
            content.add(bytes(part))
        _check_whole(caller.scope, content.size)
        return {"mimeType": kind}, content
    body = await read_body(caller.scope, caller.exchange)
    _check_whole(caller.scope, len(body))
    boundary = kind.partition("boundary=")[2].strip('"')
    parts = body.split(b"--" + boundary.encode())
    if len(parts) != 4:
        raise _no_multipart()
    (_, described), (head, data) = (_part(each) for each in parts[1:3])
    content.add(data)
    types = [line[13:].strip() for line in head.split("\r\n") if line[:13] == "content-type:"]
    return {"mimeType": types[0] if types else "", **_meta(read_json(described))}, content


def _part(raw: bytes) -> tuple[str, bytes]:
    head, blank, body = raw.partition(b"\r\n\r\n")
    if not blank:
        raise _no_multipart()
    return head.decode().lower().strip(), body.removesuffix(b"\r\n")


def _no_multipart() -> GeminiError:
    return invalid_argument("Multipart body does not contain 2 or 3 parts.", counts=False)


def _meta(body: Json) -> Mapping[str, object]:
    meta = body.get("file") or {}
    if not isinstance(meta, dict):
        raise invalid_argument("Invalid value at 'file'", counts=False)
    told = {"name": meta.get("name"), "mimeType": meta.get("mimeType", meta.get("mime_type"))}
    return {
        "displayName": meta.get("displayName", meta.get("display_name", "")),
        **{name: value for name, value in told.items() if value},
    }
