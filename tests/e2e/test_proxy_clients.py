"""Real clients, unchanged but for their base URL, against a real daemon and the simulator."""

import openai
import pytest
from google import genai
from google.genai import errors, types

from tests.support.daemon import FLASH, eventually
from tests.support.node import run_node
from tests.support.proxy import a_proxy

pytestmark = pytest.mark.e2e

EMBEDDER = "gemini-embedding-001"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    world = {"projects": {}, "models": [FLASH, EMBEDDER]}
    with a_proxy(tmp_path_factory.mktemp("clients") / "home", world=world) as running:
        yield running


@pytest.fixture
def pool(proxy):
    proxy.sim.clear_faults()
    with proxy.pool() as made:
        yield made


@pytest.fixture
def gemini(proxy, pool):
    options = types.HttpOptions(
        base_url=proxy.daemon.url, headers={"x-keypool-pool": pool.name}, timeout=30_000
    )
    client = genai.Client(api_key=proxy.home.token, http_options=options)
    yield client
    client.close()


@pytest.fixture
def gpt(proxy, pool):
    with openai.OpenAI(
        base_url=f"{proxy.daemon.url}/v1beta/openai/",
        api_key=proxy.home.token,
        default_headers={"x-keypool-pool": pool.name},
        max_retries=0,
    ) as client:
        yield client


def test_genai_generates_streams_counts_and_lists(gemini, pool):
    project = pool.add()
    answer = gemini.models.generate_content(model=FLASH, contents="hello")
    assert answer.text
    parts = list(gemini.models.generate_content_stream(model=FLASH, contents="hello"))
    assert "".join(part.text or "" for part in parts) == answer.text
    assert gemini.models.count_tokens(model=FLASH, contents="hello").total_tokens > 0
    assert f"models/{FLASH}" in [each.name for each in gemini.models.list()]
    pool.settled(project, tokens=2 * answer.usage_metadata.prompt_token_count)


@pytest.fixture
def project(pool):
    return pool.add()


@pytest.mark.usefixtures("project")
async def test_genai_works_asynchronously(gemini):
    answer = await gemini.aio.models.generate_content(model=FLASH, contents="hello")
    stream = await gemini.aio.models.generate_content_stream(model=FLASH, contents="hello")
    assert "".join([part.text or "" async for part in stream]) == answer.text
    await gemini.aio.aclose()


def test_genai_chats(gemini, pool):
    pool.add()
    chat = gemini.chats.create(model=FLASH)
    assert chat.send_message("hello").text
    assert "".join(part.text or "" for part in chat.send_message_stream("and then?"))
    assert chat.get_history()[-1].role == "model"


def test_genai_embeds(gemini, pool):
    pool.add()
    answer = gemini.models.embed_content(model=EMBEDDER, contents=["one", "two"])
    assert len(answer.embeddings) == 2


def test_genai_hears_of_an_exhausted_pool_as_of_geminis_own_429(gemini, pool):
    pool.add(limits={"rpm": 1})
    gemini.models.generate_content(model=FLASH, contents="hello")
    with pytest.raises(errors.ClientError) as caught:
        gemini.models.generate_content(model=FLASH, contents="hello")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    with pytest.raises(errors.ClientError) as caught:
        list(gemini.models.generate_content_stream(model=FLASH, contents="hello"))
    assert caught.value.code == 429


def test_genai_never_notices_that_a_project_is_spent(gemini, pool):
    first, second = pool.add(rpm=2, priority=5), pool.add()
    texts = {gemini.models.generate_content(model=FLASH, contents="hello").text for _ in range(6)}
    assert len(texts) == 1
    assert (pool.used(first)["accepted"], pool.used(second)["accepted"]) == (2, 4)


def test_openai_chats_streams_embeds_and_lists(gpt, pool):
    project = pool.add()
    messages = [{"role": "user", "content": "hello"}]
    answer = gpt.chat.completions.create(model=FLASH, messages=messages)
    text = answer.choices[0].message.content
    stream = gpt.chat.completions.create(
        model=FLASH, messages=messages, stream=True, stream_options={"include_usage": True}
    )
    with stream:
        parts = [each.choices[0].delta.content or "" for each in stream if each.choices]
    assert "".join(parts) == text
    assert len(gpt.embeddings.create(model=EMBEDDER, input=["a", "b"]).data) == 2
    assert [each.id for each in gpt.models.list()]
    pool.settled(project, tokens=2 * answer.usage.prompt_tokens)


def test_openai_hears_of_an_exhausted_pool_as_of_a_rate_limit(gpt, pool):
    pool.add(limits={"rpm": 1})
    messages = [{"role": "user", "content": "hello"}]
    gpt.chat.completions.create(model=FLASH, messages=messages)
    with pytest.raises(openai.RateLimitError) as caught:
        gpt.chat.completions.create(model=FLASH, messages=messages)
    assert caught.value.code == "rate_limit_exceeded"


def test_openai_hears_that_a_token_is_wrong(proxy):
    with (
        openai.OpenAI(
            base_url=f"{proxy.daemon.url}/v1beta/openai/", api_key="kp_wrong", max_retries=0
        ) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()


GENAI_JS = """
import { GoogleGenAI } from '@google/genai';
const ai = new GoogleGenAI({apiKey: process.env.TOKEN, httpOptions: {
  baseUrl: process.env.URL_, headers: {'x-keypool-pool': process.env.POOL}}});
const answer = await ai.models.generateContent({model: process.env.MODEL, contents: 'hello'});
let streamed = '';
for await (const part of await ai.models.generateContentStream(
  {model: process.env.MODEL, contents: 'hello'})) streamed += part.text ?? '';
console.log(JSON.stringify({text: answer.text, streamed}));
"""

AI_SDK_JS = """
import { createGoogleGenerativeAI } from '@ai-sdk/google';
import { generateText, streamText } from 'ai';
const google = createGoogleGenerativeAI({apiKey: process.env.TOKEN,
  baseURL: process.env.URL_ + '/v1beta', headers: {'x-keypool-pool': process.env.POOL}});
const model = google(process.env.MODEL);
const answer = await generateText({model, prompt: 'hello'});
let streamed = '';
for await (const part of streamText({model, prompt: 'hello'}).textStream) streamed += part;
console.log(JSON.stringify({text: answer.text, streamed}));
"""


@pytest.mark.parametrize(
    ("package", "script"),
    [("@google/genai", GENAI_JS), ("@ai-sdk/google", AI_SDK_JS)],
    ids=["google-genai", "ai-sdk"],
)
def test_clients_in_javascript_generate_and_stream(proxy, pool, tmp_path, package, script):
    project = pool.add()
    env = {
        "URL_": proxy.daemon.url,
        "TOKEN": proxy.home.token,
        "POOL": pool.name,
        "MODEL": FLASH,
    }
    said = run_node(tmp_path, script, package=package, env=env)
    assert said["text"]
    assert said["streamed"] == said["text"]
    eventually(lambda: pool.used(project)["accepted"] == 2)
