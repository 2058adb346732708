"""Lease ids: unguessable, and naming their model."""

import base64
import subprocess
import sys

import pytest

from keypool_cli.errors import NotFoundError
from keypool_cli.service.lease_ids import model_of, new_lease_id


@pytest.mark.parametrize(
    "model", ["gemini-2.5-flash", "tunedModels/mine", "a b%c~d.e:f?g#h", "نموذج", "..", "x" * 200]
)
def test_an_id_names_its_model_in_letters_that_need_no_escape(model):
    lease_id = new_lease_id(model)
    assert model_of(lease_id) == model
    assert set(lease_id) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"
    )


def test_an_id_holds_at_least_128_random_bits():
    ids = {new_lease_id("m").partition(".")[0] for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(base64.urlsafe_b64decode(each)) >= 16 for each in ids)


FORKING = """
import os
from keypool_cli.service.lease_ids import new_lease_id

new_lease_id("m")
child = os.fork()
ids = [new_lease_id("m") for _ in range(1000)]
if child:
    os.waitpid(child, 0)
print(*ids)
"""


def test_a_forked_process_makes_none_of_its_parents_ids():
    # A process of its own: this one has threads, and those that have must not fork.
    run = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, check=True, text=True
    )
    assert len(set(run.stdout.split())) == 2000


@pytest.mark.parametrize("text", ["", "x", "x.", "no-dot"])
def test_what_is_no_id_is_no_lease(text):
    with pytest.raises(NotFoundError):
        model_of(text)
