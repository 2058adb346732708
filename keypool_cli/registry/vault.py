"""Secrets at rest: sealed with AES-256-GCM, each bound to the row it belongs to.

A sealed secret is ``version (1 byte) + nonce (12) + ciphertext and tag``. From the master key and
the registry's random salt, HKDF-SHA256 derives one key for sealing, one for fingerprints and one
that only tells whether the master key is the right one. The associated data is the row's uid: 128
random bits that the row keeps for life, also when its secret is rotated. An autoincrement id would
not do: the same number names another key in another registry, or after a restore, and a ciphertext
copied there would open.
"""

import hashlib
import hmac
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keypool_cli.core.model import Secret
from keypool_cli.errors import NotPermittedError

MASTER_KEY_BYTES = 32
SHOWN_DIGITS = 12
"""Hex digits of a fingerprint that are shown; the table keeps all 64."""

_VERSION = b"\x01"
_NONCE_BYTES = 12
_WRONG_KEY = "the master key is not the one that this registry was sealed with"
_RIGHT_KEY_HINT = "check KEYPOOL_MASTER_KEY, KEYPOOL_MASTER_KEY_FILE, or the key file in home"


def new_salt() -> bytes:
    """A registry's salt: the same master key gives other keys in another registry."""
    return secrets.token_bytes(16)


def new_uid() -> bytes:
    """What a sealed secret is bound to; a row keeps it for life."""
    return secrets.token_bytes(16)


class Vault:
    """Seals and opens secrets under one master key."""

    __slots__ = ("_fingerprint_key", "_sealer", "check_value")

    check_value: Final[bytes]
    """Kept in the registry; shows later whether a master key is the same, and nothing else."""

    def __init__(self, master_key: bytes, salt: bytes) -> None:
        """Raises NotPermittedError unless the master key is 32 bytes long."""
        if len(master_key) != MASTER_KEY_BYTES:
            raise NotPermittedError(
                f"the master key is {len(master_key)} bytes long, not {MASTER_KEY_BYTES}",
                hint="make one with: openssl rand -base64 32",
            )
        self._sealer = AESGCM(_derived(master_key, salt, b"keypool seal"))
        self._fingerprint_key = _derived(master_key, salt, b"keypool fingerprint")
        self.check_value = _derived(master_key, salt, b"keypool check")

    def __repr__(self) -> str:
        """Without the keys."""
        return "Vault(…)"

    def verify(self, check_value: bytes) -> None:
        """Raise NotPermittedError unless ``check_value`` was made under the same master key."""
        if not hmac.compare_digest(self.check_value, check_value):
            raise NotPermittedError(_WRONG_KEY, hint=_RIGHT_KEY_HINT)

    def seal(self, secret: Secret, uid: bytes) -> bytes:
        """The secret as it may be stored in the row with this uid, and nowhere else."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._sealer.encrypt(nonce, secret.text.encode(), uid)

    def unseal(self, sealed: bytes, uid: bytes) -> Secret:
        """The secret in clear.

        Raises NotPermittedError if it was changed or moved to another row, or is of a format that
        this code does not know; it never gives a wrong text.
        """
        if sealed[:1] != _VERSION:
            raise NotPermittedError(
                "a sealed secret is of an unknown format", hint="upgrade keypool on this machine"
            )
        nonce, text = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return Secret(self._sealer.decrypt(nonce, text, uid).decode())
        except (InvalidTag, ValueError) as err:
            raise NotPermittedError(
                "a sealed secret was changed, or moved from another row",
                hint="restore the database from a backup, or enter the secret anew: keypool rotate",
            ) from err

    def fingerprint(self, secret: Secret) -> str:
        """64 hex digits: equal for equal secrets, and of no use without the master key."""
        return hmac.new(self._fingerprint_key, secret.text.encode(), hashlib.sha256).hexdigest()


def _derived(master_key: bytes, salt: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=purpose).derive(master_key)
