"""Names of what upstream keeps in one project, and where requests and answers mention them.

Sources: https://ai.google.dev/gemini-api/docs/files, …/caching and …/batch-api, and the paths
and fields that google-genai 3.4 uses.
"""

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import unquote, urlsplit

COLLECTIONS = frozenset(
    {
        "files",
        "cachedContents",
        "batches",
        "tunedModels",
        "fileSearchStores",
        "corpora",
        "agents",
        "environments",
        "interactions",
    }
)

_ID = re.compile(r"(?!\.+$)[\w.=+~-]{1,500}", re.ASCII)
_MOST_MENTIONED = 1000
_LONGEST_SEARCHED = 1024 * 1024

# Whatever a body must hold to mention one. Escapes of plain letters count too: nobody needs them,
# and they would hide the rest.
_MAYBE = re.compile(
    rb"files\\?/|ached_?[cC]ontent|nteraction_?[iI]d|earch_?[sS]tore|tunedModels|\\u00[2-7]|%[2-7]"
)
# What _MAYBE cannot do without: searching for plain text is a hundred times as fast.
_HINTS = (b"files", b"ached", b"nteraction", b"_store", b"Store", b"tunedM", b"\\u00", b"%")
_FILE_PATH = re.compile(r"(?:/(?:download/|upload/)?v1[a-z]*\d*)?/?files/([^/:]+)(?::\w+)?")

# What a model says or a tool takes is not upstream's to follow.
_OPAQUE = frozenset(
    {
        "args",
        "arguments",
        "data",
        "functionDeclarations",
        "function_declarations",
        "labels",
        "parameters",
        "response",
        "responseSchema",
        "response_schema",
        "text",
    }
)

# Their values may also be Google's own: its agents, and the word ``remote``.
_MAYBE_OWN = {
    "agent": "agents",
    "base_agent": "agents",
    "baseAgent": "agents",
    "environment": "environments",
    "base_environment": "environments",
    "baseEnvironment": "environments",
}

_MODELS_OWN = frozenset({"candidates", "inlinedResponses", "inlined_responses"})


def is_id(text: str) -> bool:
    """Whether a name's part is one that no URL parser reads as anything else."""
    return _ID.fullmatch(text) is not None


def root_of(name: str) -> str | None:
    """What has to be known of a name: ``fileSearchStores/x`` for ``fileSearchStores/x/documents/y``.

    None for what no project keeps.
    """
    match name.split("/"):
        case [collection, own, *_] if collection in COLLECTIONS and is_id(own):
            return f"{collection}/{own}"
        case ["models", model, "operations", own] if is_id(model) and is_id(own):
            return name
        case ["operations", own] if is_id(own):
            return name
        case _:
            return None


def named(collection: str, own: str) -> str | None:
    """The root that an id means, which may come with its collection or without."""
    return root_of(f"{collection}/{own.removeprefix(f'{collection}/')}")


def may_mention(body: bytes) -> bool:
    """Whether a body can mention anything that one project keeps; quick, and never wrongly no."""
    for each in _HINTS:
        # As quick as it can be: ``in`` first asks whether ``each`` is a number, and fails.
        if body.find(each) >= 0:
            # The pattern lets no other thread run meanwhile: 10 ms a million bytes.
            return len(body) > _LONGEST_SEARCHED or _MAYBE.search(body) is not None
    return False


def mentioned(body: object) -> list[str]:
    """The roots that a request's body mentions, each once, in no particular order."""
    found: dict[str, None] = {}
    for field, value in _fields(body, _OPAQUE):
        reader = _READERS.get(field)
        for text in _texts(value) if reader else ():
            root = reader(text) if reader else None
            if root is not None and len(found) < _MOST_MENTIONED:
                found[root] = None
    return list(found)


def meant(text: str) -> str | None:
    """The root that a URI or a whole name means: of a file, a cache, or an interaction."""
    return root_of(unquote(text)) or _file(text)


def maybe_own(request: Mapping[str, object]) -> tuple[str, ...]:
    """The agents and environments that an interaction or an agent is made with.

    One of those that only one project has, or one that Google offers to all.
    """
    found = []
    for field, collection in _MAYBE_OWN.items():
        said = request.get(field)
        if isinstance(said, Mapping):
            said = said.get("environment_id", said.get("environmentId"))
        if isinstance(said, str) and (name := named(collection, said)) is not None:
            found.append(name)
    return tuple(found)


def results_in(answer: object) -> list[str]:
    """The files that a batch's or an operation's answer says it has made."""
    fields = _fields(answer, _MODELS_OWN)
    found = (
        reader(text)
        for field, value in fields
        if (reader := _RESULTS.get(field)) is not None
        for text in _texts(value)
    )
    return list(dict.fromkeys(each for each in found if each is not None))


def _fields(body: object, opaque: frozenset[str]) -> Iterator[tuple[str, object]]:
    """Every member of every object; not by recursion, for a body may nest as deep as it likes."""
    left = [body]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left.extend(each for each in value if isinstance(each, dict | list))
        elif isinstance(value, Mapping):
            for field, inner in value.items():
                yield field, inner
                if isinstance(inner, dict | list) and field not in opaque:
                    left.append(inner)


def _texts(value: object) -> list[str]:
    several = value if isinstance(value, list) else [value]
    return [each for each in several if isinstance(each, str)]


def _file(text: str) -> str | None:
    """The file a URI or a name means; other URIs lead elsewhere, to videos and the like."""
    try:
        parts = urlsplit(unquote(text))
    except ValueError:
        return None
    if parts.scheme not in {"", "http", "https"}:
        return None
    # A path that begins with several slashes would be kept so.
    path = posixpath.normpath(re.sub("/+", "/", parts.path))
    found = _FILE_PATH.fullmatch(path)
    return root_of(f"files/{found[1]}") if found else None


def _file_or_id(text: str) -> str | None:
    return _file(text) or named("files", unquote(text))


def _in(collection: str) -> Callable[[str], str | None]:
    def read(text: str) -> str | None:
        return named(collection, unquote(text))

    return read


def _tuned(text: str) -> str | None:
    return root_of(text) if text.startswith("tunedModels/") else None


_READERS: Mapping[str, Callable[[str], str | None]] = {
    **dict.fromkeys(("fileUri", "file_uri", "uri", "url", "fileName", "file_name"), _file),
    **dict.fromkeys(("fileId", "file_id"), _file),
    **dict.fromkeys(("inputFileId", "input_file_id"), _file_or_id),
    **dict.fromkeys(("cachedContent", "cached_content"), _in("cachedContents")),
    **dict.fromkeys(("previousInteractionId", "previous_interaction_id"), _in("interactions")),
    **dict.fromkeys(
        (
            "fileSearchStoreNames",
            "file_search_store_names",
            "fileSearchStoreName",
            "file_search_store_name",
        ),
        _in("fileSearchStores"),
    ),
    **dict.fromkeys(("model", "tunedModel", "tuned_model"), _tuned),
}

_RESULTS: Mapping[str, Callable[[str], str | None]] = {
    **dict.fromkeys(("responsesFile", "responses_file", "uri", "downloadUri"), _file),
    **dict.fromkeys(("output_file_id", "error_file_id"), _file_or_id),
}
