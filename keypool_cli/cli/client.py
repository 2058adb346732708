"""``client add|list|revoke``: applications that may use the daemon."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from keypool_cli.cli import asking, output, wiring
from keypool_cli.cli.config import daemon_url, lease_command
from keypool_cli.cli.options import (
    Json,
    Reason,
    Yes,
    examples,
    new_group,
    refuse_secret_as_name,
)
from keypool_cli.cli.streams import drop_stdout
from keypool_cli.errors import KeypoolError, UsageError

if TYPE_CHECKING:
    from keypool_cli.registry.values import NewClient

group = new_group("Applications that may use the daemon, and their tokens.")

Names = list[str] | None


@group.command(
    epilog=examples(
        "keypool client add app --pool main", "keypool client add batch --rpm 60 --expires 90d"
    )
)
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for the application.")],
    *,
    pool: Annotated[
        Names, typer.Option(metavar="POOL", help="A pool it may use; else all. Repeatable.")
    ] = None,
    model: Annotated[
        Names, typer.Option(metavar="MODEL", help="A model it may use; else all. Repeatable.")
    ] = None,
    scope: Annotated[
        Names,
        typer.Option(
            metavar="SCOPE", help="Of lease, proxy, read, admin; lease and proxy if none is named."
        ),
    ] = None,
    rpm: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Its requests a minute and model.")
    ] = None,
    tpm: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Its tokens a minute and model.")
    ] = None,
    reports: Annotated[
        Literal["all", "usage"], typer.Option(help="usage: its errors cool and disable nothing.")
    ] = "all",
    expires: Annotated[
        str | None, typer.Option(metavar="90d|DATE", help="When its token ends.")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Add an application. Its token is printed now and never again."""
    from keypool_cli.registry.values import NewClient

    del yes  # nothing is asked here
    refuse_secret_as_name(name)
    new = NewClient(
        name=name,
        pools=tuple(pool) if pool else None,
        models=tuple(model) if model else None,
        scopes=tuple(scope) if scope else ("lease", "proxy"),
        rpm=rpm,
        tpm=tpm,
        reports=reports,
        expires_at_ms=_instant(expires),
    )
    _add(ctx, new, as_json=as_json)


def _add(ctx: typer.Context, new: "NewClient", *, as_json: bool) -> None:
    from keypool_cli.service import clients

    view, token = wiring.change(
        ctx, lambda ports: clients.add_client(ports, new, by=wiring.actor())
    )
    try:
        if as_json:
            output.print_json({"name": view.name, "token": token.text})
            return
        output.line(token.text)
    except OSError as err:
        drop_stdout()
        raise _taken_back(ctx, view.name, err) from err
    output.say(ctx, f"{view.name} is added; this token is not shown again")
    if "proxy" in view.scopes:
        output.hint(ctx, 'for an SDK: export KEYPOOL_TOKEN=THAT; eval "$(keypool env)"')
    if "lease" in view.scopes:
        output.hint(ctx, f"to lease a key: {lease_command(daemon_url(wiring.settings(ctx)))}")


def _taken_back(ctx: typer.Context, name: str, err: OSError) -> KeypoolError:
    """Revoke a client whose token nobody has read, and say so."""
    from keypool_cli.service import clients

    by = wiring.actor("its token could not be printed")
    wiring.change(ctx, lambda ports: clients.revoke_client(ports, name, by=by))
    return KeypoolError(
        f"the token of {name} cannot be printed, so it is revoked again: {err.strerror}",
        hint="add it under another name: a token is shown once, and a name is never used again",
    )


@group.command("list", epilog=examples("keypool client list"))
def list_(ctx: typer.Context, *, as_json: Json = False) -> None:
    """List applications, never their tokens."""
    from keypool_cli.service import clients

    found = wiring.read(ctx, clients.list_clients)
    if as_json:
        output.print_json({"clients": found})
    elif found:
        columns = (
            "CLIENT",
            "STATE",
            "POOLS",
            "MODELS",
            "SCOPES",
            "RPM",
            "TPM",
            "LAST USED",
            "EXPIRES",
        )
        rows = [
            (
                each.name,
                each.state,
                ",".join(each.pools) if each.pools is not None else "every pool",
                ",".join(each.models) if each.models is not None else "every model",
                ",".join(each.scopes),
                each.rpm,
                each.tpm,
                output.instant(each.last_used_at) or "never",
                output.instant(each.expires_at, 10),
            )
            for each in found
        ]
        output.print_table(ctx, columns, rows, whole=("CLIENT", "STATE", "LAST USED", "EXPIRES"))
    else:
        output.say(ctx, "no clients yet")
        output.hint(ctx, "to add one: keypool client add NAME")


@group.command(epilog=examples("keypool client revoke old-app --yes"))
def revoke(
    ctx: typer.Context,
    client: Annotated[str, typer.Argument(metavar="NAME", help="Name of a client.")],
    *,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Refuse a client's token from now on."""
    from keypool_cli.service import clients

    found = wiring.read(ctx, lambda ports: clients.show_client(ports, client))
    if found.revoked_at is None:
        asking.confirm(f"Revoke the token of {found.name}?", yes=yes)
    by = wiring.actor(reason)
    revoked = wiring.change(ctx, lambda ports: clients.revoke_client(ports, client, by=by))
    if as_json:
        output.print_json({"client": revoked})
    else:
        output.line(f"{revoked.name} is revoked since {revoked.revoked_at}")


def _instant(text: str | None) -> int | None:
    """Milliseconds since the epoch of ``90d``, ``12h`` from now, or of an ISO-8601 date in UTC.

    Raises UsageError unless that is still to come.
    """
    if text is None:
        return None
    now = datetime.now(UTC)
    unit = {"d": "days", "h": "hours"}.get(text[-1:])
    try:
        if unit is not None:
            at = now + timedelta(**{unit: int(text[:-1])})
        else:
            at = datetime.fromisoformat(text)
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"--expires is a number of days or hours, or a date, not {text!r}",
            hint="for example: 90d, 12h, 2027-03-31",
        ) from None
    if at <= now:
        raise UsageError(f"--expires {text} is over already: the token would never be accepted")
    return int(at.timestamp() * 1000)
