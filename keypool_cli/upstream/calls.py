"""Gemini's surface as the proxy sees it: which call a method and path stand for.

Paths: https://ai.google.dev/api and those that google-genai 3.4 calls. A call that is not listed
here is not forwarded.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from keypool_cli.upstream.names import root_of

VERSIONS = ("v1beta", "v1", "v1alpha")

LONGEST_NAME = 200
"""Characters of a model's name: it becomes a part of every key in the live store."""

_ODD = frozenset("\\;%?#")
"""What some parsers of URLs end a name at, or decode once more: it would be counted as another."""

_SPENDS = frozenset(
    {
        "generateContent",
        "streamGenerateContent",
        "embedContent",
        "batchEmbedContents",
        "predict",
        "predictLongRunning",
    }
)
_MAKES_BATCH = frozenset({"batchGenerateContent", "asyncBatchEmbedContent"})
_FREE = frozenset({"countTokens"}) | _MAKES_BATCH
WHOLE = _SPENDS - {"streamGenerateContent"} | _FREE
"""Calls whose answer is one JSON object, as large as the client's own memory must take anyway."""

_TUNED = WHOLE - _MAKES_BATCH - {"predictLongRunning"} | {"streamGenerateContent"}

_OPENAI_SPENDS = frozenset({"chat/completions", "embeddings", "images/generations"})

# Names there are ids that OpenAI's clients put into paths: with their collection or without.
_OPENAI_KEPT = re.compile(
    r"(files|batches)(?:/(?:\1/)?((?!\.+(?:/|$))[\w.=+~-]{1,500})(?:/(content|cancel))?)?", re.ASCII
)


class Cost(StrEnum):
    """What a call takes of a project's quota."""

    SPENDS = "spends"  # it needs a reservation
    FREE = "free"  # it may also use a project that is cooling


class Family(StrEnum):
    """Whose shapes a call's requests, answers and errors have."""

    GEMINI = "gemini"
    OPENAI = "openai"  # the key goes as a bearer token there


class Touch(StrEnum):
    """What a call does to what one project keeps: files, caches, batches and the like."""

    NONE = ""  # nothing, beyond what its body mentions
    MAKE = "make"  # the answer names something new
    USE = "use"  # it is about one that the path names
    WATCH = "watch"  # so it is, and the answer may name files that were made
    REMOVE = "remove"  # so it is, and then that is gone
    LIST = "list"  # it lists a collection
    UPLOAD = "upload"  # it begins an upload, is one, or goes on with one


@dataclass(frozen=True, slots=True)
class Call:
    """One call. model: the path's, without ``models/``; None where the body names it, or none does.

    in_array: upstream answers with a JSON array, errors too, unless SSE is asked for.
    resource: what the path is about, ``files/…``; of LIST and UPLOAD the collection.
    """

    cost: Cost
    verb: str
    model: str | None = None
    in_array: bool = False
    family: Family = Family.GEMINI
    touch: Touch = Touch.NONE
    resource: str = ""


def _rule(methods: str, pattern: str, touch: Touch) -> tuple[list[str], re.Pattern[str], Touch]:
    own = r"(?!\.+(?:[/:]|$))[\w.=+~-]{1,500}"
    return methods.split(), re.compile(pattern.replace("ID", own), re.ASCII), touch


_LISTED = "files|cachedContents|batches|tunedModels|fileSearchStores|corpora|agents"
_MADE = "cachedContents|fileSearchStores|corpora|tunedModels|agents"

# By method and path below the version. Verbs that are not listed might share what is one
# client's, or hand it over.
_RESOURCES = (
    _rule("GET", f"({_LISTED})", Touch.LIST),
    _rule("POST", f"({_MADE})", Touch.MAKE),
    _rule("GET", "(batches/ID|(?:models/ID/)?operations/ID)", Touch.WATCH),
    _rule("GET PATCH", f"((?:{_LISTED}|interactions)/ID)", Touch.USE),
    _rule("DELETE", f"((?:{_LISTED}|interactions)/ID|(?:models/ID/)?operations/ID)", Touch.REMOVE),
    _rule("GET", "(?:download:)?(files/ID):download", Touch.USE),
    _rule("POST", "(batches/ID|(?:models/ID/)?operations/ID):cancel", Touch.USE),
    _rule("PATCH", "(batches/ID):update(?:GenerateContent|EmbedContent)Batch", Touch.USE),
    _rule("POST", "(interactions/ID)/cancel", Touch.USE),
    _rule("POST", "(fileSearchStores/ID):importFile", Touch.USE),
    _rule("POST", "(corpora/ID):query", Touch.USE),
    _rule(
        "GET POST PATCH DELETE",
        "((?:tunedModels|fileSearchStores|corpora)/ID)"
        "/(?:documents|chunks|operations|upload|media)(?:/ID)*",
        Touch.USE,
    ),
    _rule("POST PUT", "upload:(files)", Touch.UPLOAD),
    _rule("POST PUT", "upload:(fileSearchStores/ID):uploadToFileSearchStore", Touch.UPLOAD),
)


