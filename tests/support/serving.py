"""``keypool serve`` with words of a test's own, such as those for TLS; and a certificate for it.

with serving(home, "--access-log", "text") as served:
    httpx2.get(served.url + "/healthz")
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.daemon import Home
from tests.support.running import start


@dataclass(frozen=True, slots=True)
class Served:
    """A running daemon: its base URL and where it writes."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def websocket_url(self) -> str:
        """The same for WebSockets."""
        return "ws" + self.url.removeprefix("http")


@contextmanager
def serving(home: Home, *words: str, **env: str) -> Iterator[Served]:
    """A daemon on a port that the system chose; ended on leaving."""
    process, url, log = start(words, {**home.env, **env}, home.path)
    try:
        yield Served(process, url, log)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of a certificate that signs itself, for loopback."""

    cert: Path
    key: Path

    @property
    def words(self) -> list[str]:
        """The options that serve it."""
        return ["--tls-cert", str(self.cert), "--tls-key", str(self.key)]


def a_certificate(folder: Path, *, days: int = 1) -> Certificate:
    """A certificate and its key, which only its owner may read. days: when it ends, from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "keypool test")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=min(days, 0) - 1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    made.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    made.key.touch(mode=0o600)
    made.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made
