"""Agents that a project has made; Google's own need no making."""

from keypool_cli.http.message import answer_json
from keypool_cli.simulator.caller import Caller
from keypool_cli.simulator.request import read_body, read_json
from keypool_cli.simulator.shelf import wrong
from keypool_cli.simulator.state import State


async def make(_state: State, caller: Caller) -> None:
    """An agent, under the id that its maker chose."""
    body = read_json(await read_body(caller.scope, caller.exchange))
    own = body.get("id")
    if not isinstance(own, str) or not own:
        raise wrong("id")
    answer_json(caller.exchange, 200, caller.project.shelf.put(f"agents/{own}", body))
