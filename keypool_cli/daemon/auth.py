"""Who calls, and what they may do."""

import re
import time
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address

import msgspec

from keypool_cli.core.model import DEFAULT_POOL, Client, Pool
from keypool_cli.core.natural import natural
from keypool_cli.daemon.problems import UnauthenticatedError
from keypool_cli.errors import NotFoundError, NotPermittedError, UsageError
from keypool_cli.http.rsgi import Headers, Scope
from keypool_cli.registry.clients import token_hash
from keypool_cli.registry.names import is_model
from keypool_cli.service.configured import Configured
from keypool_cli.service.watch import Watch

_MOST_NAMED = 5
_BEFORE_TOKEN = len("Bearer ")
_LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain"})
_BRACKETED = re.compile(r"\[([^\]]*)\](?::\d*)?")
_WITH_PORT = re.compile(r"([^:@]*):\d*")


class Caller(msgspec.Struct, frozen=True):
    """Who calls. client: None where the daemon runs without authentication."""

    client: Client | None

    def require(self, scope: str) -> None:
        """Raise NotPermittedError unless the caller has a scope."""
        if self.client is not None and scope not in self.client.scopes:
            raise NotPermittedError(
                f"client {self.client.name!r} lacks the scope {scope!r}",
                hint=f"its scopes: {', '.join(self.client.scopes)}",
            )

    def pool(self, configured: Configured, name: str | None) -> Pool:
        """The pool a call is about: the one named, else the client's only one, else ``main``.

        Raises NotPermittedError outside the client's grant, NotFoundError for an unknown pool.
        """
        granted = self.client.pools if self.client is not None else None
        if name is None:
            return self._usual_pool(configured, granted)
        if granted is not None and name not in granted:
            raise NotPermittedError(f"pool {name!r} is outside this client's grant")
        return configured.pool(name)

    def _usual_pool(self, configured: Configured, granted: Sequence[str] | None) -> Pool:
        """The pool of a call that names none; the errors say which could be named."""
        if granted is not None and len(granted) == 1:
            return configured.pool(granted[0])
        which = f"no pool is named, and {DEFAULT_POOL!r} is"
        if granted is not None and DEFAULT_POOL not in granted:
            told = f"{which} outside this client's grant"
            raise NotPermittedError(told, hint=_naming(granted))
        if DEFAULT_POOL not in configured.pools:
            raise NotFoundError(f"{which} not there", hint=_naming([*configured.pools]))
        return configured.pools[DEFAULT_POOL]

    def known_pool(self, configured: Configured, name: str | None) -> Pool | None:
        """The same, or None for a pool that is not known (yet)."""
        try:
            return self.pool(configured, name)
        except NotFoundError:
            return None

    def known_pools(self, configured: Configured) -> list[str] | None:
        """The pools of the caller's grant that exist; None means every pool."""
        granted = self.client.pools if self.client is not None else None
        return None if granted is None else [each for each in granted if each in configured.pools]

    def check_model(self, model: str) -> None:
        """Raise NotPermittedError for a model outside the client's grant.

        Raises UsageError for what no model can be named: it would be shown to operators.
        """
        if not _is_model(model):
            raise UsageError(f"{model!r} is no model's name")
        models = self.client.models if self.client is not None else None
        if models is not None and model not in models:
            raise NotPermittedError(f"model {model!r} is outside this client's grant")

    def check_every_model(self, why: str) -> None:
        """Raise NotPermittedError for a client that may use only some, where any might be used."""
        if self.client is not None and self.client.models is not None:
            raise NotPermittedError(f"{why}, and this client's grant is for some models only")


def _naming(pools: Sequence[str]) -> str:
    if not pools:
        return "to store a key: keypool add NAME --project PROJECT"
    names = [repr(each) for each in sorted(pools, key=natural)]
    more = ["…"] if len(names) > _MOST_NAMED else []
    return f"name one of: {', '.join([*names[:_MOST_NAMED], *more])}"


_is_model = lru_cache(maxsize=1024)(is_model)


