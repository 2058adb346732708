"""The text of a declaration as plain values: TOML, or YAML without its surprises.

Of YAML only the tree is taken from its parser, which is read here as version 1.2 has it: ``no`` is
a text, 010 is ten, a name that stands there twice is a mistake, and a tag makes no object. No error
repeats what the file holds: it may be a secret.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

from keypool_cli.errors import UsageError

Form = Literal["toml", "yaml"]

_YAML_SUFFIXES = (".yaml", ".yml")
_TEXT = "tag:yaml.org,2002:str"
_MADE_BY_TAG = re.compile(r"!|tag:yaml\.org,2002:(python/|binary$|set$|omap$|pairs$)")
_WORDS: Mapping[str, bool | None] = {
    "true": True,
    "false": False,
    "null": None,
    "~": None,
    "": None,
}
_WHOLE = re.compile(r"[-+]?[0-9][0-9_]*")
_FRACTION = re.compile(r"[-+]?[0-9]+\.[0-9]+")

MOST_DEEP = 5
"""Levels of a declaration, the file itself the first; a value may not hold itself."""


def form_of(path: str) -> Form:
    """The form of a file by the end of its name; stdin's is TOML."""
    return "yaml" if PurePath(path).suffix.lower() in _YAML_SUFFIXES else "toml"


def parsed(text: str, form: Form) -> Mapping[str, Any]:
    """The sections of a declaration. Raises UsageError where it cannot be understood."""
    return _yaml(text) if form == "yaml" else _toml(text)


def _toml(text: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise UsageError("nested too deeply") from None
    except tomllib.TOMLDecodeError as err:
        _, at, where = str(err).rpartition("(at ")
        raise UsageError(f"not valid TOML{f' (at {where}' if at else ''}") from None


def _yaml(text: str) -> Mapping[str, Any]:
    import yaml

    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        where = f" (at line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise UsageError(f"not valid YAML{where}") from None
    whole = _Values().of(root, MOST_DEEP) if root is not None else {}
    if not isinstance(whole, dict):
        raise UsageError("a declaration has sections: pools, projects, keys, quotas, clients")
    # A section without a word says nothing: to have none of its kind is written {} or [].
    return {name: _entries(value) for name, value in whole.items() if value is not None}


def _entries(section: object) -> object:
    """A section whose entries may be names alone."""
    if not isinstance(section, dict):
        return section
    return {name: {} if entry is None else entry for name, entry in section.items()}


@dataclass(slots=True)
class _Values:
    """Makes plain values of YAML's nodes; one that is named again (an alias) is made once."""

    made: dict[int, Any] = field(default_factory=dict)

    def of(self, node: Any, levels: int) -> Any:  # noqa: ANN401  # YAML's nodes have no types
        """levels: how many there may be, this one included."""
        line = node.start_mark.line + 1
        if _MADE_BY_TAG.match(node.tag):
            raise UsageError(f"not a plain value (at line {line})")
        if not levels:
            raise UsageError(f"nested too deeply (at line {line})")
        if id(node) not in self.made:
            make = {"mapping": self._table, "sequence": self._list}.get(node.id)
            self.made[id(node)] = make(node, levels - 1) if make else _scalar(node)
        return self.made[id(node)]

    def _list(self, node: Any, levels: int) -> list[Any]:  # noqa: ANN401
        return [self.of(each, levels) for each in node.value]

    def _table(self, node: Any, levels: int) -> dict[str, Any]:  # noqa: ANN401
        found: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.id != "scalar":
                raise UsageError(f"not a name (at line {line})")
            if key.value in found:
                raise UsageError(f"a name that stands there twice (at line {line})")
            found[key.value] = self.of(value, levels)
        return found


def _scalar(node: Any) -> str | int | float | bool | None:  # noqa: ANN401
    text: str = node.value
    if node.style or node.tag == _TEXT:  # between quotes, or said to be text
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _FRACTION.fullmatch(text) else text
