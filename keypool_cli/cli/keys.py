"""``add``, ``list``, ``show``, ``disable``, ``enable``, ``remove``, ``rotate``: keys one by one."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import asking, output, wiring
from keypool_cli.cli.options import (
    FromEnv,
    FromFile,
    FromStdin,
    Json,
    Labels,
    Reason,
    Yes,
    examples,
    pairs,
    refuse_secret_as_name,
    secret_from,
)
from keypool_cli.errors import UsageError

if TYPE_CHECKING:
    from keypool_cli.service.keys import KeyView
    from keypool_cli.service.ports import Ports

KEY_STATES = ("ready", "disabled", "dead")

KeyNames = Annotated[list[str], typer.Argument(metavar="KEY...", help="Names of keys.")]
KeyName = Annotated[str, typer.Argument(metavar="KEY", help="Name of a key.")]


def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for the key.")],
    *,
    project: Annotated[
        str, typer.Option(metavar="PROJECT", help="Its Google Cloud project; made if new.")
    ],
    pool: Annotated[
        str | None, typer.Option(metavar="POOL", help="A pool to put the project in; made if new.")
    ] = None,
    tier: Annotated[
        str | None, typer.Option(metavar="TIER", help="Usage tier of a new project.")
    ] = None,
    priority: Annotated[
        int | None, typer.Option(metavar="N", help="Priority of a new project; larger is first.")
    ] = None,
    label: Labels = None,
    from_stdin: FromStdin = False,
    from_env: FromEnv = None,
    from_file: FromFile = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Store a key.

    Its secret is asked for, or read from one source; it is never a word of the command.
    """
    from keypool_cli.cli.suggesting import tier_meant
    from keypool_cli.registry.values import NewKey
    from keypool_cli.service import keys

    del yes  # nothing is asked here
    for each in (name, project, pool):
        refuse_secret_as_name(each or "")
    labels = pairs(label)
    if not (from_stdin or from_env or from_file):  # it will be asked for
        wiring.read(ctx, lambda ports: keys.refuse_taken(ports, name))
    secret = secret_from(
        stdin=from_stdin, env=from_env, file=from_file, prompt=f"Secret of {name} (not shown)"
    )
    new = NewKey(name, secret, project, pool, tier, priority, labels)
    added = wiring.change(ctx, lambda ports: keys.add_key(ports, new, by=wiring.actor()))
    if as_json:
        output.print_json({"key": added})
    else:
        pools = ", ".join(added.pools)
        output.line(f"{added.name} ({added.fingerprint}) added to {added.project}, pool {pools}")
        name = shlex.quote(added.name)
        output.hint(ctx, tier_meant(added.tier))
        if added.tier is None:
            place = shlex.quote(added.project)
            output.hint(
                ctx, f"Google's tier sets its limits: keypool project set {place} --tier free"
            )
        output.hint(ctx, f"next: keypool check {name}; keypool client add APP; keypool serve")


def list_(
    ctx: typer.Context,
    *,
    project: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="Only keys of this project.")
    ] = None,
    pool: Annotated[
        str | None, typer.Option(metavar="POOL", help="Only keys in this pool.")
    ] = None,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="Only ready, disabled or dead ones.")
    ] = None,
    label: Labels = None,
    as_json: Json = False,
) -> None:
    """List keys, never their secrets."""
    from keypool_cli.service import keys

    if state not in {None, *KEY_STATES}:
        raise UsageError(
            f"no state is called {state!r}", hint=f"states are: {', '.join(KEY_STATES)}"
        )
    wanted = pairs(label).items()
    found = [
        key
        for key in wiring.read(ctx, lambda ports: keys.list_keys(ports, project, pool))
        if state in {None, key.state} and wanted <= key.labels.items()
    ]
    if as_json:
        output.print_json({"keys": found})
    elif found:
        _print_keys(ctx, found)
    elif project or pool or state or label:
        output.say(ctx, "no key is as asked")
    else:
        output.say(ctx, f"no keys in {wiring.where_stored(wiring.settings(ctx))}")
        output.hint(ctx, "to store one: keypool add NAME --project PROJECT")


def show(ctx: typer.Context, key: KeyName, *, as_json: Json = False) -> None:
    """Show what is known of a key, except its secret."""
    from keypool_cli.service import keys

    [found] = wiring.read(ctx, lambda ports: keys.show_keys(ports, [key]))
    texts = {"pools": ", ".join(found.pools), "labels": output.labels_text(found.labels)}
    output.print_view(ctx, "key", found, texts, as_json=as_json)


