"""The certificate and key that a server proves itself with."""

import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from keypool_cli.errors import NotPermittedError, UsageError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files. cert: the certificate and its chain. key: its private key, without a password."""

    cert: Path
    key: Path

    def check(self, *, warn: Callable[[str], object] | None = None) -> None:
        """See that the files can be served with; ``warn`` is told why clients will refuse them.

        Raises NotPermittedError for a key that others may read or change, UsageError for files
        that cannot be read or do not belong together.
        """
        try:
            mode = stat.S_IMODE(self.key.stat().st_mode)
            if mode & _OTHERS:
                raise NotPermittedError(
                    f"others may read or change the TLS key: {self.key} has mode {mode:04o}",
                    hint=f"run: chmod 600 '{self.key}'",
                )
            # A key with a password must fail here, not ask for it on a terminal.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.cert, self.key, password="")
        except (OSError, ValueError) as err:
            # ssl.SSLError is an OSError; its words quote nothing of the files.
            told = err.strerror if isinstance(err, OSError) and err.strerror else "not understood"
            raise UsageError(
                f"cannot serve TLS with {self.cert} and {self.key}: {told}",
                hint="both are PEM files; the key is the certificate's and has no password",
            ) from err
        if warn is not None and (doubt := self.doubt(datetime.now(UTC))):
            warn(doubt)

    def doubt(self, now: datetime) -> str | None:
        """Why clients refuse the certificate; None where its dates give no reason."""
        from cryptography import x509  # noqa: PLC0415 - slow, and most servers speak no TLS

        try:
            [own, *_] = x509.load_pem_x509_certificates(self.cert.read_bytes())
        except ValueError:  # OpenSSL takes some that this does not read
            return None
        begins, ends = own.not_valid_before_utc, own.not_valid_after_utc
        if begins <= now <= ends:
            return None
        when = f"expired on {ends:%Y-%m-%d}" if now > ends else f"begins on {begins:%Y-%m-%d}"
        return f"the certificate {self.cert} {when}: clients refuse it; renew it and start anew"
