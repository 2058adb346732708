"""What a project keeps: files, caches, batches, operations, interactions and stores."""

import hashlib
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from keypool_cli.simulator.refusals import (
    GeminiError,
    Json,
    foreign,
    invalid_argument,
    name_taken,
)

_HOST = "https://generativelanguage.googleapis.com/v1beta/"
_KEPT = 1024 * 1024
"""Bytes of a file's content that are kept; of larger ones only size and hash."""

FILE_S, CACHE_S = 48 * 3600, 3600


@dataclass(slots=True)
class Shelf:
    """Resources of one project by name, in the order they were made; contents of its files."""

    items: dict[str, Json] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)

    def of(self, collection: str) -> list[Json]:
        """A collection's members."""
        return [item for name, item in self.items.items() if name.startswith(f"{collection}/")]

    def get(self, name: str) -> Json:
        """One member; raises GeminiError where the project has none of this name."""
        found = self.items.get(name)
        if found is None:
            raise foreign(name)
        return found

    def put(self, name: str, item: Json) -> Json:
        """Keep a new member; raises GeminiError for a name that is taken."""
        if name in self.items:
            raise name_taken(name)
        self.items[name] = item
        return item

    def drop_expired(self, now_ms: int) -> None:
        """Drop the members whose time has come."""
        for name in [name for name, item in self.items.items() if _end_ms(item) <= now_ms]:
            self.remove(name)

    def remove(self, name: str) -> None:
        """Drop a member; raises GeminiError where there is none."""
        self.get(name)
        del self.items[name]
        self.contents.pop(name, None)


def _end_ms(item: Json) -> float:
    end = item.get("expireTime") or item.get("expirationTime")
    return datetime.fromisoformat(end).timestamp() * 1000 if end else math.inf


@dataclass(slots=True)
class Content:
    """What has come of a file so far."""

    size: int = 0
    start: bytearray = field(default_factory=bytearray)
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, part: bytes) -> None:
        """Take in more of it."""
        self.size += len(part)
        self.digest.update(part)
        if len(self.start) < _KEPT:
            self.start += part


def new_id() -> str:
    """A name of upstream's own making."""
    return secrets.token_hex(6)


def instant(now_ms: int, later_s: float = 0.0) -> str:
    """An instant as Gemini writes it."""
    at = datetime.fromtimestamp(now_ms / 1000 + later_s, UTC)
    return at.isoformat().replace("+00:00", "Z")


def keep_file(
    shelf: Shelf, meta: Mapping[str, object], content: Content, *, now_ms: int, made: bool = False
) -> Json:
    """A new file. made: by Gemini itself, which lets it be downloaded."""
    name = str(meta.get("name") or f"files/{new_id()}")
    item = {
        "name": name,
        "displayName": meta.get("displayName", ""),
        "mimeType": meta.get("mimeType") or "application/octet-stream",
        "sizeBytes": str(content.size),
        "createTime": instant(now_ms),
        "updateTime": instant(now_ms),
        "expirationTime": instant(now_ms, FILE_S),
        "sha256Hash": content.digest.hexdigest(),
        "uri": _HOST + name,
        "state": "ACTIVE",
        "source": "GENERATED" if made else "UPLOADED",
    }
    if made:
        item["downloadUri"] = f"{_HOST}{name}:download?alt=media"
    shelf.contents[name] = bytes(content.start)
    return shelf.put(name, item)


def check_mentions(shelf: Shelf, body: Json) -> None:
    """Raise GeminiError for a file or cache in a body that the project does not have."""
    for name in _mentions(body):
        shelf.get(name)


def cached_tokens(shelf: Shelf, body: Mapping[str, object]) -> int:
    """Tokens of the cache that a body names; 0 where it names none."""
    name = body.get("cachedContent", body.get("cached_content"))
    return int(shelf.get(name)["usageMetadata"]["totalTokenCount"]) if isinstance(name, str) else 0


def _mentions(value: object) -> list[str]:
    if isinstance(value, list):
        return [name for each in value for name in _mentions(each)]
    if not isinstance(value, dict):
        return []
    inner = [name for each in value.values() for name in _mentions(each)]
    return inner + [
        found
        for spellings, read in _MENTIONS
        for spelling in spellings
        if isinstance(text := value.get(spelling), str) and (found := read(text))
    ]


def _file(uri: str) -> str | None:
    head, slash, own = uri.rpartition("files/")
    return f"files/{own}" if slash and (not head or head.endswith("/v1beta/")) else None


_MENTIONS: tuple[tuple[tuple[str, ...], Callable[[str], str | None]], ...] = (
    (("fileUri", "file_uri", "fileName", "file_name", "uri"), _file),
    (("cachedContent", "cached_content"), str),
    (("previousInteractionId", "previous_interaction_id"), "interactions/{}".format),
)


def wrong(what: str) -> GeminiError:
    """The refusal of a body that lacks something."""
    return invalid_argument(f"{what} must be specified")
