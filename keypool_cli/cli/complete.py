"""``__complete``: names for the completion scripts, as quickly as they can be had.

It is no verb: it is answered before the command line is even imported, which takes longer than
all it does.
"""

import sqlite3
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote

from keypool_cli.config import load
from keypool_cli.errors import KeypoolError

if TYPE_CHECKING:
    from keypool_cli.config import Settings
    from keypool_cli.core.model import Catalog

MOST = 1000

_QUERIES = {
    "keys": ("SELECT name FROM keys",),
    "projects": ("SELECT name FROM projects",),
    "pools": ("SELECT name FROM pools",),
    "clients": ("SELECT name FROM clients WHERE revoked_at_ms IS NULL",),
    "models": (
        "SELECT model AS name FROM quotas WHERE model IS NOT NULL",
        "SELECT name FROM aliases",
        "SELECT model AS name FROM live_epochs",
    ),
}


def answer(words: Sequence[str]) -> NoReturn:
    """Print the names of a kind that begin with a prefix, one a line; words: KIND PREFIX HOME.

    Prints nothing where there is nothing, or no way to know: Tab must not print errors into the
    line.
    """
    kind, prefix, home = [*words, "", "", ""][:3]
    found: set[str] = set()
    with suppress(KeypoolError, sqlite3.Error, OSError):
        found = names(load({"home": home or None}), kind, prefix)
    sys.stdout.write("".join(f"{name}\n" for name in sorted(found)[:MOST]))
    sys.stdout.flush()
    raise SystemExit(0)


def names(settings: "Settings", kind: str, prefix: str) -> set[str]:
    """Names of a kind: from SQLite's file as it is, else from the live store's mirror."""
    file = settings.database_url.partition("?")[0].removeprefix("sqlite:///")
    if kind not in _QUERIES:
        return set()
    if file != settings.database_url.partition("?")[0]:
        found = _from_file(file, kind, prefix)
    else:
        found = _from_mirror(settings, kind)
    if kind == "models":
        from keypool_cli.core.tiers import known_models

        found |= known_models()
    return {each for each in found if each.startswith(prefix)}


def _from_file(file: str, kind: str, prefix: str) -> set[str]:
    # mode=rw makes no file, and the log that others write needs no less.
    connection = sqlite3.connect(f"file:{quote(file)}?mode=rw", uri=True, timeout=0.2)
    try:
        return {
            str(row[0])
            for query in _QUERIES[kind]
            for row in connection.execute(
                # The names' index serves this where LIKE would read them all.
                f"SELECT name FROM ({query}) WHERE name >= ? ORDER BY name LIMIT ?",  # noqa: S608  # our own words
                (prefix, MOST),
            )
        }
    finally:
        connection.close()


def _from_mirror(settings: "Settings", kind: str) -> set[str]:
    import asyncio

    from keypool_cli.service.mirror import looking

    async def look() -> "Catalog":
        async with looking(settings) as found:
            return (await found.configured()).catalog

    catalog = asyncio.run(look())
    named = {
        "keys": (each.name for each in catalog.keys.values()),
        "projects": (each.name for each in catalog.projects.values()),
        "pools": (each.name for each in catalog.pools.values()),
        "clients": (c.name for c in catalog.clients.values() if c.revoked_at_ms is None),
        "models": (row.model for row in catalog.quotas if row.model is not None),
    }
    return set(named[kind])
