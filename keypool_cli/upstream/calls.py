"""Gemini's surface as the proxy sees it: which call a method and path stand for.

Paths: gemini-facts 7. A call that is not listed here is not forwarded.
"""

from dataclasses import dataclass
from enum import StrEnum

VERSIONS = ("v1beta", "v1", "v1alpha")

_SPENDS = frozenset({"generateContent", "streamGenerateContent"})
_FREE = frozenset({"countTokens"})


class Cost(StrEnum):
    """What a call takes of a project's quota."""

    SPENDS = "spends"  # it needs a reservation
    FREE = "free"  # it may also use a project that is cooling


@dataclass(frozen=True, slots=True)
class Call:
    """One call. model: the path's, without ``models/``; None where it names none.

    in_array: upstream answers with a JSON array, errors too, unless SSE is asked for.
    """

    cost: Cost
    verb: str
    model: str | None = None
    in_array: bool = False


def read_call(method: str, path: str) -> Call | None:
    """The call a method and a decoded path stand for; None for what is not forwarded."""
    match method, path.split("/"):
        case "GET", ["", version, "models"] if version in VERSIONS:
            return Call(Cost.FREE, "list")
        case "GET", ["", version, "models", model] if version in VERSIONS and is_name(model):
            return Call(Cost.FREE, "get", model)
        case "POST", ["", version, "models", action] if version in VERSIONS:
            return _of_model(action)
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
