"""Tokenizers on this machine: a small model, made as Gemma's is, and google-genai's own with none."""

import io
import tempfile
from contextlib import contextmanager

import sentencepiece
from google.genai import _local_tokenizer_loader as loader

LINES = [
    "the boat waits outside the harbour for the morning tide",
    "القارب ينتظر خارج الميناء حتى يأتي مد الصباح",
    "في كل صباح يخرج الصيادون إلى البحر ويعودون قبل الظهر",
    "every morning the fishermen leave for the sea and return before noon",
    "def count(text): return len(text.split())",
] * 20


def small_model(path, *, size=400):
    """Train it and write it to a file; takes a fraction of a second."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_writer=written,
        vocab_size=size,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        user_defined_symbols=["\n"],
        minloglevel=2,
    )
    path.write_bytes(written.getvalue())
    return path


@contextmanager
def nothing_fetched(monkeypatch, folder):
    """google-genai has loaded no vocabulary, keeps them in a folder of its own, and has no network."""
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    _forget()
    yield folder / "vertexai_tokenizer_model"
    _forget()


def _forget():
    loader.load_model_proto.cache_clear()
    loader.get_sentencepiece.cache_clear()
