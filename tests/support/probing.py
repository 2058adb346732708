"""A simulator that counts the shipped samples as a real vocabulary does."""

from contextlib import contextmanager

import msgspec

from keypool_cli.core.accuracy import STRUCTURE
from keypool_cli.core.request_shape import read_request
from keypool_cli.samples import load_shipped
from tests.support.counting import counted_by
from tests.support.daemon import FLASH
from tests.support.simulator import simulator


def write_counts(path, vocabulary):
    """A file of true counts for the simulator: the texts of the samples, without overhead."""
    with path.open("wb") as file:
        for each in counted_by(vocabulary, load_shipped()):
            if each.probe.kind != STRUCTURE:
                (text,) = read_request(each.probe.body).texts
                file.write(msgspec.json.encode({"text": text, "tokens": each.tokens - 1}) + b"\n")
    return path


@contextmanager
def counting_simulator(folder, vocabulary, *, keys, **world):
    """A simulator with one project a key, which counts with a vocabulary."""
    counts = write_counts(folder / f"{vocabulary}.jsonl", vocabulary)
    projects = {
        name: {"keys": [secret], "models": {FLASH: {}, "*": {}}} for name, secret in keys.items()
    }
    with simulator({"projects": projects, "counts": str(counts), **world}) as running:
        yield running
