"""A daemon in front of a simulator, and pools whose projects both of them know.

with a_proxy(tmp_path) as proxy:
    with proxy.pool() as pool:
        pool.add(rpm=5)
        pool.generate()
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.support.daemon import FLASH, Daemon, Home, a_home, eventually, secret_of, unique
from tests.support.simulator import Simulator, simulator

GENERATE = f"/v1beta/models/{FLASH}:generateContent"
STREAM = f"/v1beta/models/{FLASH}:streamGenerateContent"
COUNT = f"/v1beta/models/{FLASH}:countTokens"


def a_body(text: str = "hello there", **more: Any) -> dict[str, Any]:
    """A generateContent body."""
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}


class ProxyPool:
    """A pool of a test's own, with a client that uses it as Gemini."""

    def __init__(self, proxy: "Proxy") -> None:
        self.proxy, self.name = proxy, unique("pool")
        self.http = proxy.client(headers={"x-keypool-pool": self.name})

    def close(self) -> None:
        """Close the client's connections."""
        self.http.close()

    def add(
        self,
        *,
        limits: Mapping[str, int] | None = None,
        keys: int = 1,
        priority: int | None = None,
        **upstream: int,
    ) -> str:
        """A project: ``upstream`` are the limits the simulator keeps, ``limits`` keypool's."""
        name = unique("project")
        names = [f"{name}-key{number}" for number in range(keys)]
        self.proxy.sim.add_project(
            name, [secret_of(each) for each in names], models={"*": upstream}
        )
        told: dict[str, Any] = {"rpm": 1000} if limits is None else dict(limits)
        home = self.proxy.home
        home.add_project(name, keys=names, pool=self.name, priority=priority, **told)
        # Asked for its status, the daemon looks at the registry first.
        self.proxy.daemon.project(name, self.name)
        return name

    def post(self, path: str, body: object = None, **headers: str) -> httpx2.Response:
        """One call; header names are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(path, json=a_body() if body is None else body, headers=named)

    def generate(self, **headers: str) -> httpx2.Response:
        """One generateContent."""
        return self.post(GENERATE, **headers)

    def model(self, project: str) -> dict[str, Any]:
        """How the daemon sees a project's model."""
        return self.proxy.daemon.model(project, self.name)

    def key_states(self, project: str) -> list[str]:
        """How the daemon sees a project's keys."""
        keys = self.proxy.daemon.project(project, self.name)["keys"]
        return [each["state"] for each in keys]

    def settled(self, project: str, *, tokens: int) -> None:
        """Wait until nothing is in flight; exactly so many tokens must then be booked."""
        eventually(lambda: self.model(project)["leases"] == 0)
        assert self.model(project)["tpm"]["used"] == tokens

    def used(self, project: str) -> dict[str, Any]:
        """What the simulator saw of a project."""
        return self.proxy.sim.project(project)


class Proxy:
    """A daemon, the simulator behind it, and their home."""

    def __init__(self, home: Home, daemon: Daemon, sim: Simulator | None = None) -> None:
        self.home, self.daemon, self._sim = home, daemon, sim

    @property
    def sim(self) -> Simulator:
        """The simulator; only where there is one."""
        assert self._sim is not None, "another upstream"
        return self._sim

    @contextmanager
    def pool(self) -> Iterator[ProxyPool]:
        """A new pool."""
        made = ProxyPool(self)
        try:
            yield made
        finally:
            made.close()

    def client(self, token: str | None = None, **options: Any) -> httpx2.Client:
        """A client that sends its token as Gemini's clients send their key."""
        headers = {"x-goog-api-key": token or self.home.token, **options.pop("headers", {})}
        return httpx2.Client(
            base_url=self.daemon.url, headers=headers, timeout=30, trust_env=False, **options
        )


@contextmanager
def a_proxy(
    path: Path, *, world: Mapping[str, Any] | None = None, **settings: Any
) -> Iterator[Proxy]:
    """A daemon in front of a simulator of ``world``, or of an empty one."""
    with (
        simulator(world or {"projects": {}, "models": [FLASH]}) as sim,
        a_home(path, upstream=sim.url, **settings) as home,
        home.daemon() as daemon,
    ):
        yield Proxy(home, daemon, sim)
