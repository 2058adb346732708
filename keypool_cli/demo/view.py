"""What the demo shows: a live table on a terminal, plain lines elsewhere, and the summary."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from keypool_cli.demo import script
from keypool_cli.demo.run import Ending, Moment, projects_of

BAR = 12
LINE_EVERY_S = 2.0

_STYLES = {"ready": "green", "full": "yellow", "cooling": "red", "dead": "red"}


@contextmanager
def watching(console: Console) -> Iterator[Callable[[Moment], None]]:
    """A function that shows each moment: in place on a terminal, line by line elsewhere."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    notes: list[str] = []
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(moment: Moment) -> None:
            if moment.note:
                notes.append(f"{moment.elapsed_s:4.1f} s  {moment.note}")
            live.update(Group(_table(moment), *notes), refresh=True)

        yield show
    for note in notes:
        console.print(note, highlight=False)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_s = 0.0

    def __call__(self, moment: Moment) -> None:
        if moment.note:
            self._say(f"{moment.elapsed_s:4.1f} s  {moment.note}")
        if moment.elapsed_s >= self._next_s:
            self._next_s = moment.elapsed_s + LINE_EVERY_S
            states = ", ".join(
                f"{name} {it['state']}" for name, it in projects_of(moment.status).items()
            )
            self._say(
                f"{moment.elapsed_s:4.1f} s  {moment.tally.served.total():4d} served   {states}"
            )

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


def _table(moment: Moment) -> RenderableType:
    title = f"{moment.elapsed_s:4.1f} s   {moment.tally.served.total()} served"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("project", "state", "RPM", "TPM", "leases", "why"):
        table.add_column(name, no_wrap=True)
    for name, project in projects_of(moment.status).items():
        model: dict[str, Any] = next(iter(project["models"]), {})
        table.add_row(
            name,
            Text(project["state"], style=_STYLES.get(project["state"], "")),
            _bar(model.get("rpm")),
            _bar(model.get("tpm")),
            str(model.get("leases", 0)),
            model.get("rule") or model.get("reason") or "",
        )
    return table


def _bar(use: dict[str, Any] | None) -> str:
    if not use or not use["limit"]:
        return ""
    filled = round(BAR * min(use["used"] / use["limit"], 1))
    return f"{'█' * filled}{'░' * (BAR - filled)} {use['used']}/{use['limit']}"


def summary(console: Console, ending: Ending) -> None:
    """Print what happened, project by project, and each promise."""
    console.print()
    console.print(_projects(ending))
    console.print()
    for line in _refusals(ending):
        console.print(line, highlight=False, soft_wrap=True)
    console.print()
    for promise in ending.promises:
        sign, style = ("kept  ", "green") if promise.kept else ("BROKEN", "bold red")
        console.print(Text.assemble((sign, style), "  ", promise.text), soft_wrap=True)
    console.print(f"\n{ending.took_s:.1f} s in all", highlight=False)


def _projects(ending: Ending) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in (
        "project",
        "served",
        "tokens",
        f"most in {script.WINDOW_S:.0f} s",
        "limit",
        "state",
    ):
        table.add_column(name, justify="right" if name in {"served", "tokens"} else "left")
    for part in script.PARTS:
        seen = ending.record["projects"][part.project]["models"][script.MODEL]
        table.add_row(
            part.project,
            str(ending.tally.served[part.project]),
            str(ending.tally.tokens[part.project]),
            f"{seen['highest_requests']} / {part.rpm}",
            f"{seen['highest_tokens']} / {part.tpm}",
            projects_of(ending.status)[part.project]["state"],
        )
    return table


def _refusals(ending: Ending) -> Iterator[str]:
    total = ending.tally.refused.total()
    rules = ", ".join(f"{count} x {rule}" for rule, count in ending.tally.refused.items())
    yield f"{ending.tally.served.total()} requests served, {len(ending.tally.lost)} refusals seen by a caller"
    yield f"{total} refusals by upstream, each moved to another key: {rules}"
    for name, project in projects_of(ending.status).items():
        for model in project["models"]:
            if model["state"] == "cooling":
                yield f"{name} cools until {model['until']}: {model.get('rule')}"
        for key in project["keys"]:
            if key["state"] != "ready":
                yield f"key {key['name']} is {key['state']}: {key.get('reason')}"
