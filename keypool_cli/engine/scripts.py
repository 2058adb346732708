"""The engine's Lua, joined from the files of ``lua/`` into one Redis Function library.

Functions are kept by the server (in its AOF and on its replicas) and cost about half of what the
same code costs through EVALSHA. The library's name carries a hash of its text, so two versions of
keypool can use one server side by side.
"""

from functools import cache
from hashlib import sha256
from importlib.resources import files

PARTS = (
    "library", "state", "window", "ready", "lease", "choose", "queue",
    "acquire", "settle", "mark", "load", "pump",
)  # fmt: skip


@cache
def library() -> tuple[str, str]:
    """Return the prefix of the functions' names, and the library's text to load."""
    folder = files("keypool_cli.engine") / "lua"
    text = "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in PARTS)
    prefix = f"keypool_{sha256(text.encode()).hexdigest()[:12]}"
    return prefix, text.replace("name=keypool", f"name={prefix}", 1).replace("NAME_", f"{prefix}_")
