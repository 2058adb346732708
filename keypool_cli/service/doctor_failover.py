"""The live store's servers: what becomes of leases when one of them fails or is cut off."""

from collections.abc import Mapping

from keypool_cli.service.doctor_finding import Finding, ok, warning

_CHECK = "failover"


def failover(url: str, info: Mapping[str, object]) -> list[Finding]:
    """What INFO and CONFIG of one server say, where ``url`` names several.

    Nothing where CONFIG is forbidden, as by many managed servers.
    """
    scheme = url.partition("://")[0]
    least, whole = info.get("min-replicas-to-write"), info.get("cluster-require-full-coverage")
    if scheme.endswith("+sentinel") and least is not None:
        return [_replicas(int(str(least)), int(str(info.get("connected_slaves", 0))))]
    if scheme.endswith("+cluster") and whole == "yes":
        return [
            warning(
                _CHECK,
                "cluster-require-full-coverage is yes: one node that is away stops every model",
                "set cluster-require-full-coverage no on every node",
            )
        ]
    return []


def _replicas(least: int, there: int) -> Finding:
    if least == 0:
        return warning(
            _CHECK,
            "a primary that is cut off goes on granting beside the one that replaces it: "
            "keys may be used twice as much as allowed",
            "have two replicas, and set min-replicas-to-write 1 and min-replicas-max-lag 1 on "
            "every server",
        )
    if there <= least:
        return warning(
            _CHECK,
            f"{there} replicas, and min-replicas-to-write {least}: when a server fails, nothing "
            "is granted until it is back",
            "add a replica",
        )
    return ok(_CHECK, f"{there} replicas, of which {least} must have what is granted")
