"""Which project-bound names a request mentions, however it writes them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.upstream.names import may_mention, mentioned, named, results_in, root_of

HOST = "https://generativelanguage.googleapis.com"


@pytest.mark.parametrize(
    ("name", "root"),
    [
        ("files/abc", "files/abc"),
        ("fileSearchStores/s/documents/d", "fileSearchStores/s"),
        ("tunedModels/t/operations/o", "tunedModels/t"),
        ("models/veo/operations/o", "models/veo/operations/o"),
        ("operations/o", "operations/o"),
        ("interactions/v1_Ab-9=", "interactions/v1_Ab-9="),
        ("files/..", None),
        ("files/", None),
        ("files/a b", None),
        ("models/m", None),
        ("secrets/x", None),
    ],
)
def test_the_root_of_a_name(name, root):
    assert root_of(name) == root


def part(uri, spelling="fileData", field="fileUri"):
    return {"contents": [{"parts": [{spelling: {field: uri}}]}]}


@pytest.mark.parametrize(
    ("body", "names"),
    [
        pytest.param(part(f"{HOST}/v1beta/files/a"), ["files/a"], id="by its URI"),
        pytest.param(part("files/a"), ["files/a"], id="by its name"),
        pytest.param(part("files/a", "file_data", "file_uri"), ["files/a"], id="in snake case"),
        pytest.param(part(f"{HOST}/v1beta/files/a:download?alt=media"), ["files/a"], id="download"),
        pytest.param(part(f"{HOST}//v1beta/./files/a"), ["files/a"], id="a crooked path"),
        pytest.param(part(f"{HOST}/v1beta/fil%65s/a"), ["files/a"], id="percent-encoded"),
        pytest.param(part("https://youtu.be/x"), [], id="a video"),
        pytest.param(part("gs://bucket/files/a"), [], id="a bucket's object"),
        pytest.param(part("https://example.com/docs/files/a"), [], id="somebody's site"),
        pytest.param(part("http://[bad"), [], id="no URI at all"),
        pytest.param({"cachedContent": "cachedContents/c"}, ["cachedContents/c"], id="a cache"),
        pytest.param({"cached_content": "c"}, ["cachedContents/c"], id="a cache without prefix"),
        pytest.param({"previous_interaction_id": "v1_x"}, ["interactions/v1_x"], id="interaction"),
        pytest.param(
            {"tools": [{"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/s"]}}]},
            ["fileSearchStores/s"],
            id="a store",
        ),
        pytest.param(
            {"batch": {"inputConfig": {"fileName": "files/in"}}}, ["files/in"], id="a batch's input"
        ),
        pytest.param(
            {"requests": [{"request": part("files/a")}, {"request": part("files/b")}]},
            ["files/a", "files/b"],
            id="several requests",
        ),
        pytest.param(
            {"input": [{"type": "image", "uri": f"{HOST}/v1beta/files/a"}]},
            ["files/a"],
            id="an interaction's input",
        ),
        pytest.param(
            {"contents": [{"parts": [{"functionCall": {"args": {"uri": "files/a"}}}]}]},
            [],
            id="what a tool is called with",
        ),
        pytest.param({"contents": [{"parts": [{"text": "see files/a"}]}]}, [], id="a text"),
        pytest.param({"model": "tunedModels/t"}, ["tunedModels/t"], id="a tuned model"),
        pytest.param(
            {"tunedModelSource": {"tunedModel": "tunedModels/t"}},
            ["tunedModels/t"],
            id="what a model is tuned from",
        ),
        pytest.param({"model": "models/m"}, [], id="a common model"),
    ],
)
def test_what_a_body_mentions(body, names):
    assert sorted(mentioned(body)) == names
    if names:
        assert may_mention(json.dumps(body).encode())


def _escaped(text: str, which: int) -> str:
    return "".join(f"\\u{ord(c):04x}" if n % 3 == which else c for n, c in enumerate(text))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_no_escape_hides_a_mention(which):
    field, name = _escaped("cachedContent", which), _escaped("cachedContents/c", which)
    body = f'{{"{field}": "{name}"}}'.encode()
    assert may_mention(body)
    assert mentioned(json.loads(body)) == ["cachedContents/c"]
    assert may_mention(rb'{"fileUri": "files\/a"}')


def test_a_plain_prompt_is_not_even_looked_at():
    body = {"contents": [{"parts": [{"text": "50% off? é\n" * 100}]}], "model": "models/m"}
    assert not may_mention(json.dumps(body).encode())


def test_a_large_body_that_only_may_mention_something_is_looked_at():
    body = {"contents": [{"parts": [{"text": "see files, 50% off " * 60_000}]}]}
    assert may_mention(json.dumps(body).encode())
    assert mentioned(body) == []


def test_a_batchs_answer_names_the_file_of_its_results():
    answer = {"response": {"responsesFile": "files/batch-1"}, "metadata": {"name": "batches/b"}}
    assert results_in(answer) == ["files/batch-1"]
    video = {"response": {"samples": [{"video": {"uri": f"{HOST}/v1beta/files/v:download?alt=m"}}]}}
    assert results_in(video) == ["files/v"]
    assert results_in({"candidates": [{"uri": f"{HOST}/v1beta/files/x"}]}) == []


@pytest.mark.parametrize("said", ["a", "files/a", "files%2Fa", f"{HOST}/v1beta/files/a"])
def test_an_openai_batchs_input_is_meant_with_or_without_its_collection(said):
    assert mentioned({"input_file_id": said}) == ["files/a"]


def test_an_openai_batch_names_the_files_of_its_results_and_errors():
    answer = {"id": "batches/b", "output_file_id": "files/o", "error_file_id": "e"}
    assert sorted(results_in(answer)) == ["files/e", "files/o"]
    assert results_in({"output_file_id": None, "input_file_id": "files/i"}) == []


@pytest.mark.parametrize("own", ["x", "agents/x"])
def test_an_id_means_the_same_with_its_collection_and_without(own):
    assert named("agents", own) == "agents/x"
    assert named("agents", "..") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("fileUri"), inner),
)


@given(JSON)
def test_nothing_breaks_the_reader(body):
    assert all(root_of(each) == each for each in mentioned(body))
