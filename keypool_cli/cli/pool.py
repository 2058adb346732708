"""``pool list|show|set|remove``: policy, default wait, and the projects in a pool."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from keypool_cli.cli import asking, output, wiring
from keypool_cli.cli.options import Json, Reason, Yes, examples, new_group
from keypool_cli.errors import UsageError

if TYPE_CHECKING:
    from keypool_cli.registry.values import PoolFields

group = new_group("Named sets of projects, chosen from by a policy.")

Name = Annotated[str, typer.Argument(metavar="POOL", help="Name of a pool.")]
Projects = Annotated[list[str] | None, typer.Option(metavar="PROJECT", help="Repeatable.")]


@group.command("list", epilog=examples("keypool pool list"))
def list_(ctx: typer.Context, *, as_json: Json = False) -> None:
    """List pools."""
    from keypool_cli.service import pools

    found = wiring.read(ctx, pools.list_pools)
    if as_json:
        output.print_json({"pools": found})
    elif found:
        columns = ("POOL", "POLICY", "WAIT S", "PROJECTS", "KEYS")
        rows = [(p.name, p.policy, f"{p.wait_s:g}", len(p.projects), p.keys) for p in found]
        output.print_table(ctx, columns, rows)
    else:
        output.say(ctx, "no pools yet")
        output.hint(ctx, "the first key makes one: keypool add NAME --project PROJECT")


@group.command(epilog=examples("keypool pool show main"))
def show(ctx: typer.Context, pool: Name, *, as_json: Json = False) -> None:
    """Show a pool and its projects."""
    from keypool_cli.service import pools

    found = wiring.read(ctx, lambda ports: pools.show_pool(ports, pool))
    texts = {
        "wait_s": f"{found.wait_s:g}",
        "projects": ", ".join(found.projects),
        "shared_resources": "yes" if found.shared_resources else "no",
    }
    output.print_view(ctx, "pool", found, texts, as_json=as_json)


@group.command(
    "set",
    epilog=examples(
        "keypool pool set main --policy pack --wait 5",
        "keypool pool set batch --create --add-project p1",
        "keypool pool set main --shared-resources",
    ),
)
def set_(
    ctx: typer.Context,
    pool: Name,
    *,
    policy: Annotated[
        Literal["spread", "pack"] | None,
        typer.Option(help="Most headroom first, or the least that fits."),
    ] = None,
    wait: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds a request waits by default.")
    ] = None,
    add_project: Projects = None,
    remove_project: Projects = None,
    shared_resources: Annotated[
        bool | None,
        typer.Option(
            "--shared-resources/--own-resources",
            help="Whether clients may use each other's files, caches and batches.",
        ),
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Make the pool first.")] = False,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Change what is named; the rest stays."""
    from keypool_cli.core.model import Policy
    from keypool_cli.service import pools

    del yes  # nothing is asked here
    fields: PoolFields = {}
    if policy is not None:
        fields["policy"] = Policy(policy)
    if wait is not None:
        fields["wait_s"] = wait
    if shared_resources is not None:
        fields["shared_resources"] = shared_resources
    if not (fields or add_project or remove_project or create):
        raise UsageError("nothing to change is named", hint="see: keypool pool set --help")
    wanted = pools.PoolChange(fields, add_project or (), remove_project or (), create)
    by = wiring.actor(reason)
    view = wiring.change(ctx, lambda ports: pools.set_pool(ports, pool, wanted, by=by))
    if as_json:
        output.print_json({"pool": view})
    else:
        output.line(
            f"{view.name}: policy {view.policy}, wait {view.wait_s:g} s, "
            f"projects {', '.join(view.projects) or 'none'}"
            f"{', resources shared' if view.shared_resources else ''}"
        )


@group.command(epilog=examples("keypool pool remove main --yes"))
def remove(
    ctx: typer.Context,
    pool: Name,
    *,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove a pool; its projects and keys stay."""
    from keypool_cli.service import pools

    found = wiring.read(ctx, lambda ports: pools.show_pool(ports, pool))
    stay = output.counted(len(found.projects), "project")
    asking.confirm(f"Remove pool {found.name}? Its {stay} will stay.", yes=yes)
    by = wiring.actor(reason)
    removed = wiring.change(ctx, lambda ports: pools.remove_pool(ports, pool, by=by))
    if as_json:
        output.print_json({"pool": removed})
    else:
        output.line(f"{removed.name} removed; its projects stay")
