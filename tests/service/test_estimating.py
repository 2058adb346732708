"""A daemon's estimates: calibrated, corrected, and exact where a tokenizer is proven."""

import asyncio
import logging
import threading

import pytest

from keypool_cli.core.accuracy import STRUCTURE
from keypool_cli.core.estimator import Calibration, estimate_request
from keypool_cli.core.model import Client
from keypool_cli.core.request_shape import read_request
from keypool_cli.errors import UsageError
from keypool_cli.registry.values import Calibration as Stored
from keypool_cli.samples import load_shipped
from keypool_cli.service.estimating import LARGE, LONG, MOST_OPEN, Estimating
from keypool_cli.service.estimating_exact import (
    LONGEST_CHUNK,
    MOST_CHUNKS,
    ChunkCounter,
    reproduces,
)
from keypool_cli.service.ports import opened
from keypool_cli.service.probing_memory import Memory, payload_of, read_memory
from keypool_cli.service.sync import read_configured
from keypool_cli.service.watch import Watch
from keypool_cli.upstream.count_local import open_tokenizer
from tests.support.daemon import BY, FLASH, a_home
from tests.support.tokenizers import nothing_fetched, small_model

SHIPPED = load_shipped()
TEXT = "القارب ينتظر خارج الميناء. " * 30
BODY = {"contents": [{"parts": [{"text": TEXT}]}]}
DOUBLED = Calibration(factors={"arabic": 2.0})


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("spm") / "tokenizer.model")


@pytest.fixture(scope="module")
def tokenizer(model_file):
    return open_tokenizer(str(model_file), model=FLASH)


@pytest.fixture(scope="module")
def memory(tokenizer):
    """Counts of an upstream that has this very tokenizer."""
    counts = {}
    for probe in SHIPPED:
        shape = read_request(probe.body)
        texts = sum(map(tokenizer, shape.texts))
        counts[probe.digest] = texts + shape.contents + shape.systems
    return Memory(FLASH, Calibration(), counts)


async def estimating(ports):
    made = Estimating(ports, Watch(ports, await read_configured(ports)))
    await made.refresh()
    return made


def save(ports, memory):
    ports.registry.calibrations.save(memory.model, payload_of(memory), by=BY)


async def refreshed(made):
    await made._watch.refresh()
    await made.refresh()
    return made


def test_a_memory_survives_being_stored():
    memory = Memory("m", DOUBLED, {"a": 1}, {"all": 3}, {"b": 2}, 5, 9)
    assert read_memory(Stored("m", payload_of(memory), 9)) == memory


@pytest.mark.parametrize(
    "payload",
    [{}, {"calibration": 5}, {"calibration": {"z": "wide"}}, {"counts": {"a": "many"}}],
)
def test_what_is_stored_in_no_known_form_counts_as_not_there(payload):
    assert read_memory(Stored("m", payload, 9)).calibration is None


async def test_estimates_follow_the_models_newest_calibration(ports):
    made = await estimating(ports)
    shipped = made.of(None).request(BODY, model=FLASH)
    save(ports, Memory(FLASH, DOUBLED))
    await refreshed(made)
    doubled = made.of(None).request(BODY, model=FLASH)
    assert doubled.tokens > 1.8 * shipped.tokens
    assert made.of(None).request(BODY, model="another").tokens == shipped.tokens
    assert made.of(None).text(TEXT, model=FLASH).tokens == pytest.approx(doubled.tokens, abs=2)


async def test_an_unfinished_probe_changes_no_estimate(ports):
    made = await estimating(ports)
    before = made.of(None).request(BODY, model=FLASH)
    ports.registry.calibrations.keep(FLASH, payload_of(Memory(FLASH, pending={"a": 1})))
    await refreshed(made)
    assert made.of(None).request(BODY, model=FLASH) == before


async def settle_twenty(made, client, *, factor):
    estimates = made.of(client)
    for at in range(20):
        estimate = estimates.request(BODY, model=FLASH)
        made.expect(f"lease-{at}", estimate, model=FLASH, client=client)
        tokens = sum(estimate.parts.values()) * factor
        made.settled(f"lease-{at}", {"promptTokenCount": round(tokens)})
    await made.refresh()


