"""Names of everything in the live store outside one model's keys (those: ``lua/library.lua``)."""

MODELS = "kp:models"
"""Set: the bucket models that have been loaded."""

CHANGES = "kp:changes"
"""Channel: a registry revision was written; daemons read the registry again."""

WAKE = "kp:wake:"
"""Prefix of a daemon's channel: the tag of a model with grants for its waiters."""

AFFINITY = "kp:affinity:"
"""Prefix: a pool's id and a session's hash -> the project it used last."""

RATIOS = "kp:ratios:"
"""Prefix: a model and its calibration's instant -> hash of what live traffic cost, by client and
script: ``<client>:<script>:`` and ``e`` (tokens expected), ``a`` (actual), ``n`` (requests) or
``t`` (the ratio told last, in 1/1000)."""

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def quote(model: str) -> str:
    """Percent-encode every byte of a model's name that is not a letter, digit, ``.``, ``_``, ``-``."""
    if _PLAIN.issuperset(model):
        return model
    return "".join(
        chr(byte) if chr(byte) in _PLAIN else f"%{byte:02X}" for byte in model.encode("utf-8")
    )


def tag(model: str) -> str:
    """Return the hash tag all keys of a bucket model share: one acquire is one cluster slot."""
    return f"{{kp:{quote(model)}}}"
