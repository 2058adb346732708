"""The Live API: a client's WebSocket, passed on to a project's, message by message both ways."""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from keypool_cli.core.model import Project
from keypool_cli.daemon.auth import Auth, Caller, pool_of
from keypool_cli.daemon.hanging_up import GoneError
from keypool_cli.daemon.live_closing import (
    GOING,
    Goodbye,
    goodbye_of,
    goodbye_passed_on,
    say_goodbye,
)
from keypool_cli.daemon.live_request import live_token, mentions_of, setup_of, upstream_path
from keypool_cli.daemon.proxy_request import name_in, session_of, wait_s
from keypool_cli.errors import (
    ConflictError,
    KeypoolError,
    NotFoundError,
    UsageError,
)
from keypool_cli.http.rsgi import ClientGone, Scope
from keypool_cli.http.websocket import Handshake, Peer
from keypool_cli.service.affinity import Affinity
from keypool_cli.service.estimating import Estimating
from keypool_cli.service.live import Conversation, Conversing, LiveOrder, Refused
from keypool_cli.service.resources import Resources
from keypool_cli.service.watch import Watch
from keypool_cli.upstream.headers import to_upstream
from keypool_cli.upstream.websocket import Closed

FIRST_MESSAGE_S = 30.0
"""How long a client may take to send its setup."""

T = TypeVar("T")

log = logging.getLogger("keypool.live")


@dataclass(frozen=True, slots=True)
class Desk:
    """What turns a first message into an order."""

    watch: Watch
    auth: Auth
    affinity: Affinity
    estimating: Estimating
    resources: Resources


