"""What is configured and must never be forgotten, in SQL.

``repository.Registry`` is the way in. Nothing is imported here: a command that needs only the
values (``values.py``) does not pay for SQLAlchemy.
"""
