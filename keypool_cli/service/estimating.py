"""A daemon's estimates: the model's calibration, corrected by what its traffic cost so far."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache, partial
from socket import gethostname
from typing import Final, ParamSpec, Protocol, TypeVar

import msgspec

from keypool_cli.core.correction import Evidence, corrected, observed
from keypool_cli.core.estimator import (
    DEFAULT,
    Calibration,
    Estimate,
    estimate_request,
    estimate_text,
)
from keypool_cli.core.known_sizes import with_sizes
from keypool_cli.core.model import Client, Pool
from keypool_cli.core.usage import is_count
from keypool_cli.errors import UnreachableError, UsageError
from keypool_cli.registry.resources import Resource
from keypool_cli.registry.values import Actor
from keypool_cli.samples import load_shipped
from keypool_cli.service.correcting import EVERY_S, Correcting
from keypool_cli.service.correcting_store import Kind, Ratios
from keypool_cli.service.estimating_exact import ChunkCounter, reproduces
from keypool_cli.service.ports import Ports
from keypool_cli.service.probing_memory import Memory, recall_all
from keypool_cli.service.turns import Room
from keypool_cli.service.verdicts import DAEMON
from keypool_cli.service.watch import Watch
from keypool_cli.upstream.count_local import GOOGLE, open_tokenizer
from keypool_cli.upstream.names import meant

MOST_OPEN: Final = 20_000
"""Leases whose estimates are remembered until they are settled; the oldest go first."""

LONG: Final = 32 * 1024
"""Bytes of a body from which on it is read in a thread, for other calls not to wait."""

LARGE: Final = 1024 * 1024
"""Bytes from which on bodies are read one after the other, their clients by turns: decoded, one can
take many times its size."""

_UNTAUGHT: Final = frozenset({"cached", "media"})
"""Parts that are guessed from little: requests with them teach nothing of text."""

DRIFT_EVENT: Final = "estimate.drift"

_SHIPPED: Final = (DEFAULT, 0)

log = logging.getLogger("keypool.estimates")

_kind = lru_cache(maxsize=1024)(Kind)

P = ParamSpec("P")
T = TypeVar("T")


class Estimates(Protocol):
    """Estimates for one client's calls; both may run in a thread."""

    def request(self, body: Mapping[str, object], *, model: str) -> Estimate:
        """Input tokens of a whole request."""
        ...

    def text(self, text: str, *, model: str) -> Estimate:
        """Input tokens of one text."""
        ...


class Guess(msgspec.Struct, frozen=True):
    """What was expected of one lease: tokens of its text, and of everything else."""

    kind: Kind
    text: float
    rest: float


