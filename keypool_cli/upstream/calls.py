"""Gemini's surface as the proxy sees it: which call a method and path stand for.

Paths: gemini-facts 7. A call that is not listed here is not forwarded.
"""

from dataclasses import dataclass
from enum import StrEnum

VERSIONS = ("v1beta", "v1", "v1alpha")

_SPENDS = frozenset(
    {
        "generateContent",
        "streamGenerateContent",
        "embedContent",
        "batchEmbedContents",
        "predict",
    }
)
_FREE = frozenset({"countTokens"})
WHOLE = _SPENDS - {"streamGenerateContent"} | _FREE
"""Calls whose answer is one JSON object, as large as the client's own memory must take anyway."""

_OPENAI_SPENDS = frozenset({"chat/completions", "embeddings", "images/generations"})


class Cost(StrEnum):
    """What a call takes of a project's quota."""

    SPENDS = "spends"  # it needs a reservation
    FREE = "free"  # it may also use a project that is cooling


class Family(StrEnum):
    """Whose shapes a call's requests, answers and errors have."""

    GEMINI = "gemini"
    OPENAI = "openai"  # the key goes as a bearer token there


@dataclass(frozen=True, slots=True)
class Call:
    """One call. model: the path's, without ``models/``; None where the body names it, or none does.

    in_array: upstream answers with a JSON array, errors too, unless SSE is asked for.
    """

    cost: Cost
    verb: str
    model: str | None = None
    in_array: bool = False
    family: Family = Family.GEMINI


def read_call(method: str, path: str) -> Call | None:
    """The call a method and a decoded path stand for; None for what is not forwarded."""
    match method, path.split("/"):
        case _, ["", version, "openai", *rest] if version in VERSIONS:
            return _of_openai(method, rest)
        case "GET", ["", version, "models"] if version in VERSIONS:
            return Call(Cost.FREE, "list")
        case "GET", ["", version, "models", model] if version in VERSIONS and is_name(model):
            return Call(Cost.FREE, "get", model)
        case "POST", ["", version, "models", action] if version in VERSIONS:
            return _of_model(action)
        case "POST", ["", version, "interactions"] if version in VERSIONS:
            return Call(Cost.SPENDS, "interactions")
        case _:
            return None


def is_name(text: str) -> bool:
    """Whether a path's part is a plain name, which no URL parser reads as anything else."""
    return bool(text) and text.strip(".") != "" and text.isprintable() and "\\" not in text


def _of_model(action: str) -> Call | None:
    model, _, verb = action.rpartition(":")
    if not is_name(model):
        return None
    if verb in _SPENDS:
        return Call(Cost.SPENDS, verb, model, in_array=verb == "streamGenerateContent")
    return Call(Cost.FREE, verb, model) if verb in _FREE else None


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
            return None
