"""What the examples in the help speak of."""

import pytest

from tests.support.examples import copy_home, make_home, world
from tests.support.simulator import simulator


@pytest.fixture(scope="module")
def example_home(tmp_path_factory):
    """A home in which everything exists that the examples speak of."""
    return make_home(tmp_path_factory.mktemp("examples") / "home")


@pytest.fixture
def home(example_home, tmp_path, monkeypatch):
    """A copy of that home, and the files that the examples read."""
    return copy_home(example_home, tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def gemini():
    """A simulator that knows the examples' keys."""
    with simulator(world()) as running:
        yield running
