"""Counters of several workers, added up: a scrape reaches one of them and must tell of all.

Each worker writes what it has counted into a file of its own, made before the fork and without a
name. What was written never falls, so neither does the sum, whichever worker is asked.
"""

import os
import struct
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

import msgspec

from keypool_cli.service.counters import Counts, Histogram

EVERY_S = 1.0
"""How old another worker's word may be."""

_HEAD = struct.Struct("<II")
_ATTEMPTS = 20
_HISTOGRAMS = ("lease_s", "settle_s", "proxied_s")


class Tally(msgspec.Struct, array_like=True):
    """One worker's counters, flat. uses: a name's four parts and its four counts."""

    uses: list[tuple[int, int, int, str, int, int, int, int]]
    refused: dict[str, int]
    verdicts: dict[str, int]
    answers: list[tuple[str, int, int]]
    histograms: list[tuple[list[int], float]]
    waiting: int


_read = msgspec.msgpack.Decoder(Tally)


@dataclass(frozen=True, slots=True)
class Seat:
    """One worker's place among all of them. files: descriptors, one for each worker."""

    files: tuple[int, ...]
    index: int = 0

    def write(self, tally: Tally) -> None:
        """Tell the others."""
        data = msgspec.msgpack.encode(tally)
        os.pwrite(self.files[self.index], _HEAD.pack(len(data), crc32(data)) + data, 0)

    def read(self) -> list[Tally]:
        """Every worker's latest word; one that is just being written is read again."""
        found = (_read_whole(each) for each in self.files)
        return [each for each in found if each is not None]


def seats(workers: int) -> list[Seat]:
    """A place for each worker; to be called before they are forked."""
    files = tuple(_unnamed_file() for _ in range(workers))
    return [Seat(files, index) for index in range(workers)]


def _unnamed_file() -> int:
    with tempfile.TemporaryFile() as made:
        return os.dup(made.fileno())


def _read_whole(file: int) -> Tally | None:
    for _ in range(_ATTEMPTS):
        size = os.fstat(file).st_size
        data = os.pread(file, size, 0)
        if len(data) < _HEAD.size:
            return None
        length, check = _HEAD.unpack_from(data)
        told = data[_HEAD.size : _HEAD.size + length]
        if crc32(told) == check:
            return _read.decode(told)
    return None


def tally_of(counts: Counts, waiting: int) -> Tally:
    """The counters as they can be written."""
    return Tally(
        uses=[
            (*name, use.granted, use.reserved, use.settled, use.settlements)
            for name, use in counts.uses.items()
        ],
        refused=counts.refused,
        verdicts=counts.verdicts,
        answers=[(via, status, number) for (via, status), number in counts.answers.items()],
        histograms=[_flat(getattr(counts, name)) for name in _HISTOGRAMS],
        waiting=waiting,
    )


def added_up(tallies: Iterable[Tally]) -> tuple[Counts, int]:
    """The counters of all, and how many demands wait."""
    counts, waiting = Counts(), 0
    for tally in tallies:
        waiting += tally.waiting
        counts.refused.update(tally.refused)
        counts.verdicts.update(tally.verdicts)
        for via, status, number in tally.answers:
            counts.answers[via, status] += number
        _add_uses(counts, tally)
        for name, (buckets, sum_s) in zip(_HISTOGRAMS, tally.histograms, strict=True):
            histogram: Histogram = getattr(counts, name)
            histogram.buckets = [a + b for a, b in zip(histogram.buckets, buckets, strict=True)]
            histogram.sum_s += sum_s
    return counts, waiting


def _add_uses(counts: Counts, tally: Tally) -> None:
    for client, project, key, model, granted, reserved, settled, settlements in tally.uses:
        use = counts.use((client, project, key, model))
        use.granted += granted
        use.reserved += reserved
        use.settled += settled
        use.settlements += settlements


def _flat(histogram: Histogram) -> tuple[list[int], float]:
    return histogram.buckets, histogram.sum_s
