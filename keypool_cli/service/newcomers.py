"""Models that nobody configured: any client may ask for some, none for ever more of them.

Every model that is asked for is loaded into the live store with all projects, about 400 bytes
each, until nobody has used it for a day; and it is shown to operators.
"""

from collections import defaultdict
from time import monotonic

from keypool_cli.core.model import Client
from keypool_cli.errors import NotPermittedError
from keypool_cli.service.configured import Configured

MOST, LEAST = 100, 10
"""Such models a client may ask for in a day, of one daemon: in small registries, and in large."""

MOST_RECORDS = 1_000_000
"""Models times projects that one client may load."""

_DAY_S = 86_400.0


class Newcomers:
    """Remembers for a day who asked for what."""

    def __init__(self) -> None:
        self._asked: dict[int, set[str]] = defaultdict(set)
        self._until = 0.0

    def check(self, client: Client | None, model: str, configured: Configured) -> None:
        """Raise NotPermittedError for a model too many that no quota, table or alias names."""
        if model in configured.known_models:
            return
        if monotonic() > self._until:
            self._asked.clear()
            self._until = monotonic() + _DAY_S
        asked = self._asked[client.id if client is not None else 0]
        if model not in asked and len(asked) >= _most(len(configured.catalog.projects)):
            raise NotPermittedError(
                f"too many models were asked for today that no quota names: {model!r} is not served",
                hint="an operator may name it: keypool quota set --model MODEL --rpm N",
            )
        asked.add(model)


def _most(projects: int) -> int:
    return max(LEAST, min(MOST, MOST_RECORDS // max(projects, 1)))
