"""The Live API as an echo: a setup is booked like a call, each turn is answered with its own text.

Faults ``on`` ``live`` refuse the setup, those on ``turn`` a turn; closes are as Gemini's.
"""

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from keypool_cli.http.connection import drop_client
from keypool_cli.http.rsgi import ClientGone, Scope
from keypool_cli.http.websocket import Handshake, Peer
from keypool_cli.simulator.faults import Fault, Kind, Target
from keypool_cli.simulator.refusals import GeminiError, Json, key_invalid, model_unknown
from keypool_cli.simulator.reply import usage
from keypool_cli.simulator.request import read_json, read_key, read_prompt
from keypool_cli.simulator.scripted import refusal_of, shape_of
from keypool_cli.simulator.state import Project, State
from keypool_cli.simulator.tokens import Counted, Prompt, count_prompt

_PATH = re.compile(
    r"/ws/google\.ai\.generativelanguage\.(v1beta|v1alpha|v1)"
    r"\.GenerativeService\.BidiGenerateContent"
)
_CODES = {400: 1007, 403: 1008, 404: 1008, 503: 1013}


@dataclass(frozen=True, slots=True)
class _Session:
    """An open conversation. version: of the API, as some refusals name it."""

    state: State
    peer: Peer
    scope: Scope
    project: Project
    key: str
    model: str
    version: str

    def faults(self, on: str) -> list[Fault]:
        target = Target(on, self.key, self.project.name, self.model)
        return self.state.faults.take(target, self.state.now_ms())

    def scripted(self, faults: list[Fault]) -> GeminiError | None:
        return refusal_of(self.state, faults, project=self.project, key=self.key, model=self.model)


async def handle(state: State, scope: Scope, handshake: Handshake) -> None:
    """Serve one WebSocket to its end."""
    path = _PATH.fullmatch(scope.path)
    if path is None:
        handshake.close(404)
        return
    try:
        key = read_key(scope)
    except GeminiError as err:
        state.outside[err.kind] += 1
        handshake.close(err.status)
        return
    with suppress(ClientGone):
        peer = Peer(scope, await handshake.accept())
        try:
            await _serve(state, scope, peer, (key, path[1]))
        except GeminiError as err:
            await peer.close(_CODES.get(err.status, 1011), _message(err))
        finally:
            await peer.leave()


async def _serve(state: State, scope: Scope, peer: Peer, who: tuple[str, str]) -> None:
    key, version = who
    first = await peer.receive()
    if first is None:
        return
    setup = _inner(_read(first), "setup")
    project = state.owner(key)
    if project is None or key in state.revoked:
        state.outside["key_invalid"] += 1
        raise key_invalid()
    model = str(setup.get("model", "")).removeprefix("models/")
    session = _Session(state, peer, scope, project, key, model, version)
    try:
        await _converse(session, setup)
    except GeminiError as err:
        state.refused(project, key, model=model, kind=err.kind)
        raise


async def _converse(session: _Session, setup: Json) -> None:
    state, peer = session.state, session.peer
    faults = session.faults("live")
    await asyncio.sleep(shape_of(state, faults).first_byte_s)
    refusal = session.scripted(faults)
    if refusal is not None:
        raise refusal
    if not state.has_model(session.model):
        raise model_unknown(session.model, session.version, "bidiGenerateContent")
    said = {**setup, "contents": [{"parts": [{"text": "."}]}]}
    counted = count_prompt(read_prompt(said), state.count_text)
    state.admit(session.project, session.model, counted.tokens)
    state.accepted(session.project, session.key, model=session.model, tokens=counted.tokens)
    await _send(peer, {"setupComplete": {}})
    handle_text = f"resume-{session.project.name}"
    await _send(peer, {"sessionResumptionUpdate": {"newHandle": handle_text, "resumable": True}})
    while (message := await peer.receive()) is not None:
        faults = session.faults("turn")
        if any(each.kind is Kind.DROP for each in faults):
            drop_client(session.scope.client)
            return
        refusal = session.scripted(faults)
        if refusal is not None:
            raise refusal
        await _turn(session, _read(message))


async def _turn(session: _Session, message: Json) -> None:
    """Echo what was said, in two messages; the second ends the turn and tells its cost."""
    prompt = _prompt_of(message)
    if prompt is None:
        return
    counted: Counted = count_prompt(prompt, session.state.count_text)
    text = " ".join(prompt.texts)
    turn = {"role": "model", "parts": [{"text": text}]}
    await _send(session.peer, {"serverContent": {"modelTurn": turn}})
    told = usage(counted, session.state.count_text(text))
    told["responseTokenCount"] = told.pop("candidatesTokenCount")
    del told["candidatesTokensDetails"], told["serviceTier"]
    await _send(session.peer, {"serverContent": {"turnComplete": True}, "usageMetadata": told})


def _prompt_of(message: Json) -> Prompt | None:
    """What a message says; None for one that asks for no answer."""
    content = message.get("clientContent", message.get("client_content"))
    if isinstance(content, dict):
        return read_prompt({"contents": content.get("turns") or [{"parts": [{"text": ""}]}]})
    spoken = message.get("realtimeInput", message.get("realtime_input"))
    if isinstance(spoken, dict) and isinstance(spoken.get("text"), str):
        return read_prompt({"contents": [{"parts": [{"text": spoken["text"]}]}]})
    return None


async def _send(peer: Peer, message: Json) -> None:
    """Gemini sends its JSON in binary messages."""
    await peer.send(msgspec.json.encode(message))


def _read(message: str | bytes) -> Json:
    return read_json(message.encode() if isinstance(message, str) else message)


def _inner(message: Json, name: str) -> Json:
    found = message.get(name)
    return found if isinstance(found, dict) else {}


def _message(err: GeminiError) -> str:
    if isinstance(err.body, dict):
        return str(err.body.get("error", {}).get("message", ""))
    return str(err.body)
