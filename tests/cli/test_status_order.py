"""In what order a person is shown several pools."""

from rich.console import Console

from keypool_cli.cli.status_view import picture
from keypool_cli.service.standing import PoolStatus, Status

STATES = ("ready", "full", "cooling", "excluded", "disabled", "dead")


def a_pool(name, **counts):
    return PoolStatus(name, **{each: counts.get(each, 0) for each in STATES}, projects=[])


def shown(*pools, **options):
    console = Console(width=80, color_system=None)
    with console.capture() as seen:
        console.print(picture(Status(1, "2026-11-27T00:00:00.000Z", list(pools)), **options))
    return [line.partition(":")[0] for line in seen.get().splitlines()]


def test_the_pool_in_the_worst_trouble_is_first():
    pools = [
        a_pool("all-well", ready=2),
        a_pool("empty"),
        a_pool("one-down", ready=1, dead=1),
        a_pool("stopped", cooling=2),
        a_pool("well-too", full=1),
    ]
    worst_first = ["stopped", "one-down", "empty", "all-well", "well-too"]
    assert shown(*pools) == worst_first
    assert shown(*pools, sort="project") == [each.pool for each in pools]
