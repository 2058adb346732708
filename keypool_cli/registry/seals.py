"""Texts sealed for a purpose: kept by others, or in a column, and only opened for that purpose."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from keypool_cli.core.model import Secret
from keypool_cli.errors import NotPermittedError
from keypool_cli.registry.lockbox import Lockbox


class Seals:
    """Seals under the registry's master key. Every method may raise what opening the vault does."""

    def __init__(self, lockbox: Lockbox) -> None:
        self._lockbox = lockbox

    def seal(self, secret: Secret, purpose: str) -> bytes:
        """The secret as it may be stored."""
        return self._lockbox.vault().seal(secret, purpose.encode())

    def unseal(self, sealed: bytes, purpose: str) -> Secret:
        """The secret in clear. Raises NotPermittedError for what was sealed for anything else."""
        return self._lockbox.vault().unseal(sealed, purpose.encode())

    def token(self, text: str, purpose: str) -> str:
        """A token that tells nothing of ``text``, and that nobody else can make; fit for URLs."""
        return urlsafe_b64encode(self.seal(Secret(text), purpose)).rstrip(b"=").decode()

    def text(self, token: str, purpose: str) -> str:
        """What a token was made of. Raises NotPermittedError for anything else."""
        try:
            sealed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError as err:
            raise NotPermittedError("this token was not made here") from err
        return self.unseal(sealed, purpose).text
