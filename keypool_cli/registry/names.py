"""What may be a name, a secret's text, a label or a reason: checked here and nowhere else."""

import unicodedata
from collections.abc import Mapping

from keypool_cli.core.model import Secret
from keypool_cli.core.tiers import tier_name
from keypool_cli.errors import UsageError

MAX_NAME = 100
MAX_SECRET = 4096
MAX_TEXT = 2000

# Controls, lone surrogates, line and paragraph separators: they tear lines or cannot be stored.
_TORN = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Direction overrides and isolates would let one name be displayed as another.
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def checked_name(name: str, what: str) -> str:
    """``name`` in Unicode's composed form, so that what looks equal is equal.

    Names have 1 to 100 characters of any script, no white space at the ends, no control or
    direction characters. Raises UsageError; ``what`` says whose name it is (``key``, …).
    """
    composed = unicodedata.normalize("NFC", name)
    if not 1 <= len(composed) <= MAX_NAME:
        raise UsageError(f"a {what} name has 1 to {MAX_NAME} characters, not {len(composed)}")
    if composed != composed.strip():
        raise UsageError(f"the {what} name {composed!r} begins or ends with white space")
    plain = composed.isascii() and composed.isprintable()  # nearly always, and quickly seen
    if not plain and any(unicodedata.category(c) in _TORN or c in _DIRECTION for c in composed):
        raise UsageError(f"the {what} name {composed!r} holds a control character")
    return composed


def new_name(name: str, what: str) -> str:
    """:func:`checked_name` of what is made now; see :func:`refuse_hyphen`."""
    checked = checked_name(name, what)
    refuse_hyphen(checked, what)
    return checked


def refuse_hyphen(name: str, what: str) -> None:
    """Raise UsageError for a new name that a command would take for an option.

    One that was made when this was allowed stays in use: ``keypool show -- -k1``.
    """
    if name.startswith("-"):
        raise UsageError(
            f"a new {what} name cannot begin with a hyphen: {name!r} would be read as an option"
        )


def checked_model(model: str) -> str:
    """A model's name without ``models/``; raises UsageError like :func:`checked_name`."""
    return checked_name(model.removeprefix("models/"), "model")


def checked_tier(tier: str) -> str:
    """A tier's name as keypool writes it; raises UsageError like :func:`checked_name`."""
    return checked_name(tier_name(tier), "tier")


def checked_account(account: str) -> str:
    """A billing account's name; raises UsageError like :func:`checked_name`."""
    return checked_name(account, "billing account")


def is_model(model: str) -> bool:
    """Whether ``model`` could be learned as a model's name."""
    try:
        return checked_model(model) == model
    except UsageError:
        return False


def checked_secret(secret: Secret) -> Secret:
    """``secret`` without white space around it. Raises UsageError, which never shows it.

    Nothing else is asked of its form: keys are opaque strings, but they travel in an HTTP header.
    """
    text = secret.text.strip()
    if not text:
        raise UsageError("the secret is empty")
    if len(text) > MAX_SECRET:
        raise UsageError(f"the secret is longer than {MAX_SECRET} characters")
    if not all("!" <= c <= "~" for c in text):
        raise UsageError("the secret holds white space or characters outside ASCII")
    return Secret(text)


def checked_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """A copy of ``labels`` with checked names and printable values of at most 100 characters."""
    return {
        checked_name(name, "label"): checked_name(value, "label value") if value else ""
        for name, value in labels.items()
    }


def storable(text: str | None) -> str | None:
    """``text`` as every database takes it: no NUL, no lone surrogates, at most 2,000 characters.

    For text from outside (upstream's messages, reasons) that must never fail to be written.
    """
    if text is None:
        return None
    encodable = text[:MAX_TEXT].encode("utf-8", "replace").decode()
    return encodable.replace("\0", "�")
