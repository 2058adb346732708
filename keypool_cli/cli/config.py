"""``config show`` and ``env``: the settings in force, and what SDKs need of them."""

import os
import re
from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import output, wiring
from keypool_cli.cli.options import Json, examples, new_group
from keypool_cli.errors import UsageError

if TYPE_CHECKING:
    from keypool_cli.config.settings import Settings

group = new_group("The settings in force.")


@group.command(epilog=examples("keypool config show"))
def show(ctx: typer.Context, *, as_json: Json = False) -> None:
    """Show each setting and where it was set.

    Passwords and keys are hidden.
    """
    from keypool_cli.config import SETTING_NAMES

    chosen = wiring.settings(ctx)
    rows = [(name, chosen.shown(name), chosen.origin(name)) for name in SETTING_NAMES]
    if as_json:
        shown = [dict(zip(("name", "value", "origin"), row, strict=True)) for row in rows]
        output.print_json({"settings": shown})
    else:
        output.print_table(ctx, ("SETTING", "VALUE", "FROM"), rows)


def daemon_url(chosen: "Settings") -> str:
    """Where a daemon listens that is told nothing else."""
    host = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
    return f"http://{host}:{chosen.port}"


def lease_command(url: str) -> str:
    """A first lease, as it is typed."""
    return (
        f'curl -s {url}/keypool/v1/leases -H "Authorization: Bearer $KEYPOOL_TOKEN" '
        """-H 'Content-Type: application/json' -d '{"model": "gemini-2.5-flash", "tokens": 100}'"""
    )


# What goes between double quotes, where a shell would read more than a URL.
_URL = re.compile(r"https?://[^\s\"$`\\@]+")


def env(
    ctx: typer.Context,
    *,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the daemon is, if it is elsewhere.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the exports that bring SDKs to the daemon.

    KEYPOOL_TOKEN is to hold a token of `keypool client add`.
    """
    from keypool_cli.config import masked_url

    if url is not None and not _URL.fullmatch(url):
        raise UsageError(f"a daemon's URL is like https://127.0.0.1:8787, not {masked_url(url)!r}")
    exports = {
        "GOOGLE_GEMINI_BASE_URL": url or daemon_url(wiring.settings(ctx)),
        **dict.fromkeys(("GEMINI_API_KEY", "GOOGLE_API_KEY"), "$KEYPOOL_TOKEN"),
    }
    if as_json:
        output.print_json({"env": exports})
        return
    for name, value in exports.items():
        output.line(f'export {name}="{value}"')
    if not os.environ.get("KEYPOOL_TOKEN"):
        told = "KEYPOOL_TOKEN is not set: export the token that keypool client add NAME printed"
        output.hint(ctx, told)


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(epilog=examples("keypool env", "keypool env --url https://pool.example:8787"))(env)
