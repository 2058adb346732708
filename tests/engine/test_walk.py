"""Hundreds of projects: what the small machines cannot show. Longer: tests/support/walk_long.py."""

import pytest

from tests.support.live_engine import live_engine
from tests.support.walk import Walk

SEEDS = (7, 12)
STEPS = 90
PROJECTS, POOLS = 240, 4

PAGES_OF_LINE = ("local LOOK_AT = 256 ", "local LOOK_AT = 4 ")

BROKEN = {
    "two projects searched for the earliest instant": (1, ("local LOOK = 64 ", "local LOOK = 2 ")),
    "the first instant found taken for the earliest": (
        2,
        ("if best.at and (best.any or opens >= best.at) then", "if best.at then"),
    ),
    "pages of the search that miss one project each": (
        2,
        (
            "    seen, page = seen + page, seen + page",
            "    seen, page = seen + page + 1, seen + page",
        ),
    ),
    "two projects passed over": (1, ("local MOST_PASSED = 16384 ", "local MOST_PASSED = 2 ")),
    "pages passed over that miss one project each": (
        1,
        (
            "    seen = seen + #found / 2\n  end\nend\n\n-- most headroom first",
            "    seen = seen + #found / 2 + 1\n  end\nend\n\n-- most headroom first",
        ),
    ),
    "the first page of a ready set taken for all of it": (
        2,
        ("  if #found < 2 * chunk then ready.lowest = -1 end", "  ready.lowest = -1"),
    ),
    "64 old scores brought up to date": (
        10,
        ("  if count < 64 then\n    ctx.fresh = true", "  if true then\n    ctx.fresh = true"),
    ),
    "four projects unblocked": (
        3,
        ("ctx.due = unblock(ctx, MOST_DUE)", "ctx.due = unblock(ctx, 4)"),
    ),
    "four waiters looked at": (
        2,
        ("local FIRST = 768 ", "local FIRST = 4 "),
        ("    serve_part(ctx, pool, found, from, from + 1)\n", ""),
        PAGES_OF_LINE,
    ),
    "pages of a line that pass over those behind who was served": (
        2,
        (
            "from = from + count - (places - call('ZCARD', queue_key(ctx, pool.id)))",
            "from = from + count",
        ),
        PAGES_OF_LINE,
    ),
}
"""What breaks at scale only: a seed that shows it, and what of the scripts is replaced by what."""


@pytest.mark.parametrize("seed", SEEDS)
def test_the_engine_agrees_with_the_oracle_on_a_long_walk(live, seed):
    Walk(live, seed, size=PROJECTS, pool_count=POOLS).walk(STEPS)


@pytest.mark.parametrize("broken", [pytest.param(each, id=name) for name, each in BROKEN.items()])
def test_a_long_walk_notices(engine_url, broken):
    seed, *replaced = broken
    with live_engine(engine_url) as live:
        live.mutate(*replaced)
        with pytest.raises(AssertionError):
            Walk(live, seed, size=PROJECTS, pool_count=POOLS).walk(STEPS)


def test_pages_of_a_line_alone_change_nothing(engine_url):
    with live_engine(engine_url) as live:
        live.mutate(PAGES_OF_LINE)
        Walk(live, 2, size=PROJECTS, pool_count=POOLS).walk(STEPS)
