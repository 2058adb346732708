"""How large what upstream keeps is, as far as it told."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add what a prompt that names it costs more, or what tells that."""
    op.add_column("resources", sa.Column("tokens", sa.BigInteger))
    op.add_column("resources", sa.Column("mime_type", sa.Text))
    op.add_column("resources", sa.Column("size_bytes", sa.BigInteger))
    op.add_column("resources", sa.Column("seconds", sa.Float))
