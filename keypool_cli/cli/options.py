"""Options that several verbs share, and how their text is read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.errors import UsageError

if TYPE_CHECKING:
    from keypool_cli.core.model import Secret

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; goes into the audit log.")]
Labels = Annotated[
    list[str] | None, typer.Option("--label", "-l", metavar="NAME=VALUE", help="Repeatable.")
]
FromStdin = Annotated[bool, typer.Option("--from-stdin", help="Read the secret from stdin.")]
FromEnv = Annotated[
    str | None, typer.Option(metavar="VAR", help="Read the secret from this variable.")
]
FromFile = Annotated[str | None, typer.Option(metavar="PATH", help="Read the secret from a file.")]

UNLIMITED_WORD = "unlimited"


def new_group(words: str) -> typer.Typer:
    """A noun with verbs below it; alone it shows its help."""
    group = typer.Typer(help=words, rich_markup_mode=None, pretty_exceptions_enable=False)

    @group.callback(invoke_without_command=True)
    def show_help(ctx: typer.Context) -> None:
        if ctx.invoked_subcommand is None:
            typer.echo(ctx.get_help())

    return group


def examples(*lines: str) -> str:
    r"""The end of a verb's help; ``\b`` keeps the lines from being wrapped."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def pairs(texts: Sequence[str] | None) -> dict[str, str]:
    """Labels from ``NAME=VALUE`` texts."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"a label is NAME=VALUE, not {text!r}")
        if found.setdefault(name, value) != value:
            raise UsageError(f"the label {name!r} is given two values: {found[name]!r}, {value!r}")
    return found


def limit(text: str | None, dimension: str) -> int | None:
    """A limit from its text: a whole number or ``unlimited``; None stays None."""
    from keypool_cli.core.model import MAX_LIMIT, UNLIMITED

    if text is None:
        return None
    if text.strip().lower() == UNLIMITED_WORD:
        return UNLIMITED
    digits = text.replace("_", "")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 13 or int(digits) > MAX_LIMIT:
        raise UsageError(
            f"--{dimension.replace('_', '-')} is a whole number from 0 to 10^12 or "
            f"{UNLIMITED_WORD}, not {text!r}",
            hint="0 means that the model is not offered",
        )
    return int(digits)


def refuse_secret_as_name(name: str) -> None:
    """Refuse a name in the form of a Gemini key: names are shown everywhere."""
    from keypool_cli.core.redact import redact

    if redact(name) != name:
        raise UsageError(
            "this name looks like a secret, which must not stand on a command line",
            hint="keypool add NAME --project P asks for the secret",
        )


def secret_from(*, stdin: bool, env: str | None, file: str | None, prompt: str) -> "Secret":
    """The secret from the one source that was named, or asked for on a terminal."""
    from keypool_cli.cli import asking
    from keypool_cli.core.model import Secret

    if sum((stdin, env is not None, file is not None)) > 1:
        raise UsageError(
            "the secret has more than one source",
            hint="give one of --from-stdin, --from-env, --from-file",
        )
    if stdin:
        text = asking.stdin_secret(prompt)
    elif env is not None:
        text = asking.env_text(env)
    else:
        text = asking.hidden(prompt) if file is None else asking.file_text(file)
    if not text.strip():
        raise UsageError("the secret is empty")
    return Secret(text.strip())
