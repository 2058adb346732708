"""What answers tell of the size of what they describe."""

import json

import pytest

from keypool_cli.core.known_sizes import UNTOLD, Size
from keypool_cli.upstream.told_sizes import size_in

FILE = {"name": "files/f", "mimeType": "video/mp4", "sizeBytes": "12345"}


@pytest.mark.parametrize(
    ("answer", "size"),
    [
        ({"file": FILE}, Size(None, "video/mp4", 12345)),
        (
            {**FILE, "videoMetadata": {"videoDuration": "12.5s"}},
            Size(None, "video/mp4", 12345, 12.5),
        ),
        ({"name": "cachedContents/c", "usageMetadata": {"totalTokenCount": 70_000}}, Size(70_000)),
        ({"id": "v1_x", "usage": {"total_tokens": 321}}, Size(321)),
        ({"name": "batches/b", "metadata": {"@type": "x"}}, UNTOLD),
        ({"usageMetadata": {"totalTokenCount": -5}}, UNTOLD),
        ({"usageMetadata": {"totalTokenCount": 10**15}}, UNTOLD),
        ({"sizeBytes": "many"}, UNTOLD),
        ({**FILE, "sizeBytes": "-1"}, Size(None, "video/mp4")),
        ([], UNTOLD),
    ],
)
def test_a_size_is_what_upstream_tells_and_nothing_odd(answer, size):
    assert size_in(json.dumps(answer).encode()) == size


@pytest.mark.parametrize("answer", [b"", b"\xff", b"<html>", b"[" * 100_000])
def test_no_answer_breaks_it(answer):
    assert size_in(answer) == UNTOLD