async def test_settlements_correct_the_next_estimates_of_that_client(ports):
    made = await estimating(ports)
    client = Client(7, "shop")
    before = made.of(client).request(BODY, model=FLASH)
    await settle_twenty(made, client, factor=1.1)
    after = made.of(client).request(BODY, model=FLASH)
    assert after.tokens == pytest.approx(1.1 * before.tokens, rel=0.02)
    assert made.of(None).request(BODY, model=FLASH) == before


async def test_a_new_calibration_begins_without_ratios(ports):
    made = await estimating(ports)
    await settle_twenty(made, None, factor=1.1)
    save(ports, Memory(FLASH, Calibration()))
    await refreshed(made)
    assert made.of(None).request(BODY, model=FLASH) == estimate_request(BODY, model=FLASH)


async def test_a_drift_is_logged_once_with_what_to_do(ports):
    made = await estimating(ports)
    await settle_twenty(made, None, factor=1.1)
    await settle_twenty(made, None, factor=1.1)
    (event,) = [each for each in ports.registry.events.read() if each.kind == "estimate.drift"]
    assert event.subject == FLASH
    assert event.detail["script"] == "arabic"
    assert "keypool probe --check" in event.reason


async def test_what_was_not_settled_is_forgotten_in_time(ports):
    made = await estimating(ports)
    estimate = made.of(None).request(BODY, model=FLASH)
    for at in range(MOST_OPEN + 10):
        made.expect(f"lease-{at}", estimate, model=FLASH, client=None)
    assert len(made._open) == MOST_OPEN
    made.settled("lease-0", {"promptTokenCount": 10**6})
    assert made._correcting._fresh == {}


@pytest.mark.parametrize(
    "usage",
    [None, {}, {"promptTokenCount": "many"}, {"promptTokenCount": 10**400}],
    ids=["nothing", "an empty one", "text", "more than a float can hold"],
)
async def test_a_settlement_without_a_count_teaches_nothing(ports, usage):
    made = await estimating(ports)
    made.expect("lease", made.of(None).request(BODY, model=FLASH), model=FLASH, client=None)
    made.settled("lease", usage)
    assert made._correcting._fresh == {}


async def test_requests_with_media_teach_nothing_of_text(ports):
    made = await estimating(ports)
    file = {"fileData": {"mimeType": "image/png", "fileUri": "u"}}
    body = {"contents": [{"parts": [{"text": TEXT}, file]}]}
    made.expect("lease", made.of(None).request(body, model=FLASH), model=FLASH, client=None)
    assert made._open == {}


# Exact counting.


def test_a_text_counts_by_chunks_as_it_counts_whole(tokenizer):
    counter = ChunkCounter(tokenizer)
    for probe in SHIPPED:
        for text in read_request(probe.body).texts:
            assert counter(text) == tokenizer(text)


def test_each_chunk_is_counted_once_while_it_is_remembered():
    counted = []

    def count(text):
        counted.append(text)
        return 1

    counter = ChunkCounter(count)
    assert counter("one two one two\n\nthree") == 6
    counter("one two")
    assert counted == ["one", " two", " one", "\n\n", "three"]


def test_only_so_many_chunks_are_remembered_and_no_long_ones():
    counter = ChunkCounter(len)
    for at in range(MOST_CHUNKS + 5):
        counter(f"{at}")
    assert len(counter._known) <= MOST_CHUNKS
    counter("x" * (LONGEST_CHUNK + 1))
    assert "x" * (LONGEST_CHUNK + 1) not in counter._known


def test_a_tokenizer_reproduces_its_own_counts(tokenizer, memory):
    assert reproduces(tokenizer, memory, SHIPPED)


def test_one_count_that_differs_disproves_it(tokenizer, memory):
    digest = SHIPPED[100].digest
    counts = {**memory.counts, digest: memory.counts[digest] + 1}
    assert not reproduces(tokenizer, Memory(FLASH, Calibration(), counts), SHIPPED)


@pytest.mark.parametrize(("texts", "proven"), [(0, False), (99, False), (100, True)])
def test_few_stored_counts_prove_nothing(tokenizer, memory, texts, proven):
    structural = [each for each in SHIPPED if each.kind == STRUCTURE]
    kept = [*SHIPPED[:texts], *structural]
    counts = {each.digest: memory.counts[each.digest] for each in kept}
    assert reproduces(tokenizer, Memory(FLASH, Calibration(), counts), SHIPPED) is proven