class Estimating:
    """Estimates requests for one daemon, and learns from their settlement."""

    def __init__(self, ports: Ports, watch: Watch) -> None:
        self._ports = ports
        self._watch = watch
        self._correcting = Correcting(Ratios(ports.engine.store), self._tell)
        self._calibrations: Mapping[str, tuple[Calibration, int]] = {}
        self._revision = -1
        self._open: dict[str, Guess] = {}
        self._exact: dict[str, ChunkCounter] = {}
        self._tokenizers: dict[str, ChunkCounter] = {}
        self._lane = Room(1)
        # Whoever hangs up gives the lane back, but not the thread before its work is done.
        self._large = ThreadPoolExecutor(max_workers=1)

    async def read(
        self,
        size: int,
        client: Client | None,
        work: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Do the work of reading a client's body of so many bytes where it holds nobody up."""
        if size < LONG:
            return work(*args, **kwargs)
        running, reading = asyncio.get_running_loop(), partial(work, *args, **kwargs)
        if size < LARGE:
            return await running.run_in_executor(None, reading)
        await self._lane.take(1, client.id if client else 0)
        try:
            return await running.run_in_executor(self._large, reading)
        finally:
            self._lane.give(1)

    def of(self, client: Client | None) -> Estimates:
        """Estimates for a client's calls."""
        return _OfClient(self, client)

    async def sized(
        self, estimate: Estimate, *, model: str, pool: Pool, client: Client | None
    ) -> Estimate:
        """An estimate that counts what it names by its size, where that is known and the client's."""
        names = {each.name: meant(each.name) for each in estimate.unknown}
        if not names:
            return estimate
        found: Sequence[Resource] = ()
        with suppress(UnreachableError):  # then it stays guessed
            find = self._ports.registry.resources.find
            found = await self._ports.call(find, list(filter(None, names.values())))
        sizes = {
            each.name: each.size
            for each in found
            if each.project_id in pool.project_ids and _is_open(each, pool, client)
        }
        known = {name: sizes[root] for name, root in names.items() if root in sizes}
        return with_sizes(estimate, known, model=model)

    def expect(
        self, lease_id: str, estimate: Estimate, *, model: str, client: Client | None
    ) -> None:
        """A lease was granted on an estimate: its settlement will show how good that was."""
        guess = self.guess(estimate, model=model, client=client)
        if guess is None:
            return
        self._open[lease_id] = guess
        if len(self._open) > MOST_OPEN:
            del self._open[next(iter(self._open))]

    def settled(self, lease_id: str, usage: Mapping[str, object] | None) -> None:
        """A lease was settled; without usage there is nothing to learn."""
        guess = self._open.pop(lease_id, None)
        if guess is not None and usage is not None:
            self.learn(guess, usage)

    def guess(self, estimate: Estimate, *, model: str, client: Client | None) -> Guess | None:
        """What a call's usage can be held against; None where it would teach nothing."""
        parts = estimate.parts
        if not parts or not _UNTAUGHT.isdisjoint(parts):
            return None
        kind = self._kind(model, self.calibration(model)[1], client, estimate)
        return Guess(kind, estimate.text, sum(parts.values()) - estimate.text)

    def learn(self, guess: Guess, usage: Mapping[str, object]) -> None:
        """Upstream told what a call cost."""
        tokens = usage.get("promptTokenCount")
        if not is_count(tokens):
            return
        shown = observed(guess.text, tokens - guess.rest)
        if shown is not None:
            self._correcting.learn(guess.kind, shown)

    def exact(self, model: str) -> ChunkCounter | None:
        """The user's tokenizer, where it is proven to be the model's."""
        return self._exact.get(model)

    async def run(self) -> None:
        """Follow the registry's calibrations and the ratios until cancelled."""
        while True:
            with suppress(UnreachableError):
                await self.refresh()
            await asyncio.sleep(EVERY_S)

    async def refresh(self) -> None:
        """Take over new calibrations; write and read ratios.

        Raises UsageError where the user's tokenizer cannot be read.
        """
        revision = self._watch.configured.revision
        if revision != self._revision:
            found = await recall_all(self._ports)
            self._calibrations = {
                model: (each.calibration, each.at_ms)
                for model, each in found.items()
                if each.calibration is not None
            }
            await asyncio.to_thread(self._prove, found)
            self._revision = revision
        await self._correcting.tick()

    def _prove(self, found: Mapping[str, Memory]) -> None:
        """Use the user's tokenizer for the models whose stored counts it reproduces."""
        name = self._ports.settings.tokenizer
        if name is None:
            return
        if name != GOOGLE:
            # Not first when a probe is saved: that it cannot be read would end a serving daemon.
            self._tokenizer(name, "")
        probes = load_shipped()
        proven = {}
        for model, memory in found.items():
            why = ""
            try:
                counter = self._tokenizer(name, model)
                if reproduces(counter, memory, probes):
                    proven[model] = counter
                    continue
            except (
                UsageError,
                UnreachableError,
            ) as err:  # google-genai's is another for each model
                why = f" ({err})"
            log.warning("%s is not exact for %s: estimated instead%s", name, model, why)
        self._exact = proven

    def _tokenizer(self, name: str, model: str) -> ChunkCounter:
        # google-genai has one for each model; a file is the same for all.
        known = model if name == GOOGLE else ""
        if known not in self._tokenizers:
            self._tokenizers[known] = ChunkCounter(open_tokenizer(name, model=model))
        return self._tokenizers[known]

    def calibration(self, model: str) -> tuple[Calibration, int]:
        """The calibration of a model, or of the one it is counted as, and its version."""
        known = self._calibrations
        found = known.get(model) or known.get(self._watch.configured.bucket(model))
        return found or _SHIPPED

    def _kind(self, model: str, version: int, client: Client | None, estimate: Estimate) -> Kind:
        return _kind(model, version, client.id if client else 0, estimate.script)

    def correct(
        self, estimate: Estimate, *, model: str, version: int, client: Client | None
    ) -> Estimate:
        """An estimate with what is known of its kind."""
        kind = self._kind(model, version, client, estimate)
        return corrected(estimate, self._correcting.evidence(kind))

    async def _tell(self, kind: Kind, evidence: Evidence) -> None:
        """Log the move, where operators see why, and what to do."""
        client = self._watch.configured.catalog.clients.get(kind.client)
        moved = evidence.ratio - 1
        detail = {
            "client": client.name if client else None,
            "script": kind.script,
            "ratio": round(evidence.ratio, 3),
            "requests": evidence.requests,
        }
        reason = (
            f"live traffic costs {abs(moved):.1%} {'more' if moved > 0 else 'less'} than estimated; "
            f"see: keypool probe --check --model {kind.model}"
        )
        log.warning("%s, %s: %s", kind.model, kind.script, reason)
        by = Actor(DAEMON, gethostname(), reason)
        add = self._ports.registry.events.add
        await self._ports.call(add, DRIFT_EVENT, kind.model, by=by, detail=detail)


def _is_open(resource: Resource, pool: Pool, client: Client | None) -> bool:
    """Whether its size is a client's to know."""
    return client is None or pool.shared_resources or resource.client_id in {None, client.id}


class _OfClient(msgspec.Struct, frozen=True):
    estimating: Estimating
    client: Client | None

    def request(self, body: Mapping[str, object], *, model: str) -> Estimate:
        calibration, version = self.estimating.calibration(model)
        exact = self.estimating.exact(model)
        estimate = estimate_request(body, model=model, calibration=calibration, count_exactly=exact)
        if exact is not None:
            return estimate
        return self.estimating.correct(estimate, model=model, version=version, client=self.client)

    def text(self, text: str, *, model: str) -> Estimate:
        calibration, version = self.estimating.calibration(model)
        estimate = estimate_text(text, calibration=calibration)
        return self.estimating.correct(estimate, model=model, version=version, client=self.client)
