"""google-genai's own tokenizer: its cache, its models, and no network."""

import hashlib
import warnings

import pytest
from google.genai import _local_tokenizer_loader as loader
from google.genai.local_tokenizer import LocalTokenizer

from keypool_cli.errors import UnreachableError, UsageError
from keypool_cli.upstream.count_local import open_tokenizer
from tests.support.tokenizers import nothing_fetched, small_model

MODEL = "gemini-2.5-flash"
TEXT = "القارب ينتظر outside the harbour.\n\nTwo lines, 2 numbers."


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    with nothing_fetched(monkeypatch, tmp_path) as cache:
        yield cache


@pytest.fixture
def cached(own_cache, tmp_path, monkeypatch):
    """A small model lies where google-genai keeps the one it has fetched."""
    model = small_model(tmp_path / "small.model")
    url = loader._TOKENIZERS["gemma3"].model_url
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    monkeypatch.setitem(loader._TOKENIZERS, "gemma3", loader._TokenizerConfig(url, digest))
    own_cache.mkdir()
    (own_cache / hashlib.sha1(url.encode()).hexdigest()).write_bytes(model.read_bytes())
    return model


def test_what_google_genai_has_fetched_counts_as_the_file_itself(cached):
    count = open_tokenizer("google", model=MODEL)
    assert count(TEXT) == open_tokenizer(str(cached), model=MODEL)(TEXT) > 10
    assert count("") == 0


@pytest.mark.usefixtures("cached")
def test_that_it_is_experimental_is_not_said_in_the_middle_of_a_report(monkeypatch):
    count_tokens = LocalTokenizer.count_tokens
    said: list[int] = []

    def warn_once(self, contents):
        if not said:
            said.append(1)
            warnings.warn("experimental", stacklevel=2)
        return count_tokens(self, contents)

    monkeypatch.setattr(LocalTokenizer, "count_tokens", warn_once)
    assert open_tokenizer("google", model=MODEL)("boat") > 0
    assert said


def test_without_a_network_it_says_what_to_do():
    with pytest.raises(UnreachableError, match=f"cannot fetch the vocabulary of {MODEL}") as told:
        open_tokenizer("google", model=MODEL)
    # The daemon is given it by a setting, the probe by an option.
    assert str(told.value.hint).endswith(
        "give the file itself: a tokenizer.model or tokenizer.json"
    )


@pytest.mark.parametrize(
    "model",
    [
        pytest.param("gemini-9-flash", id="a model it does not know"),
        pytest.param("gemini-3.5-flash", id="one that needs a package that is not there"),
    ],
)
def test_a_model_without_a_local_tokenizer_is_refused(model):
    with pytest.raises(UsageError, match=f"no local tokenizer for {model}"):
        open_tokenizer("google", model=model)
