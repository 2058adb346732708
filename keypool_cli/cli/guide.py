"""``guide``: what is worth knowing, in the terminal."""

import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from keypool_cli.cli import output
from keypool_cli.cli.options import Json, examples
from keypool_cli.errors import NotFoundError

TOPICS: Mapping[str, str] = {
    "quickstart": "From nothing to a first lease.",
    "concepts": "Keys, projects, pools, limits, leases, cooldowns.",
    "operating": "Runbooks: all is 429, a leaked key, moving, upgrading, backup.",
    "apply": "A whole pool in one file, TOML or YAML.",
    "recipes": "Python, JavaScript, curl, LangChain, AI SDK, gemini-cli.",
    "quotas": "What Google counts, setting limits, Google's terms.",
    "http": "The daemon's own API, and the command line's JSON.",
    "ci": "Checks for pipelines: probe, apply, status, doctor.",
}
"""The topics in the order in which to read them."""


def guide(
    ctx: typer.Context,
    topic: Annotated[
        str | None, typer.Argument(metavar="[TOPIC]", help="One of those it lists.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show a guide, or list them."""
    if topic is None:
        _list(ctx, as_json=as_json)
        return
    text = text_of(topic)
    if as_json:
        output.print_json({"topic": topic, "text": text})
    elif output.on_terminal():
        _show(ctx, text)
    else:
        sys.stdout.write(text)


def text_of(topic: str) -> str:
    """A guide in Markdown. Raises NotFoundError with topics that are alike."""
    from difflib import get_close_matches
    from importlib.resources import files

    if topic not in TOPICS:
        close = get_close_matches(topic, TOPICS, n=1)
        guess = f"did you mean {close[0]!r}? " if close else ""
        raise NotFoundError(f"no guide is called {topic!r}", hint=f"{guess}see: keypool guide")
    return files("keypool_cli").joinpath(f"guides/{topic}.md").read_text(encoding="utf-8")


def _list(ctx: typer.Context, *, as_json: bool) -> None:
    if as_json:
        output.print_json({"topics": [{"topic": t, "about": a} for t, a in TOPICS.items()]})
        return
    output.print_table(ctx, ("GUIDE", "ABOUT"), list(TOPICS.items()))
    output.hint(ctx, "to read one: keypool guide quickstart")


def _show(ctx: typer.Context, text: str) -> None:
    from rich.markdown import Markdown

    terminal = output.console(ctx)
    shown = Markdown(text, code_theme="ansi_dark", hyperlinks=False)
    terminal.print(shown, width=min(terminal.width, 100))


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(epilog=examples("keypool guide", "keypool guide quickstart"))(guide)