@pytest.fixture
async def exact_ports(tmp_path, model_file):
    with a_home(tmp_path / "exact", tokenizer=str(model_file)) as home:
        async with opened(home.settings) as found:
            yield found


async def test_a_proven_tokenizer_counts_exactly_and_others_are_estimated(
    exact_ports, memory, tokenizer, caplog
):
    save(exact_ports, memory)
    save(exact_ports, Memory("other", Calibration(), {SHIPPED[0].digest: 1}))
    with caplog.at_level(logging.WARNING):
        made = await estimating(exact_ports)
    found = made.of(None).request(BODY, model=FLASH)
    assert (found.method, found.tokens) == ("exact", tokenizer(TEXT) + 1)
    assert found.margin == pytest.approx(0.01 * found.tokens, abs=1)
    for model in ("other", "never-probed"):
        assert made.of(None).request(BODY, model=model).method == "estimator"
    assert "not exact for other" in caplog.text


async def test_a_request_with_tools_is_not_called_exact(exact_ports, memory):
    save(exact_ports, memory)
    made = await estimating(exact_ports)
    body = {**BODY, "tools": [{"functionDeclarations": [{"name": "f"}]}]}
    assert made.of(None).request(body, model=FLASH).method == "estimator"


async def test_a_tokenizer_that_cannot_be_read_stops_the_daemon(tmp_path):
    (tmp_path / "bad.model").write_bytes(b"no model")
    with a_home(tmp_path / "bad", tokenizer=str(tmp_path / "bad.model")) as home:
        async with opened(home.settings) as ports:
            await asyncio.to_thread(save, ports, Memory(FLASH, Calibration()))
            with pytest.raises(UsageError, match="no SentencePiece model"):
                await estimating(ports)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        pytest.param("gemini-9-flash", "no local tokenizer", id="one that it does not know"),
        pytest.param(FLASH, "cannot fetch the vocabulary", id="one whose vocabulary it lacks"),
    ],
)
async def test_a_model_that_google_cannot_count_for_is_estimated(
    tmp_path, monkeypatch, caplog, model, why
):
    with (
        nothing_fetched(monkeypatch, tmp_path),
        a_home(tmp_path / "google", tokenizer="google") as home,
    ):
        async with opened(home.settings) as ports:
            made = await estimating(ports)
            await asyncio.to_thread(save, ports, Memory(model, DOUBLED))
            await refreshed(made)
            assert made.calibration(model)[0] == DOUBLED
            assert made.of(None).request(BODY, model=model).method == "estimator"
    assert why in caplog.text


async def test_large_bodies_are_read_one_after_the_other_and_no_other_waits_for_them(ports):
    made, busy, go = await estimating(ports), threading.Event(), threading.Event()

    def first():
        busy.set()
        return go.wait(10)

    def second():
        return go.is_set()

    large = [asyncio.create_task(made.read(LARGE, None, work)) for work in (first, second)]
    await asyncio.to_thread(busy.wait, 10)
    assert [await made.read(size, None, threading.Event) for size in (0, LONG, LARGE - 1)]
    assert not large[1].done()
    go.set()
    assert await asyncio.gather(*large) == [True, True]


async def test_large_bodies_are_read_by_turns_of_their_clients(ports):
    made, go, order = await estimating(ports), threading.Event(), []

    def work(name):
        go.wait(10)
        order.append(name)

    many, few = Client(7, "many"), Client(8, "few")
    asked = [("m1", many), ("m2", many), ("m3", many), ("m4", many), ("f1", few), ("f2", few)]
    large = [asyncio.create_task(made.read(LARGE, who, work, name)) for name, who in asked]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*large)
    assert order == ["m1", "m2", "f1", "m3", "f2", "m4"]


async def test_a_large_body_whose_client_has_gone_is_not_read(ports):
    made, busy, go, late = await estimating(ports), *(threading.Event() for _ in range(3))

    def first():
        busy.set()
        return go.wait(10)

    ahead, gone = (asyncio.create_task(made.read(LARGE, None, work)) for work in (first, late.set))
    await asyncio.to_thread(busy.wait, 10)
    gone.cancel()
    await asyncio.wait({gone})
    go.set()
    assert await ahead
    assert await made.read(LARGE, None, late.is_set) is False
