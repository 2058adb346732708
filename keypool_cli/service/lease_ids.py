"""Lease ids: unguessable, and naming the model whose live state holds the lease."""

import secrets
from functools import lru_cache
from urllib.parse import unquote

from keypool_cli.engine.keyspace import quote
from keypool_cli.errors import NotFoundError

_RANDOM_BYTES = 16


def new_lease_id(model: str) -> str:
    """Make an id with 128 random bits for a lease on a bucket model."""
    return f"{secrets.token_urlsafe(_RANDOM_BYTES)}{_ending(model)}"


@lru_cache(maxsize=1024)
def _ending(model: str) -> str:
    return f".{quote(model).replace('%', '~')}"


def model_of(lease_id: str) -> str:
    """Return the bucket model of a lease; raises NotFoundError for what is no lease id."""
    _, dot, model = lease_id.partition(".")
    if not dot or not model:
        raise NotFoundError("there is no such lease")
    return unquote(model.replace("~", "%"))
