"""Alembic's environment and the registry's migrations, shipped as part of the package."""
