"""Taking one secret out of bytes that come in parts, wherever the parts were cut."""

from keypool_cli.core.redact import REDACTED

_HIDDEN = REDACTED.encode()


class PartsRedactor:
    """Hides a secret; what may be its beginning waits for the next part."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._kept = b""

    def part(self, data: bytes) -> bytes:
        """As much as may go on now; nothing where all of it may belong to the secret."""
        if self._kept:
            data = self._kept + data
        if self._secret in data:
            data = data.replace(self._secret, _HIDDEN)
        begun = self._begun(data)
        self._kept = data[len(data) - begun :]
        return data[:-begun] if begun else data

    def rest(self) -> bytes:
        """What was kept, once no further part comes."""
        kept, self._kept = self._kept, b""
        return kept

    def _begun(self, data: bytes) -> int:
        """How many bytes at the end are a beginning of the secret."""
        first = self._secret[:1]
        at = data.find(first, max(len(data) - len(self._secret) + 1, 0))
        while at >= 0:
            if self._secret.startswith(data[at:]):
                return len(data) - at
            at = data.find(first, at + 1)
        return 0
