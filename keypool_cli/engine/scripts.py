"""The engine's Lua, joined from the files of ``lua/`` into one Redis Function library.

Functions are kept by the server (in its AOF and on its replicas) and cost about half of what the
same code costs through EVALSHA. The library's name carries a hash of its text, so two versions of
keypool find their own functions on one server. They share its state only while they lay out its
records and name its keys alike: one that meets another's layout takes the state for lost, and
rebuilds it.
"""

import re
from functools import cache
from hashlib import sha256
from importlib.resources import files
from zlib import crc32

PARTS = (
    "library", "records", "state", "call", "window", "ready", "shelf", "lease", "choose", "earliest",
    "waiter", "queue", "try", "quick", "acquire", "settle", "mark", "load", "pump",
)  # fmt: skip

_APART = frozenset({"acquire", "load", "pump"})
"""Files whose names no other file uses, in a scope of their own: Lua has room for 200 in one."""

_FIELD = re.compile(r"\{ '(\w+)', '(\w+)' \}")
_STORED = re.compile(rf"{_FIELD.pattern}|local ENTRY, .*|--   T:\S+ +\w+")


def layout(text: str) -> int:
    """A number of how a library's text names its keys and lays out their records."""
    return crc32("\n".join(each.group() for each in _STORED.finditer(text)).encode())


def _fields(text: str, record: str) -> str:
    written = text.partition(f"FIELDS.{record} = {{")[2].partition("\n}")[0]
    return ", ".join(each[1] for each in _FIELD.finditer(written))


@cache
def library() -> tuple[str, str]:
    """Return the prefix of the functions' names, and the library's text to load."""
    folder = files("keypool_cli.engine") / "lua"
    texts = {part: (folder / f"{part}.lua").read_text("utf-8") for part in PARTS}
    text = "\n".join(f"do\n{t}\nend" if part in _APART else t for part, t in texts.items())
    text = text.replace("LAYOUT_NUMBER", str(layout(text)), 1)
    for record in ("state", "standing"):
        text = text.replace(f"{record.upper()}_FIELDS", _fields(text, record))
    prefix = f"keypool_{sha256(text.encode()).hexdigest()[:12]}"
    return prefix, text.replace("name=keypool", f"name={prefix}", 1).replace("NAME_", f"{prefix}_")