def disable(
    ctx: typer.Context,
    key: KeyNames,
    *,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Set keys aside; leases that run end by themselves."""
    from keypool_cli.service import keys

    del yes  # nothing is asked here
    by = wiring.actor(reason)
    changed = wiring.change(ctx, lambda ports: keys.disable_keys(ports, key, by=by))
    _tell_each(changed, "disabled", as_json=as_json)


def enable(
    ctx: typer.Context,
    key: KeyNames,
    *,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make keys ready again, whoever set them aside."""
    from keypool_cli.cli.suggesting import MOST_HINTS, what_holds
    from keypool_cli.service import keys
    from keypool_cli.service.sync import read_configured

    del yes  # nothing is asked here
    by = wiring.actor(reason)

    async def work(ports: "Ports") -> "tuple[list[KeyView], list[str]]":
        changed = await keys.enable_keys(ports, key, by=by)
        projects = dict.fromkeys(each.project for each in changed)
        return changed, [*what_holds(await read_configured(ports), [*projects])]

    changed, hints = wiring.change(ctx, work)
    _tell_each(changed, "ready", as_json=as_json)
    for each in hints[:MOST_HINTS] if not as_json else ():
        output.hint(ctx, each)


def remove(
    ctx: typer.Context,
    key: KeyName,
    *,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove a key and its secret; its project stays."""
    from keypool_cli.service import keys

    [found] = wiring.read(ctx, lambda ports: keys.show_keys(ports, [key]))
    asking.confirm(f"Remove {found.name} ({found.fingerprint}) of {found.project}?", yes=yes)
    by = wiring.actor(reason)
    removed = wiring.change(ctx, lambda ports: keys.remove_key(ports, key, by=by))
    _tell_each([removed], "removed", as_json=as_json)


def rotate(
    ctx: typer.Context,
    key: KeyName,
    *,
    from_stdin: FromStdin = False,
    from_env: FromEnv = None,
    from_file: FromFile = None,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Give a key another secret.

    Its project's windows stay, and a dead key is ready again.
    """
    from keypool_cli.service import keys

    del yes  # nothing is asked here
    [was] = wiring.read(ctx, lambda ports: keys.show_keys(ports, [key]))
    secret = secret_from(
        stdin=from_stdin, env=from_env, file=from_file, prompt=f"New secret of {key} (not shown)"
    )
    by = wiring.actor(reason)
    now = wiring.change(ctx, lambda ports: keys.rotate_key(ports, key, secret, by=by))
    if as_json:
        output.print_json({"key": now, "before": {"fingerprint": was.fingerprint}})
    else:
        output.line(f"{now.name} rotated: {was.fingerprint} -> {now.fingerprint}, {now.state}")


def _print_keys(ctx: typer.Context, found: "list[KeyView]") -> None:
    columns = ("KEY", "PROJECT", "STATE", "POOLS", "FINGERPRINT", "LABELS", "REASON")
    rows = [
        (
            key.name,
            key.project,
            key.state,
            ",".join(key.pools),
            key.fingerprint,
            output.labels_text(key.labels),
            key.reason or key.rule,
        )
        for key in found
    ]
    output.print_table(ctx, columns, rows, whole=("KEY", "STATE"))


def _tell_each(changed: "list[KeyView]", outcome: str, *, as_json: bool) -> None:
    if as_json:
        output.print_json({"outcome": outcome, "keys": changed})
        return
    for key in changed:
        output.line(f"{key.name} is {outcome}")


def register(app: typer.Typer) -> None:
    """Hang the verbs on the command line."""
    app.command(
        epilog=examples(
            "keypool add k1 --project p1",
            "keypool add k2 --project p2 --pool main --tier tier1 --from-env GEMINI_KEY",
        )
    )(add)
    app.command("list", epilog=examples("keypool list --project p1", "keypool list --json"))(list_)
    app.command(epilog=examples("keypool show k1"))(show)
    app.command(epilog=examples('keypool disable k1 --reason "leaked"'))(disable)
    app.command(epilog=examples("keypool enable k1"))(enable)
    app.command(epilog=examples("keypool remove k1 --yes"))(remove)
    app.command(epilog=examples("keypool rotate k1 --from-file new-secret.txt"))(rotate)
