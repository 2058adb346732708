"""What belongs to one project, the pools that share it, and the proxies calls leave through."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the table of resources, and the settings beside it."""
    op.add_column("projects", sa.Column("egress_proxy", sa.Text))
    op.add_column("projects", sa.Column("egress_sealed", sa.LargeBinary))
    shared = sa.Column("shared_resources", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("pools", shared)
    op.create_table(
        "resources",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.Column("client_id", sa.Integer),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("until_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("name", "project_id", name="pk_resources"),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name="fk_resources_project_id_projects",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["client_id"], ["clients.id"], name="fk_resources_client_id_clients"
        ),
    )
    op.create_index("ix_resources_until_at_ms", "resources", ["until_at_ms"])
    op.create_index("ix_resources_client_id_at_ms", "resources", ["client_id", "at_ms"])
    op.create_index("ix_resources_project_id", "resources", ["project_id"])