class Live:
    """Handles WebSockets below ``/ws``."""

    def __init__(self, desk: Desk, conversing: Conversing, upstream: str) -> None:
        self._desk = desk
        self._conversing = conversing
        self._upstream = upstream.rstrip("/")
        self._serving: set[asyncio.Task[None]] = set()
        self._ending = False

    def end(self) -> None:
        """Begin to send every client away. granian's own drain does not wait for WebSockets."""
        if not self._ending:
            self._ending = True
            for task in self._serving:
                task.cancel()

    async def close(self) -> None:
        """Send every client away."""
        self.end()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def handle(self, scope: Scope, handshake: Handshake) -> None:
        """Serve one WebSocket to its end."""
        try:
            caller = self._caller(scope)
        except KeypoolError as err:
            handshake.close(goodbye_of(err).status)
            return
        try:
            peer = Peer(scope, await handshake.accept())
            # A task of its own: granian cancels its when it has stopped, and settles nothing.
            serving = asyncio.create_task(self._serve(scope, caller, peer))
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)
            await asyncio.wait({serving})
            serving.result()
        except (ClientGone, GoneError):
            return

    async def _serve(self, scope: Scope, caller: Caller, peer: Peer) -> None:
        try:
            goodbye = GOING if self._ending else await self._conversation(scope, caller, peer)
            await say_goodbye(peer, goodbye)
        except asyncio.CancelledError:
            await say_goodbye(peer, GOING)
        finally:
            await peer.leave()

    def _caller(self, scope: Scope) -> Caller:
        caller = self._desk.auth.holder(scope, live_token(scope))
        caller.require("proxy")
        if upstream_path(scope.path) is None:
            raise NotFoundError("the proxy does not forward this WebSocket")
        return caller

    async def _conversation(self, scope: Scope, caller: Caller, peer: Peer) -> Goodbye:
        """The whole of it; how to say goodbye to the client."""
        try:
            order = await self._order(scope, caller, peer)
            opened = await _while_there(self._conversing.open(order), peer)
            if isinstance(opened, Refused):
                return goodbye_passed_on(opened.closed, early=True)
            return goodbye_passed_on(await self._converse(order, opened, peer), early=False)
        except KeypoolError as err:
            if isinstance(err, GoneError):
                raise
            goodbye = goodbye_of(err)
            if goodbye.status >= 500:
                log.warning("a Live conversation ended with %d: %s", goodbye.status, err)
            return goodbye

    async def _converse(self, order: LiveOrder, conversation: Conversation, peer: Peer) -> Closed:
        try:
            await peer.send(conversation.first)
            return await _relay(peer, conversation, self._up(order, peer, conversation))
        finally:
            await self._conversing.end(conversation, order.client)
            if conversation.handle:
                # Without it, the conversation cannot be resumed through us; it goes on anew.
                name = _resumption(conversation.handle)
                await self._desk.affinity.keep(order.pool, name, conversation.project.id)

    async def _order(self, scope: Scope, caller: Caller, peer: Peer) -> LiveOrder:
        named = name_in(scope.headers, "x-keypool-pool")
        pool = await pool_of(caller, self._desk.watch, named)
        waits = wait_s(scope.headers, pool.wait_s)
        message = await _first(peer)
        estimating = self._desk.estimating
        estimates = estimating.of(caller.client)
        setup = await estimating.read(len(message), caller.client, setup_of, message, estimates)
        caller.check_model(setup.model)
        only = None
        if setup.mentions:
            only = await self._desk.resources.project_of(setup.mentions, pool, caller.client)
        session = _resumption(setup.resumes) if setup.resumes else session_of(scope.headers)
        return LiveOrder(
            pool=pool,
            client=caller.client,
            model=setup.model,
            tokens=setup.tokens,
            wait_until=monotonic() + waits,
            url=f"{self._upstream}{upstream_path(scope.path)}",
            headers=to_upstream(scope.headers.items()),
            setup=message,
            prefer=await self._desk.affinity.project(pool, session),
            only=only,
        )

    async def _up(self, order: LiveOrder, peer: Peer, conversation: Conversation) -> None:
        """Pass on what the client says, but nothing of what is another's."""
        while (message := await peer.receive()) is not None:
            names = mentions_of(message)
            if names:
                await self._check_held(names, order, conversation.project)
            await conversation.send(message)

    async def _check_held(self, names: list[str], order: LiveOrder, project: Project) -> None:
        found = await self._desk.resources.project_of(names, order.pool, order.client)
        if found.id != project.id:
            raise ConflictError(
                f"{names[0]} is in project {found.name}, this conversation in {project.name}",
                hint="begin it with x-keypool-affinity: and the name of the project",
            )


async def _first(peer: Peer) -> str | bytes:
    """The first message. Raises UsageError when it does not come, GoneError at the end."""
    try:
        async with asyncio.timeout(FIRST_MESSAGE_S):
            message = await peer.receive()
    except TimeoutError:
        raise UsageError("no setup came") from None
    if message is None:
        raise GoneError("the client hung up")
    return message


async def _while_there(work: Coroutine[object, object, T], peer: Peer) -> T:
    """Wait for work as long as the client does; cancels it when the client hangs up.

    A message that comes meanwhile is kept. Raises GoneError, ClientGone.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task, peer.reading()}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and peer.reading().result() is None:
            raise GoneError("the client hung up")
        return await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _relay(
    peer: Peer, conversation: Conversation, passing: Coroutine[object, object, None]
) -> Closed:
    """Pass messages both ways until one side ends; how upstream closed. passing: the way up.

    Raises GoneError or ClientGone when the client was first.
    """
    up = asyncio.ensure_future(passing)
    down = asyncio.ensure_future(_down(peer, conversation))
    try:
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        if down.done():
            return down.result()
        up.result()
        raise GoneError("the client said goodbye")
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _down(peer: Peer, conversation: Conversation) -> Closed:
    while not isinstance(message := await conversation.receive(), Closed):
        await peer.send(message)
    return message


def _resumption(handle: str) -> str:
    """The name under which affinity remembers who can resume a conversation."""
    return f"live:{handle}"
