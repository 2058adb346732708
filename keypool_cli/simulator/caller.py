"""A call whose key is known: what every handler is given."""

from dataclasses import dataclass

from keypool_cli.http.message import query_pairs
from keypool_cli.http.rsgi import Exchange, Scope
from keypool_cli.simulator.faults import Fault, Target
from keypool_cli.simulator.refusals import GeminiError, Json, model_unknown
from keypool_cli.simulator.request import Call, read_body, read_json
from keypool_cli.simulator.state import Project, State


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated call and the way to answer it. model: empty for the list of models."""

    project: Project
    key: str
    call: Call
    scope: Scope
    exchange: Exchange

    @property
    def model(self) -> str:
        """The model the path names, or nothing."""
        return self.call.model or ""

    async def json(self) -> Json:
        """The body as an object; raises GeminiError for any other."""
        return read_json(await read_body(self.scope, self.exchange))


def take_faults(state: State, caller: Caller, on: str) -> list[Fault]:
    """The scripted faults that hit this call."""
    target = Target(on, caller.key, caller.project.name, caller.call.model)
    return state.faults.take(target, state.now_ms())


def unknown_model(caller: Caller) -> GeminiError:
    """The refusal of a model that does not exist, or does not do this."""
    return model_unknown(caller.model, caller.call.version, caller.call.method)


def wants_sse(scope: Scope) -> bool:
    """Whether a stream is asked for as server-sent events."""
    return ("alt", "sse") in query_pairs(scope.query_string)
