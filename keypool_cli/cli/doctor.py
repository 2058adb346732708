"""``doctor``: look at everything, and say what to do."""

from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import output, wiring
from keypool_cli.cli.options import Json, examples
from keypool_cli.errors import ExitCode, KeypoolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keypool_cli.service.doctor_finding import Finding

WORST_FIRST = ("problem", "warning", "note", "ok")


class UnwellError(KeypoolError):
    """Problems were found; the process ends as the first of them says."""

    def __init__(self, problems: "Sequence[Finding]") -> None:
        count = len(problems)
        super().__init__(
            f"{count} problem{'s' if count > 1 else ''} found", hint=problems[0].remedy
        )
        # Each instance ends the process in its own way, which no class could know.
        self.exit_code = ExitCode(problems[0].exit_code)  # type: ignore[misc]


def doctor(
    ctx: typer.Context,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nothing of Gemini.")] = False,
    as_json: Json = False,
) -> None:
    """Examine the stores, clocks, secrets, limits and files.

    Changes nothing. Each finding comes with its remedy. Exit 0 when nothing is broken (warnings
    may be there), 4 for a wrong master key or file mode, 5 for a schema that is too new, 6 when a
    store or Gemini cannot be reached, else 1.
    """
    from keypool_cli.service.doctor import diagnose

    found = wiring.run(diagnose(wiring.settings(ctx), offline=offline))
    found.sort(key=lambda each: WORST_FIRST.index(each.level))
    problems = [each for each in found if each.level == "problem"]
    if as_json:
        output.print_json({"healthy": not problems, "findings": found})
    elif output.on_terminal():
        _print_findings(ctx, found)
    else:
        rows = [(each.level, each.check, each.text, each.remedy) for each in found]
        output.print_table(ctx, ("LEVEL", "CHECK", "FINDING", "REMEDY"), rows)
    if problems:
        raise UnwellError(problems)


def _print_findings(ctx: typer.Context, found: "Sequence[Finding]") -> None:
    from rich.padding import Padding
    from rich.text import Text

    colors = {"problem": "bold red", "warning": "yellow", "note": "cyan", "ok": "green"}
    terminal = output.console(ctx)
    for each in found:
        level = (f"{each.level:8}", colors[each.level])
        terminal.print(Text.assemble(level, output.clean(f"{each.check}: {each.text}")))
        if each.remedy and each.level != "ok":
            terminal.print(Padding(Text(output.clean(each.remedy)), (0, 0, 0, 8)))


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(epilog=examples("keypool doctor --offline", "keypool doctor --offline --json"))(
        doctor
    )
