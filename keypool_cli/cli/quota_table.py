"""A table of limits as AI Studio shows it, pasted: CSV, TSV, Markdown, or columns of blanks."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from keypool_cli.core.model import MAX_LIMIT, UNLIMITED
from keypool_cli.errors import UsageError
from keypool_cli.registry.names import checked_model

DIMENSIONS = ("rpm", "tpm", "rpd")

_MODEL_NAMES = frozenset({"model", "models", "model name", "name"})
_NUMBER = re.compile(r"([\d.,_]*\d)\s*([kmb]?)", re.IGNORECASE)
_TIMES = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
_NO_LIMIT = frozenset({"unlimited", "no limit", "none", "∞", "*"})
_UNSAID = frozenset({"", "-", "–", "—", "n/a", "--"})  # noqa: RUF001  # dashes as pages write them


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. values: by dimension, as far as it says them; UNLIMITED or a number.

    problem: why it sets nothing.
    """

    number: int
    model: str
    values: Mapping[str, int] = field(default_factory=dict)
    problem: str | None = None


def read_table(text: str) -> list[Row]:
    """The lines of a table. Raises UsageError where no line names the columns."""
    lines = [(number, cells) for number, cells in _cells(text) if any(cells)]
    start, columns = _header(lines)
    return [_row(number, cells, columns) for number, cells in lines[start:]]


def _cells(text: str) -> Iterator[tuple[int, list[str]]]:
    plain = text.splitlines()
    for number, line in enumerate(plain, start=1):
        if "|" in line:
            cells = [cell.strip(" `*") for cell in line.strip().strip("|").split("|")]
            if any(cell.strip(":-") for cell in cells):  # else it is the rule below the header
                yield number, cells
        elif "\t" in line:
            yield number, [cell.strip() for cell in line.split("\t")]
        elif "," in line and not re.search(r"\s{2,}", line.strip()):
            yield number, [cell.strip() for cell in next(csv.reader(io.StringIO(line)))]
        else:
            yield number, re.split(r"\s{2,}", line.strip())


def _header(lines: Sequence[tuple[int, list[str]]]) -> tuple[int, Mapping[int, str]]:
    """Where the table begins, and what each column holds."""
    for index, (_, cells) in enumerate(lines):
        names = [_column(cell) for cell in cells]
        if "model" in names and set(names) & set(DIMENSIONS):
            return index + 1, {place: name for place, name in enumerate(names) if name}
    raise UsageError(
        "no line names the columns", hint="the first line: Model, RPM, TPM, RPD, in any order"
    )


def _column(cell: str) -> str:
    word = cell.strip().lower()
    if word in _MODEL_NAMES:
        return "model"
    return next((name for name in DIMENSIONS if re.search(rf"\b{name}\b", word)), "")


def _row(number: int, cells: Sequence[str], columns: Mapping[int, str]) -> Row:
    named = {name: cells[place] for place, name in columns.items() if place < len(cells)}
    shown = named.get("model", "")
    try:
        model = model_id(shown)
        values = {name: _limit(named[name], name) for name in DIMENSIONS if name in named}
    except UsageError as err:
        return Row(number, shown, problem=str(err))
    said = {name: value for name, value in values.items() if value is not None}
    return Row(number, model, said, None if said else "it says no limit")


def model_id(shown: str) -> str:
    """The model's id of its displayed name: ``Gemini 2.5 Flash-Lite`` is gemini-2.5-flash-lite."""
    word = re.sub(r"[\s_]+", "-", shown.strip().removeprefix("models/").lower())
    return checked_model(re.sub(r"[()]", "", word).strip("-"))


def _limit(cell: str, name: str) -> int | None:
    """A limit: ``250K``, ``1,000``, ``unlimited``; of ``3 / 250K`` (used of limit) the latter."""
    word = cell.rpartition("/")[2].strip().lower()
    if word in _UNSAID or cell.strip().lower() in _UNSAID:
        return None
    if word in _NO_LIMIT:
        return UNLIMITED
    found = _NUMBER.fullmatch(word)
    if found is None:
        raise UsageError(f"{name} is no limit: {cell!r}")
    digits, unit = found[1].replace("_", ""), found[2].lower()
    # 1,000 groups digits; 1.5M has a point, and only before a unit.
    plain = digits.replace(",", "") if not unit else digits.replace(",", ".")
    try:
        value = round(float(plain) * _TIMES[unit]) if unit else int(plain)
    except ValueError:
        raise UsageError(f"{name} is no limit: {cell!r}") from None
    if value > MAX_LIMIT:
        raise UsageError(f"{name} is larger than 10^12: {cell!r}")
    return value
