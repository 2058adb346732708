"""Where a probe's counts come from: upstream, what is stored, or a tokenizer of the user's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keypool_cli.core.accuracy import Probe
from keypool_cli.core.estimator import has_overhead
from keypool_cli.core.request_shape import read_request
from keypool_cli.errors import NotFoundError
from keypool_cli.service.ports import Ports
from keypool_cli.service.probing import UPSTREAM
from keypool_cli.service.probing_count import Counting, Heard
from keypool_cli.service.probing_memory import recall


@dataclass(frozen=True, slots=True)
class Upstream:
    """Counts through keys of a pool; None: through any key."""

    counting: Counting
    pool: str | None
    name: str = UPSTREAM

    async def count(self, probes: Sequence[Probe], *, model: str, heard: Heard) -> None:
        """Ask upstream for every probe."""
        await self.counting.count(probes, pool=self.pool, model=model, heard=heard)


@dataclass(frozen=True, slots=True)
class Stored:
    """The counts of the model's last probe."""

    ports: Ports
    name: str = "stored"

    async def count(self, probes: Sequence[Probe], *, model: str, heard: Heard) -> None:
        """Tell what is stored. Raises NotFoundError where nothing of these samples is."""
        stored = (await recall(self.ports, model)).counts
        known = [each for each in probes if each.digest in stored]
        if not known:
            raise NotFoundError(
                f"no counts of these samples are stored for {model}",
                hint=f"count them: keypool probe --model {model}; "
                "or measure against a tokenizer: keypool probe --offline --tokenizer FILE",
            )
        for each in known:
            heard(each, stored[each.digest])


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer of the user's, with what contents and instructions cost beside their text.

    Declarations of tools are counted by upstream in a form of its own: they are left out.
    """

    count_text: Callable[[str], int]
    name: str = "tokenizer"

    async def count(self, probes: Sequence[Probe], *, model: str, heard: Heard) -> None:
        """Count the texts of every probe without tools."""
        extra = int(has_overhead(model))
        for each in probes:
            shape = read_request(each.body)
            if not shape.tools:
                texts = sum(map(self.count_text, shape.texts))
                heard(each, texts + extra * (shape.contents + shape.systems))
