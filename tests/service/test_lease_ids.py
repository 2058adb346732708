"""Lease ids: unguessable, and naming their model."""

import base64
import os

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


def test_a_forked_process_makes_none_of_its_parents_ids():
    new_lease_id("m")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, " ".join(new_lease_id("m") for _ in range(10)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = set(os.read(reading, 10_000).decode().split())
    assert len(theirs) == 10
    assert not theirs & {new_lease_id("m") for _ in range(1000)}


@pytest.mark.parametrize("text", ["", "x", "x.", "no-dot"])
def test_what_is_no_id_is_no_lease(text):
    with pytest.raises(NotFoundError):
        model_of(text)