async def pool_of(caller: Caller, watch: Watch, name: str | None) -> Pool:
    """The caller's pool, also one made a moment ago. Raises what :meth:`Caller.pool` does."""
    found = caller.known_pool(watch.configured, name)
    if found is None:
        await watch.refresh()
        found = caller.pool(watch.configured, name)
    return found


class Auth:
    """Verifies tokens against the registry as it is known now.

    heard: ids of clients that called; whoever writes them down takes them out.
    """

    def __init__(self, watch: Watch, *, required: bool, near: bool = False) -> None:
        """near: only callers of this machine can reach us, so that metrics need no token."""
        self._watch = watch
        self._required = required
        self._near = near
        self._seen: Configured | None = None
        self._clients: dict[str, Client] = {}
        self.heard: set[int] = set()

    def caller(self, scope: Scope, headers: Headers | None = None) -> Caller:
        """Identify the caller. Raises UnauthenticatedError or NotPermittedError.

        headers: the scope's, where they have been asked for already.
        """
        if not self._required:
            _refuse_rebinding(scope)
            return Caller(None)
        token = _bearer(headers or scope.headers)
        if not token:
            raise UnauthenticatedError(
                "a client token is needed", hint="send Authorization: Bearer kp_…"
            )
        return Caller(self.client(token))

    def knows(self, headers: Headers) -> bool:
        """Whether a client of this token has called already; any thread may ask.

        Until then its body is waited for by whoever has checked the token: nobody else's may
        keep a connection. Asked before each call, so looking no closer than it must: a token that
        is written otherwise is checked first, too.
        """
        known = self._clients
        return (
            not self._required
            or (headers.get("authorization") or "")[_BEFORE_TOKEN:] in known
            or headers.get("x-goog-api-key") in known
        )

    def holder(self, scope: Scope, token: str | None) -> Caller:
        """Identify the caller by a token taken from where Gemini's clients put their key."""
        if not self._required:
            _refuse_rebinding(scope)
            return Caller(None)
        if not token:
            raise UnauthenticatedError(
                "a client token is needed", hint="use it as the API key: kp_…"
            )
        return Caller(self.client(token))

    def reader(self, scope: Scope) -> Caller:
        """Identify a caller that may read what concerns everyone."""
        caller = self.caller(scope)
        caller.require("read")
        return caller

    def check_scraper(self, scope: Scope) -> None:
        """Let in whoever may read metrics: callers of this machine, whatever token they bring."""
        if self._near and scope.headers.get("authorization") is None:
            _refuse_rebinding(scope)
        elif not (self._near and _is_local(scope)):
            self.reader(scope)

    def client(self, token: str) -> Client:
        """The client of a token. Raises UnauthenticatedError when it is unknown, revoked, expired."""
        client = self._known(token)
        if client is None or _expired(client):
            raise UnauthenticatedError(
                "this client token is not valid", hint="make one with: keypool client add NAME"
            )
        self.heard.add(client.id)
        return client

    def _known(self, token: str) -> Client | None:
        configured = self._watch.configured
        if configured is not self._seen:
            self._seen, self._clients = configured, {}
        found = self._clients.get(token)
        if found is None and (found := configured.client_of(token_hash(token))) is not None:
            self._clients[token] = found
        return found


def _bearer(headers: Headers) -> str:
    """The bearer token; empty where there is none."""
    kind, _, token = (headers.get("authorization") or "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _expired(client: Client) -> bool:
    return client.expires_at_ms is not None and client.expires_at_ms <= time.time() * 1000


def _refuse_rebinding(scope: Scope) -> None:
    """Without tokens, a web page must not be able to reach us through a name it controls."""
    if not _is_local(scope):
        raise NotPermittedError("without authentication only loopback callers are served")


def _is_local(scope: Scope) -> bool:
    host = scope.headers.get("host") or ""
    return is_loopback_host(host) and scope.headers.get("origin") is None


def is_loopback_host(host: str) -> bool:
    """Whether a Host header names this machine only."""
    found = _BRACKETED.fullmatch(host) or _WITH_PORT.fullmatch(host)
    name = (found[1] if found is not None else host).lower()
    if name in _LOOPBACK_NAMES:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