@lru_cache(maxsize=256)
def read_call(method: str, path: str) -> Call | None:
    """The call a method and a decoded path stand for; None for what is not forwarded."""
    match path.split("/"):
        case ["", version, *rest] if version in VERSIONS:
            return _of_version(method, rest)
        case ["", ("upload" | "download") as kind, version, *rest] if version in VERSIONS:
            return _of_resource(method, f"{kind}:{'/'.join(rest)}")
        case _:
            return None


def _of_version(method: str, parts: list[str]) -> Call | None:
    match method, parts:
        case _, ["openai", *rest]:
            return _of_openai(method, rest)
        case "GET", ["models"]:
            return Call(Cost.FREE, "list")
        case "GET", ["models", model]:
            return Call(Cost.FREE, "get", model) if is_name(model) else None
        case "POST", [("models" | "tunedModels") as kind, action]:
            return _of_model(action) if kind == "models" else _of_tuned(action)
        case "POST", ["interactions"]:
            return Call(Cost.SPENDS, "interactions", touch=Touch.MAKE, resource="interactions")
        case _:
            return _of_resource(method, "/".join(parts))


def _of_resource(method: str, path: str) -> Call | None:
    for methods, pattern, touch in _RESOURCES:
        found = pattern.fullmatch(path) if method in methods else None
        if found is not None:
            return Call(Cost.FREE, touch.value, touch=touch, resource=found[1])
    return None


def is_name(text: str) -> bool:
    """Whether a path's part is a plain name, which no URL parser reads as anything else."""
    is_short = 0 < len(text) <= LONGEST_NAME
    return is_short and text.strip(".") != "" and text.isprintable() and _ODD.isdisjoint(text)


def _of_model(action: str) -> Call | None:
    model, _, verb = action.rpartition(":")
    if not is_name(model):
        return None
    if verb in _MAKES_BATCH:
        return Call(Cost.FREE, verb, model, touch=Touch.MAKE, resource="batches")
    if verb == "predictLongRunning":
        return Call(Cost.SPENDS, verb, model, touch=Touch.MAKE, resource="operations")
    if verb in _SPENDS:
        return Call(Cost.SPENDS, verb, model, in_array=verb == "streamGenerateContent")
    return Call(Cost.FREE, verb, model) if verb in _FREE else None


def _of_tuned(action: str) -> Call | None:
    """A call of a model that one project has tuned for itself."""
    own, _, verb = action.rpartition(":")
    root = root_of(f"tunedModels/{own}")
    call = _of_model(f"{own}:{verb}") if root is not None and verb in _TUNED else None
    return replace(call, model=root, touch=Touch.USE, resource=root or "") if call else None


def _of_openai(method: str, rest: list[str]) -> Call | None:
    match method, rest:
        case "GET", ["models"]:
            return Call(Cost.FREE, "list", family=Family.OPENAI)
        # Names may hold a slash here, for they begin with ``models/``.
        case "GET", ["models", *names] if names and all(map(is_name, names)):
            return Call(Cost.FREE, "get", names[-1], family=Family.OPENAI)
        case "POST", _ if "/".join(rest) in _OPENAI_SPENDS:
            return Call(Cost.SPENDS, "/".join(rest), family=Family.OPENAI)
        case _:
            return _of_openai_kept(method, "/".join(rest))


def _of_openai_kept(method: str, path: str) -> Call | None:
    found = _OPENAI_KEPT.fullmatch(path)
    if found is None:
        return None
    collection, own, verb = found.groups()
    kind = f"{method} {collection}{'/*' if own else ''}{f'/{verb}' if verb else ''}"
    touch = _OPENAI_TOUCHES.get(kind)
    name = f"{collection}/{own}" if own else collection
    call = Call(Cost.FREE, kind, family=Family.OPENAI, resource=name)
    return replace(call, touch=touch) if touch is not None else None


_OPENAI_TOUCHES = {
    "GET files": Touch.LIST,
    "POST files": Touch.UPLOAD,
    "GET files/*": Touch.USE,
    "GET files/*/content": Touch.USE,
    "DELETE files/*": Touch.REMOVE,
    "GET batches": Touch.LIST,
    "POST batches": Touch.MAKE,
    "GET batches/*": Touch.WATCH,
    "DELETE batches/*": Touch.REMOVE,
    "POST batches/*/cancel": Touch.USE,
}
