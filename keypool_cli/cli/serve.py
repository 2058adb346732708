"""``serve`` and ``simulate``: the two servers."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import output, wiring
from keypool_cli.cli.options import Json, examples
from keypool_cli.errors import UsageError

if TYPE_CHECKING:
    from keypool_cli.http.address import Address
    from keypool_cli.http.tls import Tls


def serve(
    ctx: typer.Context,
    *,
    host: Annotated[str | None, typer.Option(metavar="HOST", help="Where to listen.")] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", help="0 lets the system choose.")
    ] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Processes that share the work.")
    ] = 1,
    auth: Annotated[
        bool, typer.Option("--auth/--no-auth", help="Ask for tokens; not without, beyond loopback.")
    ] = True,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy before it speaks TLS.")
    ] = False,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Speak TLS with this certificate (PEM).")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its private key (PEM, mode 0600).")
    ] = None,
    access_log: Annotated[
        str | None, typer.Option(metavar="text|json", help="A line on stderr for each call.")
    ] = None,
    insecure_upstream: Annotated[
        bool | None, typer.Option("--insecure-upstream", help="Accept http:// beyond loopback.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the daemon until SIGTERM or Ctrl-C.

    Prints its URL when it is ready. Applications take its token from `keypool client add`; they
    lease keys below URL/keypool/v1 (`keypool guide http`), or point their SDK here (`keypool env`).
    """
    # Until the daemon knows how to end: an interrupt raised while importing may be forgotten.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    from keypool_cli.cli.config import daemon_url, lease_command
    from keypool_cli.daemon.server import ServeOptions, run_daemon
    from keypool_cli.http.access_log import log_form
    from keypool_cli.http.server import end_process

    def ready(url: str) -> None:
        _tell_url(url, as_json=as_json)
        where = "" if url == daemon_url(wiring.settings(ctx)) else f" --url {url}"
        output.hint(ctx, f'for an SDK: keypool client add APP; eval "$(keypool env{where})"')
        if sys.stderr.isatty():
            output.hint(ctx, f"to lease a key: {lease_command(url)}")

    chosen = wiring.settings(ctx, host=host, port=port, insecure_upstream=insecure_upstream)
    form = log_form(access_log) if access_log is not None else None
    how = ServeOptions(workers, auth, behind_proxy, _tls(tls_cert, tls_key), form)
    wiring.collect_again()
    run_daemon(chosen, how, on_ready=ready)
    end_process()


def _tls(cert: Path | None, key: Path | None) -> "Tls | None":
    from keypool_cli.http.tls import Tls

    if (cert is None) != (key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    return Tls(cert, key) if cert is not None and key is not None else None


def simulate(
    ctx: typer.Context,
    *,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A world as JSON or TOML.")
    ] = None,
    host: Annotated[str, typer.Option(metavar="HOST", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", help="0 lets the system choose.")] = 0,
    as_json: Json = False,
) -> None:
    """Run a local Gemini with real quota behaviour.

    Prints its URL when it is ready; ends with Ctrl-C. Without a world it knows every key
    sim-PROJECT-ANYTHING, on the free tier. A world names others, and their limits.
    """
    from keypool_cli.http.server import end_process
    from keypool_cli.simulator.app import run
    from keypool_cli.simulator.world import default_world, load_world

    def ready(address: "Address") -> None:
        _tell_url(address.url, as_json=as_json)
        output.hint(ctx, f"to use it: KEYPOOL_UPSTREAM_URL={address.url} keypool serve")

    world = load_world(config) if config else default_world()
    wiring.run(run(world, host=host, port=port, on_ready=ready))
    end_process()


def _tell_url(url: str, *, as_json: bool) -> None:
    if as_json:
        output.print_json_line({"schema": output.SCHEMA, "url": url})
    else:
        output.line(url)


_A_WORLD = """\b
A world:
  {"projects": {"p1": {"keys": ["secret"], "tier": "free",
                       "models": {"*": {"rpm": 5, "tpm": 250000, "rpd": 20}}}}}"""


def register(app: typer.Typer) -> None:
    """Hang the verbs on the command line."""
    app.command(epilog=examples("keypool serve --port 8787"))(serve)
    app.command(epilog=f"{examples('keypool simulate --port 0')}\n\n{_A_WORLD}")(simulate)
