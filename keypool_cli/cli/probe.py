"""``probe``: calibrate the token estimates against Gemini's own counts, or check that they hold."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import output, wiring
from keypool_cli.cli.options import Json, Reason, Yes, examples
from keypool_cli.errors import DriftError, UsageError

if TYPE_CHECKING:
    from keypool_cli.cli.probe_run import Asked
    from keypool_cli.core.accuracy import Probe
    from keypool_cli.service.probing_report import CheckReport, ProbeReport

_REASONS = 3
"""Reasons named in the error of a check."""


def probe(
    ctx: typer.Context,
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", metavar="MODEL", help="Repeatable; without it: every model in use."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 9 when estimates have drifted.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Check with all samples, not only a fixed half.")
    ] = False,
    samples: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Your own texts beside the shipped ones.")
    ] = None,
    only_samples: Annotated[
        bool, typer.Option("--only-samples", help="Your own texts instead of the shipped ones.")
    ] = False,
    pool: Annotated[
        str | None, typer.Option(metavar="POOL", help="Count with keys of this pool only.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask nobody: measure against stored counts.")
    ] = False,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Offline: count with a tokenizer.model or .json; google for the SDK's own.",
        ),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write JUnit XML, too.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Fit the token estimates to Gemini's own counts.

    Counting is free and spends no quota. Run it once for each model, and whenever --check says
    so; an interrupted probe goes on where it was. --samples takes a folder or file of .txt texts,
    or of .jsonl lines {"text": …, "class": …}.

    Exit 8 without a usable key, 6 without a network, 9 when --check finds drift.
    """
    from keypool_cli.cli import probe_run

    del yes  # nothing is asked here
    if as_json and markdown:
        raise UsageError("--json and --markdown exclude each other")
    if tokenizer is not None and not offline:
        raise UsageError("--tokenizer asks nobody", hint="say --offline, too")
    asked = probe_run.Asked(
        models=tuple(dict.fromkeys(each.removeprefix("models/") for each in model or ())),
        probes=_probes(samples, only=only_samples),
        pool=pool,
        offline=offline,
        tokenizer=tokenizer,
        every=every,
        words=_words(samples, pool, only=only_samples),
    )
    if check:
        checked = wiring.read(ctx, lambda ports: probe_run.check(ports, asked))
        _show(ctx, checked, junit, as_json=as_json, markdown=markdown)
        _end_check(ctx, checked, asked.words)
        return
    found, left_out = _calibrated(ctx, asked, reason)
    _show(ctx, found, junit, as_json=as_json, markdown=markdown)
    _end_probe(ctx, found)
    for each in left_out:
        output.say(ctx, each)


def _calibrated(
    ctx: typer.Context, asked: "Asked", reason: str | None
) -> "tuple[Sequence[ProbeReport], Sequence[str]]":
    from keypool_cli.cli import probe_run

    by = wiring.actor(reason)
    use = wiring.read if asked.offline else wiring.live
    try:
        return use(ctx, lambda ports: probe_run.probe(ports, asked, by))
    except KeyboardInterrupt:
        output.say(ctx, "stopped: what was counted is kept for an hour; run it again to go on")
        raise


def _probes(samples: Path | None, *, only: bool) -> "Sequence[Probe]":
    from keypool_cli.samples import load_own, load_shipped, load_structural

    if samples is None:
        if only:
            raise UsageError("--only-samples needs --samples PATH")
        return load_shipped()
    # What contents and tools cost shows only on requests made for that.
    return (*load_own(samples), *(load_structural() if only else load_shipped()))


def _words(samples: Path | None, pool: str | None, *, only: bool) -> str:
    """The options that a probe must have, too, for what a check with them found."""
    given = ["--samples", str(samples)] if samples is not None else []
    given += ["--only-samples"] if only else []
    given += ["--pool", pool] if pool is not None else []
    return "".join(f" {quote(word)}" for word in given)


def _show(
    ctx: typer.Context,
    reports: "Sequence[ProbeReport] | Sequence[CheckReport]",
    junit: Path | None,
    *,
    as_json: bool,
    markdown: bool,
) -> None:
    from keypool_cli.cli import probe_files, probe_view

    if junit is not None:
        probe_files.write_junit(junit, reports)
    if as_json:
        output.print_json({"models": reports})
    elif markdown:
        for each in reports:
            for text in probe_files.as_markdown(each):
                output.line(text)
    else:
        for each in reports:
            probe_view.show(ctx, each)


def _end_probe(ctx: typer.Context, reports: "Sequence[ProbeReport]") -> None:
    for each in reports:
        if each.resumed:
            output.say(ctx, f"{each.model}: {each.resumed} counts were there already")
        if each.saved:
            output.say(ctx, f"{each.model} is calibrated: daemons estimate with it from now on")


def _end_check(ctx: typer.Context, reports: "Sequence[CheckReport]", words: str) -> None:
    for each in reports:
        if each.calibrated_at is None:
            output.say(ctx, f"{each.model} was never probed: the shipped defaults were checked")
            output.hint(ctx, f"to calibrate it: keypool probe --model {each.model}")
    failed = [each for each in reports if not each.ok]
    if failed:
        models = " ".join(f"--model {each.model}" for each in failed)
        raise DriftError(
            "; ".join(map(_why, failed)), hint=f"calibrate again: keypool probe {models}{words}"
        )


def _why(report: "CheckReport") -> str:
    """The first reasons; all of them are on stdout."""
    reasons = [each.message for each in report.findings if each.severity == "fail"]
    more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
    return f"{report.model} has drifted: {'; '.join(reasons[:_REASONS])}{more}"


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(
        epilog=examples(
            "keypool probe --model gemini-2.5-flash", "keypool probe --check --junit probe.xml"
        )
    )(probe)
