"""The verbs and nouns, and the options before them; a run imports the module it needs."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from keypool_cli.cli.wiring import Session

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
_VALUED = ("--home",)
"""Options before the verb that are followed by a value."""


def app_for(words: Sequence[str]) -> typer.Typer:
    """The command line as far as ``words`` need it: one module, or all if that is not clear."""
    verb = _first_verb(words)
    for module, verbs in MODULES.items():
        if verb in verbs.split():
            return _app([module])
    return whole()


def whole() -> typer.Typer:
    """The command line with every verb and noun."""
    return _app(MODULES)


def _first_verb(words: Sequence[str]) -> str | None:
    before = ""
    for word in words:
        if not word.startswith("-") and before not in _VALUED:
            return word
        before = word
    return None


def _app(modules: Sequence[str] | Mapping[str, str]) -> typer.Typer:
    made = typer.Typer(
        help="Administer a shared pool of Gemini API keys.",
        epilog="New here? keypool demo; keypool guide quickstart; keypool add NAME --project PROJECT",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
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


def before_the_verb(
    ctx: typer.Context,
    *,
    home: Annotated[Path | None, typer.Option(help="Data folder.", metavar="DIR")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No words on stderr.")] = False,
    color: Annotated[
        bool | None, typer.Option("--color/--no-color", help="Colour, whatever the terminal.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show it.")
    ] = False,
) -> None:
    """Keep the options that stand before the verb."""
    del debug, version
    ctx.obj = Session(home=home, quiet=quiet, color=color)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
