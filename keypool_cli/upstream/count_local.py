"""Counting with a tokenizer that the user has: exact for the models whose vocabulary it is.

keypool ships none: Gemma's vocabulary is Google's, and several megabytes.
"""

import importlib
import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from keypool_cli.errors import UnreachableError, UsageError

CountText = Callable[[str], int]
"""Tokens of one text."""

GOOGLE: Final = "google"
"""Stands for google-genai's own LocalTokenizer, which fetches the vocabulary of a model once."""

_FORMS: Final = f"give a tokenizer.model (SentencePiece), a tokenizer.json, or {GOOGLE!r}"


def open_tokenizer(name: str, *, model: str) -> CountText:
    """A tokenizer from a file, or google-genai's for a model.

    Raises UsageError where the file is not one, or a package to read it is missing, and
    UnreachableError where google-genai must fetch a file and cannot.
    """
    if name == GOOGLE:
        return _google(model)
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"there is no tokenizer file {name}", hint=_FORMS)
    return _tokenizer_json(path) if path.suffix == ".json" else _sentencepiece(path)


def _sentencepiece(path: Path) -> CountText:
    package = _package("sentencepiece", "keypool[sentencepiece]")
    try:
        processor = package.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as err:
        raise UsageError(f"{path} is no SentencePiece model", hint=_FORMS) from err
    return lambda text: len(processor.encode(text))


def _tokenizer_json(path: Path) -> CountText:
    package = _package("tokenizers", "tokenizers")
    try:
        tokenizer = package.Tokenizer.from_file(str(path))
    except Exception as err:  # the package raises no class of its own
        raise UsageError(f"{path} is no tokenizer.json", hint=_FORMS) from err
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _google(model: str) -> CountText:
    for package in ("sentencepiece", "google.protobuf"):
        _package(package, "google-genai[local-tokenizer]")
    local = importlib.import_module("google.genai.local_tokenizer")
    try:
        tokenizer = local.LocalTokenizer(model_name=model)
    except OSError as err:  # those of requests are, too
        raise UnreachableError(
            f"google-genai cannot fetch the vocabulary of {model} ({type(err).__name__})",
            hint="it fetches a file once; or give the file itself: a tokenizer.model or tokenizer.json",
        ) from err
    except (ImportError, RuntimeError, ValueError) as err:
        raise UsageError(
            f"google-genai has no local tokenizer for {model}: {err}",
            hint="it knows some models only; or give the file itself",
        ) from err
    with warnings.catch_warnings():
        # That it is experimental it says at its first count only, in the middle of a report.
        warnings.simplefilter("ignore")
        _google_count(tokenizer, "x")
    return lambda text: _google_count(tokenizer, text)


def _google_count(tokenizer: Any, text: str) -> int:  # noqa: ANN401 - imported where it is used
    return int(tokenizer.count_tokens(text).total_tokens or 0) if text else 0


def _package(name: str, wanted: str) -> Any:  # noqa: ANN401 - optional, so no types to name
    if importlib.util.find_spec(name) is None:
        raise UsageError(
            f"the package {name} is needed to read this tokenizer",
            hint=f"pip install '{wanted}'",
        )
    return importlib.import_module(name)
