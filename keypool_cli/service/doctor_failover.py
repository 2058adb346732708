"""The live store's servers: what becomes of leases when one of them fails or is cut off."""

from collections.abc import Mapping

from keypool_cli.engine.following import ENOUGH
from keypool_cli.engine.store_client import hosts_of
from keypool_cli.service.doctor_finding import Finding, ok, warning

_CHECK = "failover"


def failover(url: str, info: Mapping[str, object]) -> list[Finding]:
    """What INFO and CONFIG of one server say, where ``url`` names several.

    Nothing where CONFIG is forbidden, as by many managed servers.
    """
    scheme = url.partition("://")[0]
    least, whole = info.get("min-replicas-to-write"), info.get("cluster-require-full-coverage")
    if scheme.endswith("+sentinel") and least is not None:
        there = int(str(info.get("connected_slaves", 0)))
        return [_replicas(int(str(least)), there, sentinels=len(hosts_of(url)))]
    if scheme.endswith("+cluster") and whole == "yes":
        return [
            warning(
                _CHECK,
                "cluster-require-full-coverage is yes: one node that is away stops every model",
                "set cluster-require-full-coverage no on every node",
            )
        ]
    return []


def _replicas(least: int, there: int, *, sentinels: int) -> Finding:
    if there <= least:
        return warning(
            _CHECK,
            f"{there} replicas, and min-replicas-to-write {least}: when the primary fails, nothing "
            "is granted until it is back",
            "add a replica",
        )
    if least == 0 and sentinels < ENOUGH:
        return warning(
            _CHECK,
            "daemons cannot know whether a primary that is cut off was replaced: keys may be used "
            "twice as much as allowed",
            "name all Sentinels in KEYPOOL_REDIS_URL, three or more: keypool guide operating",
        )
    return ok(_CHECK, f"{there} replicas")
