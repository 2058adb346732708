"""``project list|show|set|remove``: tier, billing account, priority and labels."""

from typing import TYPE_CHECKING, Annotated

import typer

from keypool_cli.cli import asking, output, wiring
from keypool_cli.cli.options import Json, Labels, Reason, Yes, examples, new_group, pairs
from keypool_cli.errors import UsageError

if TYPE_CHECKING:
    from keypool_cli.core.model import Secret
    from keypool_cli.registry.values import ProjectFields

group = new_group("Google Cloud projects: the holders of quota.")

Name = Annotated[str, typer.Argument(metavar="PROJECT", help="Name of a project.")]

NOTHING = "none"
"""Clears a tier or a billing account."""


@group.command("list", epilog=examples("keypool project list"))
def list_(ctx: typer.Context, *, as_json: Json = False) -> None:
    """List projects."""
    from keypool_cli.service import projects

    found = wiring.read(ctx, projects.list_projects)
    if as_json:
        output.print_json({"projects": found})
    elif found:
        columns = ("PROJECT", "TIER", "PRIORITY", "BILLING", "POOLS", "KEYS", "ENABLED", "LABELS")
        rows = [
            (
                each.name,
                each.tier,
                each.priority,
                each.billing_account,
                ",".join(each.pools),
                len(each.keys),
                "yes" if each.enabled else "no",
                output.labels_text(each.labels),
            )
            for each in found
        ]
        output.print_table(ctx, columns, rows)
    else:
        output.say(ctx, "no projects yet")
        output.hint(ctx, "to store a project's key: keypool add NAME --project PROJECT")


@group.command(epilog=examples("keypool project show p1"))
def show(ctx: typer.Context, project: Name, *, as_json: Json = False) -> None:
    """Show a project, its pools and keys."""
    from keypool_cli.service import projects

    found = wiring.read(ctx, lambda ports: projects.show_project(ports, project))
    texts = {
        "pools": ", ".join(found.pools),
        "keys": ", ".join(found.keys),
        "labels": output.labels_text(found.labels),
        "enabled": "yes" if found.enabled else "no",
    }
    output.print_view(ctx, "project", found, texts, as_json=as_json)


@group.command(
    "set",
    epilog=examples(
        "keypool project set p1 --tier tier1 --priority 10",
        "keypool project set p9 --create --billing-account acme",
        "keypool project set p1 --egress-proxy http://proxy.example:3128",
    ),
)
def set_(
    ctx: typer.Context,
    project: Name,
    *,
    tier: Annotated[
        str | None, typer.Option(metavar="TIER", help="Usage tier; `none` clears it.")
    ] = None,
    priority: Annotated[
        int | None, typer.Option(metavar="N", help="Larger is chosen first.")
    ] = None,
    billing_account: Annotated[
        str | None, typer.Option(metavar="NAME", help="Its billing account; `none` clears it.")
    ] = None,
    egress_proxy: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Proxy its calls leave through; `-` reads it from stdin, `none` clears it.",
        ),
    ] = None,
    label: Labels = None,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether it may be used.")
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Make the project first.")] = False,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Change what is named; the rest stays. Labels are replaced as a whole."""
    from keypool_cli.cli.suggesting import tier_meant
    from keypool_cli.service import projects

    del yes  # nothing is asked here
    fields = _fields(tier, priority, billing_account)
    if egress_proxy is not None:
        fields["egress_proxy"] = _proxy(egress_proxy)
    if label is not None:
        fields["labels"] = pairs(label)
    if enabled is not None:
        fields["enabled"] = enabled
    if not fields and not create:
        raise UsageError("nothing to change is named", hint="see: keypool project set --help")
    by = wiring.actor(reason)
    view = wiring.change(
        ctx, lambda ports: projects.set_project(ports, project, fields, by=by, create=create)
    )
    output.hint(ctx, tier_meant(view.tier) if tier is not None else None)
    if as_json:
        output.print_json({"project": view})
    else:
        output.line(
            f"{view.name}: tier {view.tier or NOTHING}, priority {view.priority}, "
            f"billing account {view.billing_account or NOTHING}, "
            f"{'enabled' if view.enabled else 'disabled'}"
            f"{f', leaves through {view.egress_proxy}' if view.egress_proxy else ''}"
        )


def _proxy(url: str) -> "Secret | None":
    """The proxy's URL; with a password, it must not come by way of the command line."""
    from keypool_cli.config.urls import masked_url
    from keypool_cli.core.model import Secret

    if url == NOTHING:
        return None
    if url == "-":
        return Secret(asking.stdin_secret("URL of the proxy (not shown)").strip())
    if masked_url(url) != url:
        raise UsageError(
            "a password in the command line is seen by others",
            hint="give the URL on stdin: keypool project set PROJECT --egress-proxy -",
        )
    return Secret(url)


def _fields(tier: str | None, priority: int | None, billing_account: str | None) -> "ProjectFields":
    fields: ProjectFields = {}
    if tier is not None:
        fields["tier"] = None if tier == NOTHING else tier
    if priority is not None:
        fields["priority"] = priority
    if billing_account is not None:
        fields["billing_account"] = None if billing_account == NOTHING else billing_account
    return fields


@group.command(epilog=examples("keypool project remove old-project --yes"))
def remove(
    ctx: typer.Context,
    project: Name,
    *,
    with_keys: Annotated[bool, typer.Option("--with-keys", help="Its keys too.")] = False,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove a project with its limits.

    Refused while it has keys, unless they go with it. One of the same name that is added within
    three days has the counts and cooldowns that this one leaves with: upstream does not forget.
    """
    from keypool_cli.registry.projects import still_has_keys
    from keypool_cli.service import projects

    found = wiring.read(ctx, lambda ports: projects.show_project(ports, project))
    if found.keys and not with_keys:
        raise still_has_keys(found.name, len(found.keys))
    also = f" and {output.counted(len(found.keys), 'key')}" if with_keys and found.keys else ""
    asking.confirm(f"Remove project {found.name}{also}?", yes=yes)
    by = wiring.actor(reason)
    removed = wiring.change(
        ctx,
        lambda ports: projects.remove_project(ports, project, by=by, with_keys=with_keys),
    )
    if as_json:
        output.print_json({"project": removed})
    else:
        output.line(f"{removed.name}{also} removed")
