"""Reports of a probe and a check as tables: on a terminal with a bar for each error."""

from collections.abc import Iterator, Sequence
from typing import Final

import typer

from keypool_cli.cli import output
from keypool_cli.service.probing_report import CheckReport, ClassView, ProbeReport

COLUMNS: Final = (
    "CLASS", "SAMPLES", "CHARS/TOKEN", "ERROR BEFORE", "ERROR AFTER", "UNDER BEFORE", "UNDER AFTER",
    "OVER BEFORE", "OVER AFTER",
)  # fmt: skip

_DRAWN: Final = ("CLASS", "SAMPLES", "CHARS/TOKEN", "ERROR", "UNDER", "OVER", "")

BAR: Final = 12
"""Cells of a bar; one is one percent of error."""

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def show(ctx: typer.Context, report: ProbeReport | CheckReport) -> None:
    """Print one model's report."""
    if isinstance(report, ProbeReport):
        _show_probe(ctx, report)
    else:
        _show_check(ctx, report)


def _show_probe(ctx: typer.Context, report: ProbeReport) -> None:
    output.line(f"{report.model}: {headline(report)}")
    if output.on_terminal():
        output.print_table(ctx, _DRAWN, [_drawn(each) for each in lines(report)])
    else:
        output.print_table(ctx, COLUMNS, [row(each) for each in lines(report)])


def _show_check(ctx: typer.Context, report: CheckReport) -> None:
    output.line(f"{report.model}: {verdict(report)}")
    if report.shifts:
        rows = [
            (
                each.stratum,
                each.samples,
                each.changed,
                percent(each.shift, sign=True),
                each.severity,
            )
            for each in report.shifts
        ]
        output.print_table(ctx, ("STRATUM", "SAMPLES", "CHANGED", "SHIFT", "SEVERITY"), rows)
    for each in report.findings:
        output.line(f"{each.severity}\t{each.rule}\t{each.message}")


def headline(report: ProbeReport) -> str:
    """The answer in one line."""
    every = report.all
    return (
        f"{report.samples} samples, {every.tokens} tokens; "
        f"mean error {percent(every.before.error)} as shipped, "
        f"{percent(every.after.error)} calibrated"
    )


def verdict(report: CheckReport) -> str:
    """The answer in one line."""
    state = "holds" if report.ok else "has drifted"
    what = "calibration" if report.calibrated_at else "shipped default"
    changed = sum(each.changed for each in report.shifts)
    return f"{what} {state}; {report.samples} samples counted, {changed} counts differ"


def lines(report: ProbeReport) -> Iterator[ClassView]:
    """Classes, then everything."""
    yield from report.classes
    yield report.all


def row(of: ClassView) -> Sequence[str]:
    """The cells of one class."""
    return (
        of.name,
        str(of.samples),
        f"{of.characters_per_token:.2f}",
        percent(of.before.error),
        percent(of.after.error),
        str(of.before.under),
        str(of.after.under),
        percent(of.before.over),
        percent(of.after.over),
    )


def _drawn(of: ClassView) -> Sequence[str]:
    before, after = of.before, of.after
    return (
        of.name,
        str(of.samples),
        f"{of.characters_per_token:.2f}",
        f"{100 * before.error:.1f} → {percent(after.error)}",
        f"{before.under} → {after.under}",
        f"{100 * before.over:.1f} → {percent(after.over)}",
        bar(after.error),
    )


def percent(share: float, *, sign: bool = False) -> str:
    """0.0213 as ``2.1 %``."""
    return f"{100 * share:+.1f} %" if sign else f"{100 * share:.1f} %"


def bar(share: float) -> str:
    """A bar as long as an error is large."""
    eighths = min(round(100 * share * 8), 8 * BAR)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")
