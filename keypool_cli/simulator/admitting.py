"""Let a call in, or refuse it: faults first, then the model, then the quota."""

import asyncio
from collections.abc import Sequence

from keypool_cli.simulator.caller import Caller, take_faults, unknown_model
from keypool_cli.simulator.refusals import invalid_argument
from keypool_cli.simulator.request import read_prompt
from keypool_cli.simulator.scripted import Shape, refusal_of, shape_of
from keypool_cli.simulator.state import State
from keypool_cli.simulator.tokens import Counted, Prompt, count_prompt


def prompt_of(contents: object) -> Prompt:
    """The prompt of contents; raises GeminiError for what Gemini would refuse."""
    if not isinstance(contents, list) or contents == [None]:
        raise invalid_argument("* content: content is not specified\n")
    return read_prompt({"contents": contents})


async def admitted(
    state: State, caller: Caller, prompts: Sequence[Prompt], *, model: str | None = None
) -> tuple[list[Counted], Shape]:
    """Book one request for each prompt; raises GeminiError for what is refused.

    model: where the body names it and not the path.
    """
    name = model or caller.model
    faults = take_faults(state, caller, "generate")
    shape = shape_of(state, faults)
    await asyncio.sleep(shape.first_byte_s)
    scripted = refusal_of(state, faults, project=caller.project, key=caller.key, model=name)
    if scripted is not None and not scripted.counts:
        raise scripted
    if not state.has_model(name):
        raise unknown_model(caller)
    counted = [count_prompt(each, state.count_text) for each in prompts]
    for each in counted:
        state.admit(caller.project, name, each.tokens)
        state.accepted(caller.project, caller.key, model=name, tokens=each.tokens)
    if scripted is not None:
        raise scripted
    return counted, shape
