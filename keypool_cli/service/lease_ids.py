"""Lease ids: unguessable, and naming the model whose live state holds the lease."""

import os
from base64 import urlsafe_b64encode
from functools import lru_cache
from urllib.parse import unquote

from keypool_cli.engine.keyspace import quote
from keypool_cli.errors import NotFoundError

_PROXIED = "~"
"""Begins the ids of leases that the daemon makes its own calls with; no random text has it."""

_RANDOM_BYTES = 18
"""144 bits, which base64 writes without padding."""

_LENGTH = 24
_AT_ONCE = 256

_unused: list[str] = []
"""Random texts fetched ahead: asking the system lets other threads take the interpreter."""

# Two processes must never use the same ones.
os.register_at_fork(after_in_child=_unused.clear)


def new_lease_id(model: str, *, proxied: bool = False) -> str:
    """Make an unguessable id for a lease on a bucket model.

    proxied: the daemon makes the call itself, and no client's word says what became of it.
    """
    return f"{_PROXIED if proxied else ''}{_random()}{_ending(model)}"


def is_proxied(lease_id: str) -> bool:
    """Whether the daemon makes the call of this lease itself."""
    return lease_id.startswith(_PROXIED)


def _random() -> str:
    try:
        return _unused.pop()
    except IndexError:
        pass
    fetched = urlsafe_b64encode(os.urandom(_RANDOM_BYTES * _AT_ONCE)).decode()
    _unused.extend(fetched[at : at + _LENGTH] for at in range(0, len(fetched), _LENGTH))
    return _unused.pop()


@lru_cache(maxsize=1024)
def _ending(model: str) -> str:
    return f".{quote(model).replace('%', '~')}"


def model_of(lease_id: str) -> str:
    """Return the bucket model of a lease; raises NotFoundError for what is no lease id."""
    ending = lease_id.partition(".")[2]
    if not ending:
        raise NotFoundError("there is no such lease")
    return _named(ending)


@lru_cache(maxsize=1024)
def _named(ending: str) -> str:
    return unquote(ending.replace("~", "%"))
