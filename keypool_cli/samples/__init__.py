"""The probe's samples: keypool's own texts, structural requests, and whatever the user brings.

The texts were written for this, each different in topic, register and shape. A line of a file in
``texts/`` is ``{"id", "class", "text"}``; a line of a user's file needs ``text`` alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec

from keypool_cli.core.accuracy import STRUCTURE, Probe, text_probe
from keypool_cli.core.json_lines import numbered_values
from keypool_cli.errors import UsageError

CLASSES: Final = (
    "ar_prose",
    "ar_dialect",
    "ar_mixed",
    "ar_ui",
    "ar_tashkeel",
    "arabizi",
    "ar_digits",
    "en_prose",
    "en_prompt",
    "code",
    "json",
    "logs",
    "exotic",
)
"""Classes of the shipped texts, one file each, in the order of a report."""

OWN: Final = "own"
"""Class of a user's text that names none."""

_JOINED: Final = (
    ("ar_prose", 0, 2),
    ("ar_prose", 1, 2),
    ("ar_dialect", 0, 1),
    ("ar_mixed", 0, 2),
    ("ar_mixed", 1, 2),
    ("ar_tashkeel", 0, 1),
    ("en_prose", 0, 2),
    ("en_prose", 1, 2),
    ("code", 0, 1),
    ("json", 0, 1),
)
"""Long texts: a class, and which of its texts are joined (the first, and the step)."""

_HINT: Final = 'give a folder or file of .txt texts, or of .jsonl lines {"text": …}'


class _Line(msgspec.Struct, rename={"kind": "class"}):
    text: str
    id: str | None = None
    kind: str = OWN


class _Request(msgspec.Struct):
    id: str
    body: dict[str, object]


def load_texts() -> tuple[Probe, ...]:
    """The 264 shipped texts of 20 to 1,500 characters, by class."""
    return tuple(
        text_probe(str(line.id), line.text, kind=line.kind)
        for lines in _lines_by_class().values()
        for line in lines
    )


def load_joined() -> tuple[Probe, ...]:
    """Ten long texts, each joined from shipped ones of its class."""
    lines = _lines_by_class()
    return tuple(
        text_probe(
            f"{kind}-joined-{first + 1}",
            "\n\n".join(line.text for line in lines[kind][first::step]),
            kind=kind,
        )
        for kind, first, step in _JOINED
    )


def load_structural() -> tuple[Probe, ...]:
    """Requests that tell what contents, a system instruction and tools cost beside their text."""
    requests = msgspec.json.decode(_resource("structural.json"), type=list[_Request])
    return tuple(Probe(request.id, STRUCTURE, request.body) for request in requests)


def load_shipped() -> tuple[Probe, ...]:
    """Everything a probe counts where the user brings nothing."""
    return (*load_texts(), *load_joined(), *load_structural())


def load_own(path: Path) -> tuple[Probe, ...]:
    """The user's samples: one text a ``.txt`` file, one a ``.jsonl`` line; a folder's of both.

    Blank texts are left out. Ids are made unique by the file's name and line. Raises UsageError
    where a file cannot be read as such, or no text is found.
    """
    found = tuple(probe for file in _files(path) for probe in _read(file))
    if not found:
        raise UsageError(f"no samples in {path}", hint=_HINT)
    return found


def _lines_by_class() -> Mapping[str, Sequence[_Line]]:
    decoder = msgspec.json.Decoder(_Line)
    return {kind: decoder.decode_lines(_resource("texts", f"{kind}.jsonl")) for kind in CLASSES}


def _resource(*names: str) -> bytes:
    return files(__name__).joinpath(*names).read_bytes()


def _files(path: Path) -> Sequence[Path]:
    if not path.is_dir():
        return [path]
    try:
        return sorted(file for file in path.iterdir() if file.suffix in (".jsonl", ".txt"))
    except OSError as err:
        raise _unreadable(path, err) from err


def _read(file: Path) -> Iterator[Probe]:
    try:
        lines = list(_lines(file))
    except (OSError, UnicodeError, msgspec.MsgspecError) as err:
        raise _unreadable(file, err) from err
    for number, line in lines:
        if line.text.strip():
            yield text_probe(f"{file.name}:{number}", line.text, kind=line.kind)


def _unreadable(path: Path, err: Exception) -> UsageError:
    reason = err.strerror if isinstance(err, OSError) else err
    return UsageError(f"cannot read samples from {path}: {reason}", hint=_HINT)


def _lines(file: Path) -> Iterable[tuple[int, _Line]]:
    content = file.read_bytes().decode("utf-8-sig")
    if file.suffix == ".jsonl":
        return numbered_values(content, msgspec.json.Decoder(_Line))
    return [(1, _Line(content))]
