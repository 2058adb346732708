"""A probe or check of several models, one after another, with a bar where a person watches."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from keypool_cli.cli.progress import progress
from keypool_cli.core.accuracy import Probe
from keypool_cli.core.drift import choose_subset
from keypool_cli.errors import NotFoundError
from keypool_cli.registry.values import Actor
from keypool_cli.service import probing
from keypool_cli.service.ports import Ports
from keypool_cli.service.probing_count import counting
from keypool_cli.service.probing_report import CheckReport, ProbeReport
from keypool_cli.service.probing_sources import Stored, Tokenizer, Upstream
from keypool_cli.upstream.count_local import open_tokenizer

SourceOf = Callable[[str], probing.Source]
"""Where the counts of a model come from."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for. models: none for those in use.

    words: its other options, as a command that repairs must repeat them.
    """

    models: Sequence[str]
    probes: Sequence[Probe]
    pool: str | None = None
    offline: bool = False
    tokenizer: str | None = None
    every: bool = False
    words: str = ""


async def probe(ports: Ports, asked: Asked, by: Actor) -> tuple[list[ProbeReport], list[str]]:
    """Calibrate every model that is asked for; and what is told of those that cannot be counted.

    A model that nobody named, but that is in use, may be one that upstream counts nothing for.
    """
    found: list[ProbeReport] = []
    left_out: list[str] = []
    models = asked.models or await probing.models_to_probe(ports)
    async with _sources(ports, asked) as source_of:
        for at, model in enumerate(models, 1):
            with progress(f"counting for {model}", len(asked.probes), at_least=1) as done:
                job = probing.Job(model, source_of(model), asked.probes, progress=done)
                try:
                    found.append(await probing.probe(ports, job, by=by))
                except NotFoundError as err:
                    if asked.models or (at == len(models) and not found):
                        raise
                    left_out.append(f"{model} is left out: {err}")
    return found, left_out


async def check(ports: Ports, asked: Asked) -> list[CheckReport]:
    """Check every model that is asked for."""
    found = []
    recounted = asked.probes if asked.every or asked.offline else choose_subset(asked.probes)
    async with _sources(ports, asked) as source_of:
        for model in asked.models or await probing.models_to_check(ports):
            with progress(f"counting for {model}", len(recounted), at_least=1) as done:
                job = probing.Job(
                    model, source_of(model), asked.probes, recounted, done, asked.words
                )
                found.append(await probing.check(ports, job))
    return found


@asynccontextmanager
async def _sources(ports: Ports, asked: Asked) -> AsyncIterator[SourceOf]:
    if asked.tokenizer is not None:
        yield partial(_tokenizer, asked.tokenizer)
    elif asked.offline:
        yield lambda _: Stored(ports)
    else:
        async with counting(ports) as upstream:
            yield lambda _: Upstream(upstream, asked.pool)


def _tokenizer(name: str, model: str) -> Tokenizer:
    return Tokenizer(open_tokenizer(name, model=model))
