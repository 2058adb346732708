"""``config show`` and ``env``: the settings in force, and what SDKs need of them."""

import typer

from keypool_cli.cli import output, wiring
from keypool_cli.cli.options import Json, examples, new_group

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


def env(ctx: typer.Context, *, as_json: Json = False) -> None:
    """Print the exports that bring SDKs to the daemon.

    KEYPOOL_TOKEN is to hold a token of `keypool client add`.
    """
    chosen = wiring.settings(ctx)
    host = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
    url, token = f"http://{host}:{chosen.port}", "$KEYPOOL_TOKEN"
    exports = {
        "GOOGLE_GEMINI_BASE_URL": url,
        "GEMINI_API_KEY": token,
        "GOOGLE_API_KEY": token,
    }
    if as_json:
        output.print_json({"env": exports})
        return
    for name, value in exports.items():
        output.line(f'export {name}="{value}"')


def register(app: typer.Typer) -> None:
    """Hang the verb on the command line."""
    app.command(epilog=examples("keypool env"))(env)
