"""The verbs and nouns, and the options before them; a run imports the module it needs."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from keypool_cli.cli.wiring import Session
from keypool_cli.errors import UsageError

MODULES: Mapping[str, str] = {
    "keys": "add list show disable enable remove rotate",
    "bulk": "import export",
    "apply": "apply",
    "check": "check",
    "drain": "drain",
    "reset": "reset",
    "status": "status",
    "top": "top",
    "explain": "explain",
    "events": "events",
    "doctor": "doctor",
    "probe": "probe",
    "config": "env config",
    "serve": "serve simulate",
    "demo": "demo",
    "guide": "guide",
    "completions": "completions",
    "quota": "quota",
    "project": "project",
    "pool": "pool",
    "client": "client",
}
"""What each module of this package brings, in the order of the help."""

NOUNS = ("quota", "project", "pool", "client", "config")
_HOME = "--home"
_JSON = "--json"
_SWITCHES = ("--quiet", "-q", "--verbose", "-v", "--color", "--no-color", "--debug")
"""Options of ``keypool`` itself, with a value and without."""


def app_for(words: Sequence[str]) -> typer.Typer:
    """The command line as far as ``words`` need it: one module, or all if that is not clear."""
    verb = first_verb(words)
    for module, verbs in MODULES.items():
        if verb in verbs.split():
            return _app([module])
    return whole()


def whole() -> typer.Typer:
    """The command line with every verb and noun."""
    return _app(MODULES)


def options_first(words: Sequence[str]) -> list[str]:
    """``words`` with the options of ``keypool`` itself in front, wherever they were typed.

    ``--json``, which every verb has, goes behind it.

    Raises UsageError where ``--home`` names no folder: the next word, or the folder that the run
    happens to be in, is not what was meant.
    """
    first, others, last, rest = [], [], [], iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if word == "--":
            others += [word, *rest]
        elif word == _JSON and not others:
            last = [word]
        elif option == _HOME:
            folder = value if equals else next(rest, "")
            if not folder.strip() or (folder.startswith("-") and not equals):
                raise UsageError("--home needs a folder", hint="keypool --home DIR VERB")
            first.append(f"{_HOME}={folder}")
        else:
            (first if word in _SWITCHES else others).append(word)
    end = others.index("--") if "--" in others else len(others)
    return [*first, *others[:end], *last, *others[end:]]


def asks_for_help(words: Sequence[str]) -> list[str]:
    """``keypool help VERB`` as ``keypool VERB --help``."""
    if first_verb(words) != "help":
        return [*words]
    at = words.index("help")
    return [*words[:at], *words[at + 1 :], "--help"]


def first_verb(words: Sequence[str]) -> str:
    """The verb or noun that was typed, empty where none was."""
    before = ""
    for word in words:
        if not word.startswith("-") and before != _HOME:
            return word
        before = word
    return ""


def _app(modules: Sequence[str] | Mapping[str, str]) -> typer.Typer:
    made = typer.Typer(
        help="Administer a shared pool of Gemini API keys.",
        epilog="New here? keypool demo; keypool guide quickstart; keypool add NAME --project PROJECT",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback(invoke_without_command=True)(before_the_verb)
    found = {name: import_module(f"keypool_cli.cli.{name}") for name in modules}
    for module in found.values():
        if hasattr(module, "register"):
            module.register(made)
    for noun in NOUNS:
        if noun in found:
            made.add_typer(found[noun].group, name=noun)
    return made


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"keypool {version('keypool')}")
        except PackageNotFoundError:  # run from a source tree
            typer.echo("keypool (not installed)")
        raise typer.Exit


def _tell_where(ctx: typer.Context) -> None:
    """Tell where this run looks, and at its end how long it took."""
    from time import monotonic

    from keypool_cli.cli import output, wiring

    began = monotonic()
    chosen = wiring.settings(ctx)
    for name in ("home", "database_url", "redis_url", "upstream_url"):
        output.say(ctx, f"{name}: {chosen.shown(name)} ({chosen.origin(name)})")
    ctx.call_on_close(lambda: output.say(ctx, f"took {monotonic() - began:.2f} s"))


def before_the_verb(
    ctx: typer.Context,
    *,
    home: Annotated[Path | None, typer.Option(help="Data folder.", metavar="DIR")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No words on stderr.")] = False,
    color: Annotated[
        bool | None,
        typer.Option("--color/--no-color", help="Colours, or none, whatever NO_COLOR says."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also where it looks, and how long it takes.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show it.")
    ] = False,
) -> None:
    """Keep the options that may stand before every verb."""
    del debug, version
    ctx.obj = Session(home=home, quiet=quiet, color=color)
    if verbose:
        _tell_where(ctx)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
