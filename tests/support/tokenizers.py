"""A small SentencePiece model, made as Gemma's is: byte fallback, white space kept."""

import io

import sentencepiece

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
