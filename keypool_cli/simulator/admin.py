"""The simulator's own API below ``/simulator/v1``, for callers on this machine.

GET    /record           what was seen: per project, model and key
POST   /reset            forget record, windows, faults and revocations; projects stay; 204
GET    /projects         name to keys, tier and limits
POST   /projects         {"name", "keys"?, "tier"?, "models"?}: add or change a project; 201
POST   /keys/revoke      {"key"}: from now on it is an invalid key; 204
POST   /keys/restore     {"key"}: it is valid again; 204
GET    /faults           the scripted faults, with what is left of them
POST   /faults           script one, see :class:`keypool_cli.simulator.faults.Fault`; 201 {"id"}
DELETE /faults           forget all of them; 204

Errors are RFC 9457 problems.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus

import msgspec

from keypool_cli.http.message import (
    BodyTooLargeError,
    Problem,
    answer_json,
    answer_problem,
    read_body,
)
from keypool_cli.http.rsgi import Exchange, Scope
from keypool_cli.simulator.faults import Fault
from keypool_cli.simulator.limiter import Limits
from keypool_cli.simulator.state import State
from keypool_cli.simulator.world import ProjectSpec, Tier

PREFIX = "/simulator/v1"
_BODY_LIMIT = 2**20

Handler = Callable[[State, Exchange, bytes], None]


class NewProject(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /projects; models: limits by model, ``*`` for every other."""

    name: str
    keys: tuple[str, ...] = ()
    tier: Tier = "free"
    models: dict[str, Limits] | None = None


class OneKey(msgspec.Struct, forbid_unknown_fields=True):
    """The body of calls about one key."""

    key: str


async def handle(state: State, scope: Scope, exchange: Exchange) -> None:
    """Answer one admin call."""
    if not _is_local(scope.client):
        answer_problem(exchange, _problem(403, "only callers on this machine"))
        return
    handler = _HANDLERS.get((scope.method, scope.path.removeprefix(PREFIX)))
    if handler is None:
        answer_problem(exchange, _problem(404, "no such call"))
        return
    try:
        handler(state, exchange, await read_body(scope.headers, exchange, limit=_BODY_LIMIT))
    except (msgspec.MsgspecError, BodyTooLargeError, ValueError) as err:
        answer_problem(exchange, _problem(400, f"the body does not fit the call: {err}"))


def _problem(status: int, told: str) -> Problem:
    return Problem(title=HTTPStatus(status).phrase, status=status, detail=told)


def _is_local(client: str) -> bool:
    return client.startswith(("127.", "[::1]", "[::ffff:127."))


def _record(state: State, exchange: Exchange, _body: bytes) -> None:
    answer_json(exchange, 200, state.record())


def _reset(state: State, exchange: Exchange, _body: bytes) -> None:
    state.reset()
    exchange.response_empty(204, [])


def _projects(state: State, exchange: Exchange, _body: bytes) -> None:
    answer_json(
        exchange,
        200,
        {
            name: {
                "keys": list(project.keys),
                "tier": project.spec.tier,
                "models": project.spec.models,
            }
            for name, project in state.projects.items()
        },
    )


def _add_project(state: State, exchange: Exchange, body: bytes) -> None:
    new = msgspec.json.decode(body, type=NewProject)
    state.add_project(new.name, ProjectSpec(keys=new.keys, tier=new.tier, models=new.models))
    answer_json(exchange, 201, new)


def _revoke(state: State, exchange: Exchange, body: bytes) -> None:
    state.revoked.add(msgspec.json.decode(body, type=OneKey).key)
    exchange.response_empty(204, [])


def _restore(state: State, exchange: Exchange, body: bytes) -> None:
    state.revoked.discard(msgspec.json.decode(body, type=OneKey).key)
    exchange.response_empty(204, [])


def _faults(state: State, exchange: Exchange, _body: bytes) -> None:
    now_ms = state.now_ms()
    answer_json(exchange, 200, state.faults.current(now_ms))


def _add_fault(state: State, exchange: Exchange, body: bytes) -> None:
    fault = msgspec.json.decode(body, type=Fault)
    answer_json(exchange, 201, {"id": state.faults.add(fault, state.now_ms()).id})


def _clear_faults(state: State, exchange: Exchange, _body: bytes) -> None:
    state.faults.clear()
    exchange.response_empty(204, [])


_HANDLERS: Mapping[tuple[str, str], Handler] = {
    ("GET", "/record"): _record,
    ("POST", "/reset"): _reset,
    ("GET", "/projects"): _projects,
    ("POST", "/projects"): _add_project,
    ("POST", "/keys/revoke"): _revoke,
    ("POST", "/keys/restore"): _restore,
    ("GET", "/faults"): _faults,
    ("POST", "/faults"): _add_fault,
    ("DELETE", "/faults"): _clear_faults,
}
