"""``check``: ask upstream about keys, with calls that spend no generation quota.

That a key may list models proves that upstream knows it and lets it in; that it may count tokens
of a model, that the model can be named with it. Neither proves that it can generate: billing, a
limit of 0 and a spent day show only then. Calls that count tokens or list are free:
https://ai.google.dev/gemini-api/docs/billing (FAQ).
"""

import asyncio
import secrets as random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

import msgspec

from keypool_cli.core.model import Key, Secret
from keypool_cli.core.natural import natural
from keypool_cli.core.redact import redact
from keypool_cli.core.refusal import Action, Scope, Verdict
from keypool_cli.core.refusal_rules import UNKNOWN_MODEL
from keypool_cli.registry.values import Actor, DeadKey, Refusal
from keypool_cli.service.changing import changing
from keypool_cli.service.egress import Egress
from keypool_cli.service.ports import Ports
from keypool_cli.service.sync import read_configured
from keypool_cli.service.verdicts import meaning
from keypool_cli.upstream.forward import Forwarder, Outgoing, Patience, UpstreamError

AT_ONCE = 16

VALID, DEAD, BLOCKED, UNSURE = "valid", "dead", "blocked", "unsure"
"""Let in; refused itself; its project or the model is refused; upstream did not say."""

PATIENCE = Patience(connect_s=5.0, read_s=20.0)

_PROVEN = {
    None: "upstream knows the key and lets it list models; not that it can generate",
    VALID: "upstream knows the key and counts tokens for {model} with it; not that it can generate",
}


class Checked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What upstream said of one key. state: as configured. set_dead: it was, for what was said."""

    key: str
    project: str
    state: str
    outcome: str
    says: str
    rule: str | None = None
    set_dead: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to check. keys: None for all of pool, or of everything. model: to count tokens with."""

    keys: Sequence[str] | None = None
    pool: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    """Upstream's answer on one key; verdict None: it said yes."""

    key: Key
    verdict: Verdict | None
    says: str


async def chosen(ports: Ports, wanted: Wanted) -> list[Key]:
    """The keys to check, by name, disabled and dead ones too. Raises NotFoundError."""
    if wanted.keys is not None:
        names = dict.fromkeys(wanted.keys)
        return [await ports.call(ports.registry.keys.find, name) for name in names]
    configured = await read_configured(ports)
    found = sorted(configured.catalog.keys.values(), key=lambda each: natural(each.name))
    if wanted.pool is None:
        return found
    pool = await ports.call(ports.registry.pools.find, wanted.pool)
    return [each for each in found if each.project_id in pool.project_ids]


async def check(
    ports: Ports, keys: Sequence[Key], *, model: str | None, progress: Callable[[int], None]
) -> list[Checked]:
    """Ask upstream about each key. Nothing is changed; progress is told how many are done."""
    catalog = (await read_configured(ports)).catalog
    egress = Egress(ports)  # a project's calls leave as the daemon's would
    proxies = {
        each.id: await ports.call(egress.url, catalog.projects[each.project_id]) for each in keys
    }
    answers = await _ask_all(ports, proxies, keys, model, progress)
    return [_checked(each, catalog.projects[each.key.project_id].name, model) for each in answers]


async def set_dead(
    ports: Ports, keys: Sequence[Key], found: Sequence[Checked], *, by: Actor
) -> list[Checked]:
    """Take the dead keys among them out of service, as a refusal of a leased call would."""
    dead = [(key, each) for key, each in zip(keys, found, strict=True) if each.outcome == DEAD]
    refusals = [_refusal(key, each, by) for key, each in dead]
    ids = {key.project_id for key, _ in dead}
    if refusals:
        await changing(
            ports,
            partial(ports.registry.marks.record, refusals, by=by),
            touched=lambda _: ids,
        )
    after = await ports.call(ports.registry.catalog)
    names = {each.name for each in after.keys.values() if each.state == DEAD}
    return [
        msgspec.structs.replace(each, set_dead=each.outcome == DEAD and each.key in names)
        for each in found
    ]


def _refusal(key: Key, found: Checked, by: Actor) -> Refusal:
    dead = DeadKey(key.id, found.rule or "", found.says, key.fingerprint)
    return Refusal(
        subject=key.name,
        lease_id=f"{random.token_urlsafe(16)}.check",
        source=by.name,
        dead_keys=(dead,),
        reason=found.says,
        detail={"rule": found.rule, "key": key.name, "check": True},
    )


async def _ask_all(
    ports: Ports,
    proxies: Mapping[int, str | None],
    keys: Sequence[Key],
    model: str | None,
    progress: Callable[[int], None],
) -> list[_Answer]:
    opened = await ports.call(ports.registry.keys.secrets, [each.id for each in keys])
    forwarder, turn = Forwarder(PATIENCE), asyncio.Semaphore(AT_ONCE)
    done = 0

    async def ask(key: Key) -> _Answer:
        nonlocal done
        async with turn:
            answer = await _ask(
                forwarder, _call(ports, model, proxies[key.id]), key, opened[key.id]
            )
        done += 1
        progress(done)
        return answer

    try:
        return list(await asyncio.gather(*map(ask, keys)))
    finally:
        await forwarder.close()


def _call(ports: Ports, model: str | None, proxy: str | None) -> Outgoing:
    url = ports.settings.upstream_url + "/v1beta/models"
    if model is None:
        return Outgoing("GET", f"{url}?pageSize=1", (), proxy=proxy, whole=True)
    body = msgspec.json.encode({"contents": [{"parts": [{"text": "a"}]}]})
    headers = (("content-type", "application/json"),)
    return Outgoing(
        "POST", f"{url}/{quote(model, safe='')}:countTokens", headers, body, proxy, whole=True
    )


async def _ask(forwarder: Forwarder, call: Outgoing, key: Key, secret: Secret) -> _Answer:
    headers = (*call.headers, ("x-goog-api-key", secret.text))
    outgoing = msgspec.structs.replace(call, headers=headers)
    try:
        answer = await forwarder.send(outgoing)
        status, body = answer.status, await answer.chunk() or b""
        says = ""
    except UpstreamError as err:
        status, body, says = 0, b"", str(err)
    text = body.decode(errors="replace")
    verdict = meaning(status, text)
    reason = says or (verdict.reason if verdict else "")
    return _Answer(key, verdict, redact(reason, (secret.text,)))


def _checked(answer: _Answer, project: str, model: str | None) -> Checked:
    verdict, name, state = answer.verdict, answer.key.name, answer.key.state.value
    if verdict is None:
        says = _PROVEN[VALID if model else None].format(model=model)
        return Checked(name, project, state, VALID, says)
    return Checked(name, project, state, _outcome(verdict), answer.says, verdict.rule)


def _outcome(verdict: Verdict) -> str:
    if verdict.action is Action.DISABLE:
        return DEAD if verdict.scope is Scope.KEY else BLOCKED
    # A model that is unknown or not offered is upstream's word on the model, which was asked for.
    known = verdict.action is Action.EXCLUDE_MODEL or verdict.rule == UNKNOWN_MODEL.rule
    return BLOCKED if known else UNSURE
