"""Projects that are removed, and kept for what upstream still counts of them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add when a project was removed."""
    op.add_column("projects", sa.Column("removed_at_ms", sa.BigInteger))
