"""Finding each setting: flag, then environment, then ./keypool.toml, the user's file, default."""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from keypool_cli.config import urls, values
from keypool_cli.config.settings import NEVER_IN_WORKING_FOLDER, SETTING_NAMES, Settings, variable
from keypool_cli.errors import UsageError

FILE_NAME = "keypool.toml"

_PREFIX = "KEYPOOL_"
_NO_SETTINGS = frozenset({"TOKEN"})  # applications' own, as ``keypool env`` has it


@dataclass(frozen=True, slots=True, repr=False)
class _Found:
    """One setting as given. base: the folder that a relative path in it starts from."""

    value: object
    origin: str
    base: Path


def load(
    flags: Mapping[str, object] | None = None,
    *,
    env: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Settings:
    """The settings in force. A flag that is None and a variable that is empty count as not given.

    Raises UsageError for a value that does not fit, naming the setting and where it was set.
    """
    folder = cwd or Path.cwd()
    found = _collect(flags or {}, env, folder)
    parsed = {name: _parsed(name, found[name]) for name in found}
    home = parsed.setdefault("home", platformdirs.user_data_path("keypool"))
    parsed.setdefault("database_url", f"sqlite:///{home}/keypool.db")
    origins = {name: found[name].origin if name in found else "default" for name in SETTING_NAMES}
    chosen: dict[str, Any] = {**values.DEFAULTS, **parsed}
    settings = Settings(origins=origins, **chosen)
    _check_upstream(settings)
    return settings


def _collect(
    flags: Mapping[str, object],
    env: Mapping[str, str],
    cwd: Path,
) -> dict[str, _Found]:
    """What was given for each setting, by the source that has the first say."""
    found: dict[str, _Found] = {}
    for source in (_from_flags(flags, cwd), _from_env(env, cwd), _from_files(cwd)):
        for name, value in source:
            found.setdefault(name, value)
    return found


def _from_flags(flags: Mapping[str, object], cwd: Path) -> Iterator[tuple[str, _Found]]:
    for name, value in flags.items():
        if value is not None:
            yield name, _Found(value, f"flag --{name.replace('_', '-')}", cwd)


def _from_env(env: Mapping[str, str], cwd: Path) -> Iterator[tuple[str, _Found]]:
    for name in SETTING_NAMES:
        if value := env.get(variable(name), "").strip():
            yield name, _Found(value, f"environment {variable(name)}", cwd)


def misspelt(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that set nothing but are much like one that would, with that one."""
    known = {variable(name).removeprefix(_PREFIX): variable(name) for name in SETTING_NAMES}
    found = {}
    for name in sorted(env):
        word = name.removeprefix(_PREFIX)
        if name.startswith(_PREFIX) and word not in known and word not in _NO_SETTINGS:
            for close in difflib.get_close_matches(word, known, n=1, cutoff=0.7):
                found[name] = known[close]
    return found


def _from_files(cwd: Path) -> Iterator[tuple[str, _Found]]:
    """The working folder's file, then the user's; where they are one file, it is the user's."""
    user_file = platformdirs.user_config_path("keypool") / FILE_NAME
    local = cwd / FILE_NAME
    if local.exists() and not (user_file.exists() and local.samefile(user_file)):
        yield from _from_local(local, cwd)
    for name, value in _table(user_file, str(user_file)).items():
        yield name, _Found(value, str(user_file), user_file.parent)


def _from_local(file: Path, cwd: Path) -> Iterator[tuple[str, _Found]]:
    shown = f"./{FILE_NAME}"
    table = _table(file, shown)
    for name in sorted(NEVER_IN_WORKING_FOLDER & table.keys()):
        raise UsageError(
            f"{shown} may not set {name!r}: a file found in the working folder must not "
            "redirect secrets",
            hint=f"set {variable(name)}, or move the line to "
            f"{platformdirs.user_config_path('keypool') / FILE_NAME}",
        )
    for name, value in table.items():
        yield name, _Found(value, shown, cwd)


def _table(file: Path, shown: str) -> dict[str, object]:
    """The settings in a file; empty if there is none."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as err:
        raise UsageError(f"{shown} cannot be read: {err.strerror}") from err
    except (ValueError, RecursionError) as err:  # TOML's and UTF-8's errors are ValueErrors
        raise UsageError(f"{shown} is not valid TOML{_where(err)}") from err
    for name in table:
        if name not in SETTING_NAMES:
            raise _unknown(name, shown)
    return table


def _where(err: ValueError | RecursionError) -> str:
    """The place that TOML's parser names, without the text there: it may be a secret."""
    _, found, place = str(err).rpartition("(at ")
    return f" (at {place}" if found else ""


def _unknown(name: str, shown: str) -> UsageError:
    close = difflib.get_close_matches(name, SETTING_NAMES, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"settings are: {', '.join(SETTING_NAMES)}"
    return UsageError(f"{shown} sets {name!r}, which is no setting", hint=hint)


def _parsed(name: str, given: _Found) -> object:
    if name not in values.PARSERS:
        raise _unknown(name, given.origin)
    try:
        value = values.PARSERS[name](given.value)
    except ValueError as err:
        raise UsageError(f"{name} is not valid ({given.origin}): it takes {err}") from None
    return given.base / value if isinstance(value, Path) else value


def _check_upstream(settings: Settings) -> None:
    """Secrets travel to upstream: in the clear on this machine only, or where that was asked."""
    parts = urls.split(settings.upstream_url)
    local = parts is not None and urls.is_loopback(parts.hostname)
    where = settings.origin("upstream_url")
    if not local and settings.upstream_url.startswith("http:") and not settings.insecure_upstream:
        raise UsageError(
            f"upstream {settings.upstream_url} would receive keys unencrypted ({where})",
            hint="use https://, or accept it: KEYPOOL_INSECURE_UPSTREAM=1 "
            "(keypool serve --insecure-upstream)",
        )
    if not local and settings.window_s != values.DEFAULT_WINDOW_S:
        raise UsageError(
            f"window_s is 60 for any upstream but a loopback one ({settings.origin('window_s')})",
            hint="quota windows of Gemini are 60 s; other lengths are for tests",
        )
