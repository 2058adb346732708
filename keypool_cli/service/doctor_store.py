"""The live store: reachable, recent, persistent, and on time."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from redis.exceptions import ResponseError

from keypool_cli.config import Settings
from keypool_cli.engine import store
from keypool_cli.engine.engine import Engine
from keypool_cli.engine.readiness import serves
from keypool_cli.engine.store_client import Client
from keypool_cli.errors import ExitCode, KeypoolError, UnreachableError
from keypool_cli.service.doctor_failover import failover
from keypool_cli.service.doctor_finding import Finding, failed, ok, problem, warning
from keypool_cli.service.instants import now_ms

LATE_MS = 2000
"""A clock that is off by more moves the ends of days and what ``use_by`` means."""

_SETTINGS = (
    "appendfsync",
    "maxmemory-policy",
    "save",
    "min-replicas-to-write",
    "cluster-require-full-coverage",
)

_AFTER_LOSS = "after a crash every project waits out one minute before it serves again"


async def store_findings(settings: Settings) -> list[Finding]:
    """What is found of the live store; an embedded one is started for it."""
    try:
        opened = await store.connect(settings)
    except KeypoolError as err:
        return [failed("live store", err)]
    try:
        with opened.errors():
            info = await _information(opened.client)
            before = now_ms()
            seconds, micros = await opened.client.time()
            skew = seconds * 1000 + micros // 1000 - (before + now_ms()) // 2
        usable = await _usable(opened)
    except KeypoolError as err:
        return [failed("live store", err)]
    finally:
        await opened.close()
    embedded = opened.embedded is not None
    kind = "embedded" if embedded else settings.shown("redis_url")
    kept = [*persistence(info, embedded=embedded), *failover(opened.url, info)]
    return [_server(info, kind), *usable, *kept, clock(skew, "the live store")]


async def _usable(opened: store.Store) -> list[Finding]:
    """What a daemon does with the store, tried: it may answer, and yet allow too little of it."""
    engine = Engine(opened)
    away = await engine.away(engine.parts.one_model_each())
    found = [_failed_node(err) for err in away.values()]
    try:
        await serves(engine)
        if await engine.lists_models():
            await engine.models()
        await engine.hears()
    except KeypoolError as err:
        found = found or [failed("live store", err)]
    return found


def _failed_node(err: UnreachableError) -> Finding:
    """One of a cluster's; the others serve their models meanwhile."""
    hint = "bring it back, or let a replica take over: keypool guide operating"
    return failed("live store", UnreachableError(str(err), hint=hint))


async def _information(client: Client) -> Mapping[str, object]:
    found: dict[Any, object] = {}
    for section in ("server", "persistence", "memory", "replication"):
        found |= await client.info(section)
    # Managed servers often forbid CONFIG: then INFO's word has to do.
    with suppress(ResponseError):
        found |= await client.config_get(*_SETTINGS)
    return {_text(name): _text(value) for name, value in found.items()}


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _server(info: Mapping[str, object], kind: str) -> Finding:
    product = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get(f"{product.lower()}_version")
    return ok("live store", f"{product} {version} answers ({kind})")


def persistence(info: Mapping[str, object], *, embedded: bool = False) -> list[Finding]:
    """What INFO and CONFIG say of keeping state over a crash, and under a full memory.

    embedded: keypool notices a power cut by itself, so nothing need be flushed every second.
    """
    return [*_forgets(info), *_failing(info), *_log(info, embedded=embedded)]


def _forgets(info: Mapping[str, object]) -> Iterator[Finding]:
    policy = info.get("maxmemory-policy", info.get("maxmemory_policy"))
    if policy not in {"noeviction", None}:
        yield problem(
            "persistence",
            f"maxmemory-policy is {policy}: a full server would forget windows and cooldowns",
            "set maxmemory-policy to noeviction on the server",
            ExitCode.FAILURE,
        )


def _failing(info: Mapping[str, object]) -> Iterator[Finding]:
    for name in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"):
        if info.get(name) not in {"ok", None}:
            yield problem(
                "persistence",
                f"the server could not write its state to disk ({name}: {info.get(name)})",
                "see the server's log: a full or failing disk is the usual cause",
                ExitCode.FAILURE,
            )


def _log(info: Mapping[str, object], *, embedded: bool) -> Iterator[Finding]:
    if info.get("aof_enabled") != "1":
        saves = "only snapshots are kept" if info.get("save") else "nothing is kept on disk"
        yield warning(
            "persistence",
            f"{saves}: {_AFTER_LOSS}",
            "set appendonly yes and appendfsync everysec on the server",
        )
    elif embedded:
        yield ok("persistence", "append-only file, written before every answer")
    elif info.get("appendfsync") == "no":
        yield warning(
            "persistence",
            "appendfsync is no: a power cut may lose half a minute of bookings",
            "set appendfsync everysec on the server",
        )
    else:
        fsync = info.get("appendfsync")
        yield ok("persistence", "append-only file" + (f", appendfsync {fsync}" if fsync else ""))


def clock(skew_ms: int, whose: str) -> Finding:
    """How far another clock is ahead of this machine's."""
    if abs(skew_ms) <= LATE_MS:
        return ok("clock", f"{whose} is within {LATE_MS // 1000} s of this machine")
    way = "ahead of" if skew_ms > 0 else "behind"
    return warning(
        "clock",
        f"{whose} is {abs(skew_ms) / 1000:.1f} s {way} this machine",
        "let both follow network time (chrony, systemd-timesyncd)",
    )
