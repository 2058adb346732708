"""A declaration as TOML, as :mod:`keypool_cli.cli.declaration_text` reads it."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keypool_cli.service.declaring import Entry, Section

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_lines(sections: "Mapping[str, Section]") -> Iterator[str]:
    """The lines of a declaration; a section without entries is not spoken of."""
    for section, entries in sections.items():
        if isinstance(entries, Mapping):
            for name, entry in entries.items():
                yield from _table(f"[{section}.{_name(name)}]", entry)
        else:
            for entry in entries:
                yield from _table(f"[[{section}]]", entry)


def _table(head: str, entry: "Entry") -> Iterator[str]:
    yield head
    yield from (f"{name} = {_value(value)}" for name, value in entry.items())
    yield ""


def _name(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _value(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case datetime():
            return value.isoformat()
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case Mapping():
            pairs = (f"{_name(str(name))} = {_value(each)}" for name, each in value.items())
            return f"{{ {', '.join(pairs)} }}"
        case int() | float():
            return str(value)
        case _:
            return _text(str(value))


def _text(text: str) -> str:
    """JSON's strings are TOML's: names and labels hold no DEL, which alone would differ."""
    return json.dumps(text, ensure_ascii=False)
