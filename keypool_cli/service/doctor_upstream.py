"""Gemini itself: whether it answers, what time it is there, and which projects are one."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime

from keypool_cli.config import Settings, masked_url
from keypool_cli.core.model import Secret
from keypool_cli.errors import ExitCode
from keypool_cli.service.doctor_finding import Finding, note, ok, problem
from keypool_cli.service.doctor_store import clock
from keypool_cli.service.instants import now_ms
from keypool_cli.upstream.forward import Answer, Forwarder, Outgoing, Patience, UpstreamError

MOST_PROJECTS = 200
"""Projects that are asked what they hold; each costs two calls."""

AT_ONCE = 8

PATIENCE = Patience(connect_s=5.0, read_s=10.0)

_OWNED = ("files", "cachedContents")


async def upstream_findings(settings: Settings) -> list[Finding]:
    """Whether upstream answers, and its clock. No key is sent: any answer will do."""
    forwarder = Forwarder(PATIENCE)
    shown = masked_url(settings.upstream_url)
    try:
        answer = await _get(forwarder, settings, "/v1beta/models?pageSize=1")
        await answer.close()
    except UpstreamError as err:
        text = f"{shown}: {err}"
        remedy = "check the network, a proxy, and KEYPOOL_UPSTREAM_URL"
        return [problem("upstream", text, remedy, ExitCode.UNREACHABLE)]
    finally:
        await forwarder.close()
    return [ok("upstream", f"{shown} answers"), _clock(answer)]


async def _get(
    forwarder: Forwarder, settings: Settings, target: str, secret: Secret | None = None
) -> Answer:
    headers = [("x-goog-api-key", secret.text)] if secret is not None else []
    url = settings.upstream_url + target
    return await forwarder.send(Outgoing("GET", url, headers, whole=True))


def _clock(answer: Answer) -> Finding:
    date = next((value for name, value in answer.headers if name.lower() == "date"), None)
    try:
        told = parsedate_to_datetime(date or "")
    except ValueError:
        return note("clock", "upstream tells no time")
    # The header is cut to whole seconds: half of one is its mean error.
    return clock(int(told.timestamp() * 1000) + 500 - now_ms(), "Gemini's clock")


async def proofs(settings: Settings, secrets: Mapping[str, Secret]) -> dict[str, set[str]]:
    """By project: names of files and caches that its key lists, which Google keeps per project.

    Costs no generation quota. A project whose key cannot list them has none.
    """
    forwarder = Forwarder(PATIENCE)
    turn = asyncio.Semaphore(AT_ONCE)

    async def owned(secret: Secret) -> set[str]:
        async with turn:
            return {name for kind in _OWNED for name in await _list(kind, secret)}

    async def _list(kind: str, secret: Secret) -> list[str]:
        try:
            answer = await _get(forwarder, settings, f"/v1beta/{kind}?pageSize=10", secret)
            body = await answer.chunk() if answer.status == 200 else None
        except UpstreamError:
            return []
        return list(_names(body or b"", kind))

    chosen = list(secrets.items())[:MOST_PROJECTS]
    try:
        found = await asyncio.gather(*(owned(secret) for _, secret in chosen))
    finally:
        await forwarder.close()
    return {name: things for (name, _), things in zip(chosen, found, strict=True)}


def _names(body: bytes, kind: str) -> Iterator[str]:
    try:
        listed = json.loads(body)
    except ValueError:
        return
    items = listed.get(kind) if isinstance(listed, dict) else None
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            yield item["name"]
