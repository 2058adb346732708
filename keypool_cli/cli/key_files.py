"""Keys in files: CSV, JSON lines, and ``.env``. No error here repeats what a file holds."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePath

from keypool_cli.cli.options import pairs
from keypool_cli.core.model import Secret
from keypool_cli.core.redact import redact
from keypool_cli.errors import UsageError
from keypool_cli.registry.values import NewKey

FORMATS = ("csv", "jsonl", "env")
COLUMNS = (
    "name",
    "project",
    "pool",
    "tier",
    "priority",
    "labels",
    "secret",
    "state",
    "pools",
    "billing_account",
    "egress_proxy",
    "project_state",
)
SHOWN_ONLY = ("fingerprint",)
"""What an export holds beside them; an import ignores it."""

DISABLED = "disabled"
_STATES = ("", "ready", DISABLED, "dead")
_PROJECT_STATES = ("", "enabled", DISABLED)

HIDDEN_NAME = "(hidden)"

_HEADER = 10_000
"""Characters of a first line that may name columns."""

_ASSIGNMENT = re.compile(r"(export\s+)?[A-Za-z_]\w*\s*=")

_SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".env": "env"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file: a key to add, or why it is none. name: as far as it can be shown."""

    number: int
    name: str
    key: NewKey | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Defaults:
    """What lines that do not say it themselves get."""

    project: str | None = None
    pool: str | None = None


def format_of(path: str, given: str | None, text: str) -> str:
    """The format of a file: as given, by the end of its name, or as its first line looks."""
    name = PurePath(path)
    by_name = "env" if name.name.startswith(".env") else _SUFFIXES.get(name.suffix.lower())
    found = given or by_name or _looks_like(text)
    if found is None:
        what = "stdin" if path == "-" else path
        raise UsageError(
            f"the format of {what} is not clear", hint=f"name it: --format {'|'.join(FORMATS)}"
        )
    return found


def _looks_like(text: str) -> str | None:
    _, first = next(_numbered(text), (0, ""))
    if first.startswith("{"):
        return "jsonl"
    if _ASSIGNMENT.match(first):
        return "env"
    columns = {each.strip().lower() for each in next(csv.reader([first[:_HEADER]]), [])}
    return "csv" if {"name", "secret"} <= columns or {"name", *SHOWN_ONLY} <= columns else None


def read_lines(text: str, kind: str, defaults: Defaults) -> list[Line]:
    """The lines of a file. Raises UsageError where the file as a whole cannot be understood."""
    records = {"csv": _csv_records, "jsonl": _json_records, "env": _env_records}[kind](text)
    return [_line(number, record, defaults) for number, record in records]


_Record = Mapping[str, object] | str
"""The fields of a line, or why it has none."""


def _csv_records(text: str) -> Iterator[tuple[int, _Record]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", strict=True)
    header = [name.strip().lower() for name in reader.fieldnames or ()]
    _check_header(header)
    reader.fieldnames = header
    try:
        for row in reader:
            extra = "more values than columns" if "" in row else None
            yield reader.line_num, extra or row
    except csv.Error as err:
        yield reader.line_num, f"not CSV: {err}"


def _check_header(header: Sequence[str]) -> None:
    hint = f"columns: {','.join(COLUMNS)}; name and secret are needed"
    # A file without a header has a secret where the names should be: they are not repeated.
    if "secret" not in header and {"name", *SHOWN_ONLY} <= set(header):
        raise UsageError(
            "this export holds no secrets, so it cannot be imported",
            hint="add a column 'secret' with the secret of each key",
        )
    if not {"name", "secret"} <= set(header):
        raise UsageError("the first line must name the columns", hint=hint)
    known = {*COLUMNS, *SHOWN_ONLY}
    for index, name in enumerate(header):
        if name not in known:
            meant = get_close_matches(name, known, n=1)
            asks = f"; did you mean {meant[0]!r}?" if meant else ""
            raise UsageError(f"column {index + 1} has no known name{asks}", hint=hint)
        if name in header[:index]:
            raise UsageError(f"the column {name!r} is there twice")


def _json_records(text: str) -> Iterator[tuple[int, _Record]]:
    for number, line in _numbered(text):
        record = _object(line)
        yield number, "not a JSON object" if record is None else record


def _object(text: str) -> dict[str, object] | None:
    """A JSON object, or None where ``text`` is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _env_records(text: str) -> Iterator[tuple[int, _Record]]:
    for number, line in _numbered(text):
        name, equals, value = line.removeprefix("export ").partition("=")
        value = value.strip()
        if value[:1] in {'"', "'"} and value[-1:] == value[:1]:
            value = value[1:-1]
        record = {"name": name.strip(), "secret": value}
        yield number, record if equals else "not NAME=secret"


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()


def _line(number: int, record: _Record, defaults: Defaults) -> Line:
    if isinstance(record, str):
        return Line(number, "", problem=record)
    name = _text(record, "name")
    shown = name if redact(name) == name else HIDDEN_NAME
    if shown == HIDDEN_NAME:
        return Line(number, shown, problem="the name looks like a secret")
    project = _text(record, "project") or defaults.project
    if not (name and project and _text(record, "secret")):
        missing = "name" if not name else "secret" if project else "project (or say --project)"
        return Line(number, shown, problem=f"it has no {missing}")
    try:
        return Line(number, shown, _key(record, name, project, defaults.pool))
    except UsageError as err:
        return Line(number, shown, problem=str(err))


def _key(record: Mapping[str, object], name: str, project: str, pool: str | None) -> NewKey:
    first, *more = _pools(record) or [pool]
    proxy = _text(record, "egress_proxy")
    return NewKey(
        name=name,
        secret=Secret(_text(record, "secret")),
        project=project,
        pool=first,
        pools=tuple(each for each in more if each is not None),
        tier=_text(record, "tier") or None,
        priority=_priority(record),
        labels=_labels(record.get("labels")),
        billing_account=_text(record, "billing_account") or None,
        egress_proxy=Secret(proxy) if proxy else None,
        disabled=_state(record, "state", _STATES) == DISABLED,
        project_disabled=_state(record, "project_state", _PROJECT_STATES) == DISABLED,
    )


def _state(record: Mapping[str, object], field: str, known: Sequence[str]) -> str:
    state = _text(record, field).lower()
    if state not in known:
        raise UsageError(f"{field} is one of {', '.join(known[1:])}")
    return state


def _pools(record: Mapping[str, object]) -> list[str | None]:
    """Every pool that is named, ``pool`` first."""
    value, first = record.get("pools"), _text(record, "pool")
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    parts = value.split(",") if isinstance(value, str) else value or []
    if not isinstance(parts, list) or not all(isinstance(each, str) for each in parts):
        raise UsageError("pools are names with commas between them, or a JSON list of names")
    names = dict.fromkeys([first, *(str(each).strip() for each in parts)])
    return [each for each in names if each]


def _text(record: Mapping[str, object], field: str) -> str:
    value = record.get(field)
    return value.strip() if isinstance(value, str) else ""


def _priority(record: Mapping[str, object]) -> int | None:
    value = record.get("priority")
    if value in (None, ""):
        return None
    try:
        return int(str(value))
    except ValueError:
        raise UsageError("the priority is not a whole number") from None


def _labels(value: object) -> Mapping[str, str]:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = _object(value)
        if value is None:
            raise UsageError("the labels are not a JSON object")
    if isinstance(value, dict):
        return {str(name): str(text) for name, text in value.items()}
    parts: Iterable[str] = value.split(",") if isinstance(value, str) else ()
    return pairs([part.strip() for part in parts if part.strip()])
