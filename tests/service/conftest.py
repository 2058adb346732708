"""The adapters of a scratch home, with the embedded store."""

import pytest

from keypool_cli.service.ports import opened
from tests.support.daemon import a_home


@pytest.fixture
def home(tmp_path):
    with a_home(tmp_path / "home") as made:
        yield made


@pytest.fixture
async def ports(home):
    async with opened(home.settings) as found:
        yield found
