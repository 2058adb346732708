"""Reports of a probe and a check for continuous integration: Markdown and JUnit XML."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from keypool_cli.cli.probe_view import COLUMNS, headline, lines, percent, row, verdict
from keypool_cli.errors import UsageError
from keypool_cli.service.probing_report import CheckReport, ProbeReport

_RULES: Final = ("counts", "overhead", "safety", "accuracy", "waste")

Reports = Sequence[ProbeReport] | Sequence[CheckReport]


def as_markdown(report: ProbeReport | CheckReport) -> Iterator[str]:
    """Lines of a heading and a table, as a CI summary shows them."""
    if isinstance(report, ProbeReport):
        yield from _section(report.model, headline(report))
        yield from _table(COLUMNS, [row(each) for each in lines(report)])
        return
    yield from _section(report.model, verdict(report))
    shifts = [
        (each.stratum, str(each.samples), str(each.changed), percent(each.shift, sign=True))
        for each in report.shifts
    ]
    if shifts:
        yield from _table(("STRATUM", "SAMPLES", "CHANGED", "SHIFT"), shifts)
    yield from (f"- **{each.severity}** {each.rule}: {each.message}" for each in report.findings)
    if report.repair:
        yield from ("", f"Calibrate again: `{report.repair}`")


def write_junit(path: Path, reports: Reports) -> None:
    """Write one suite a model: a case a rule of a check, or a class of a probe.

    Raises UsageError where the file cannot be written.
    """
    root = ET.Element("testsuites", name="keypool probe")
    for report in reports:
        _add_suite(root, report)
    ET.indent(root)
    try:
        ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as err:
        raise UsageError(f"cannot write {path}: {err.strerror}") from err


def _add_suite(root: ET.Element, report: ProbeReport | CheckReport) -> None:
    cases = list(_probe_cases(report) if isinstance(report, ProbeReport) else _check_cases(report))
    failed = sum(case.find("failure") is not None for case in cases)
    suite = ET.SubElement(
        root,
        "testsuite",
        name=f"keypool probe {report.model}",
        tests=str(len(cases)),
        failures=str(failed),
        timestamp=report.at,
    )
    suite.extend(cases)


def _probe_cases(report: ProbeReport) -> Iterator[ET.Element]:
    for each in lines(report):
        case = ET.Element("testcase", classname=report.model, name=f"calibrated: {each.name}")
        told = f"error {percent(each.before.error)} before, {percent(each.after.error)} after"
        ET.SubElement(case, "system-out").text = told
        yield case


def _check_cases(report: CheckReport) -> Iterator[ET.Element]:
    for rule in _RULES:
        case = ET.Element("testcase", classname=report.model, name=rule)
        found = [each for each in report.findings if each.rule == rule]
        failed = [each.message for each in found if each.severity == "fail"]
        told = [f"{each.severity}: {each.message}" for each in found if each.severity != "fail"]
        if failed:
            failure = ET.SubElement(case, "failure", message="; ".join(failed), type=rule)
            failure.text = f"{'; '.join(failed)}\nrepair: {report.repair}"
        if told:
            ET.SubElement(case, "system-out").text = "\n".join(told)
        yield case


def _section(model: str, answer: str) -> Iterator[str]:
    yield from (f"### keypool probe: {model}", "", f"{answer[:1].upper()}{answer[1:]}.", "")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for cells in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
    yield ""
