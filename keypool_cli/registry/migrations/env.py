"""Runs the migrations inside the transaction that schema.py hands over; Alembic loads this file."""

from alembic import context

from keypool_cli.registry.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
