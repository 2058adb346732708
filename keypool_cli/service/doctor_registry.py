"""The registry: reachable, of the right schema, and its secrets open under the master key."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from keypool_cli.config import KEY_FILE, Settings, has_master_key, master_key
from keypool_cli.core.model import Catalog, Key, Secret
from keypool_cli.core.natural import natural
from keypool_cli.errors import ExitCode, KeypoolError, NotPermittedError, UnreachableError
from keypool_cli.registry import database, schema
from keypool_cli.registry.repository import Registry
from keypool_cli.service.doctor_finding import Finding, failed, note, ok, problem, some, warning

RETIRED = "AIza"
"""How standard keys begin. Google rejects them from September 2026 on; auth keys begin with
``AQ.`` (https://ai.google.dev/gemini-api/docs/api-key)."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found of the registry, and what is in it; None where it could not be read.

    secrets: by key id, of all that opened.
    """

    findings: list[Finding]
    catalog: Catalog | None = None
    secrets: dict[int, Secret] | None = None


def examine(settings: Settings) -> Examined:
    """Look at the database without migrating it, and without making one."""
    file = _sqlite_file(settings.database_url)
    if file is not None and _is_missing(file):
        text = "nothing is stored yet"
        return Examined([note("database", text, "store a key: keypool add NAME --project P")])
    try:
        db = database.connect(settings.database_url)
    except KeypoolError as err:
        return Examined([failed("database", err)])
    try:
        return _opened(settings, db)
    except KeypoolError as err:
        return Examined([failed("database", err)])
    finally:
        db.close()


def _sqlite_file(url: str) -> Path | None:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # connecting will say so
        return None
    named = parsed.get_backend_name() == "sqlite" and parsed.database
    return Path(str(parsed.database)) if named else None


def _is_missing(file: Path) -> bool:
    try:
        return not file.exists()
    except OSError:  # opening it will say why
        return False


def _opened(settings: Settings, db: database.Database) -> Examined:
    reached = ok("database", f"{db.shown_url} answers")
    version = schema.version(db)
    if version != schema.HEAD:
        return Examined([reached, _other_schema(db, version)])
    registry = Registry(db, None)
    try:
        registry.try_writing()
    except UnreachableError as err:  # all that can be read is looked at
        reached = failed("database", err)
    found = [reached, ok("schema", f"version {version}, as this keypool wants it")]
    catalog = registry.catalog()
    if not catalog.keys:
        found.append(note("keys", "no keys yet", "store one: keypool add NAME --project P"))
        return Examined(found, catalog, {})
    opened = _secrets(settings, db, catalog)
    return Examined([*found, *opened.findings], catalog, opened.secrets)


def _other_schema(db: database.Database, version: str | None) -> Finding:
    if version is None or version < schema.HEAD:
        was = "none" if version is None else f"version {version}"
        text = f"schema: {was}; the next command migrates to {schema.HEAD}"
        return note("schema", text, "back up first: keypool guide operating")
    return failed("schema", schema.NewerSchemaError(db, version))


def _secrets(settings: Settings, db: database.Database, catalog: Catalog) -> Examined:
    """Whether every secret opens. The key file is not made here: a new one would open nothing."""
    if not has_master_key(settings):
        text = (
            f"{settings.home / KEY_FILE} is missing, and all secrets ({len(catalog.keys)}) need it"
        )
        remedy = "restore it from your backup, or name it with KEYPOOL_MASTER_KEY_FILE"
        return Examined([problem("master key", text, remedy, ExitCode.NOT_PERMITTED)])
    try:
        registry = Registry(db, master_key(settings))
        registry.check_master_key()
    except KeypoolError as err:
        return Examined([problem("master key", str(err), err.hint, ExitCode.NOT_PERMITTED)])
    secrets, broken = _opened_secrets(registry, catalog)
    if broken:
        text = f"{len(broken)} sealed secrets do not open: {some(broken)}"
        remedy = f"enter them anew: keypool rotate {quote(broken[0])}"
        return Examined(
            [problem("master key", text, remedy, ExitCode.NOT_PERMITTED)], None, secrets
        )
    good = ok("master key", f"opens all secrets ({len(secrets)})")
    return Examined([good, *_retired(catalog, secrets)], None, secrets)


def _opened_secrets(registry: Registry, catalog: Catalog) -> tuple[dict[int, Secret], list[str]]:
    """The secrets that open, and the names of keys whose secret does not."""
    try:
        return registry.keys.secrets(), []
    except NotPermittedError:
        found: dict[int, Secret] = {}
        broken = []
    for key in catalog.keys.values():
        try:
            found |= registry.keys.secrets([key.id])
        except NotPermittedError:
            broken.append(key.name)
    return found, sorted(broken, key=natural)


def _retired(catalog: Catalog, secrets: dict[int, Secret]) -> list[Finding]:
    old: list[Key] = [
        catalog.keys[number]
        for number, secret in secrets.items()
        if number in catalog.keys and secret.text.startswith(RETIRED)
    ]
    if not old:
        return [ok("key kind", "no key is of the kind that Google retires")]
    names = sorted((each.name for each in old), key=natural)
    return [
        warning(
            "key kind",
            f"{len(old)} standard keys ({RETIRED}…), which Google rejects from September 2026 on: "
            f"{some(names)}",
            f"make an auth key in AI Studio, then: keypool rotate {quote(names[0])}",
        )
    ]
