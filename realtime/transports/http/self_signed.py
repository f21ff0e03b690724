"""A self-signed certificate, for one household: browsers allow the microphone on secure pages only.

A browser warns once per start. A real certificate avoids that.
"""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path

from realtime.errors import ConfigError
from realtime.transports.http.server import TlsFiles

VALID_DAYS = 397
"""The longest validity that browsers accept."""

_ELSEWHERE = ("192.0.2.1", 9)
"""An address of nobody (RFC 5737). A UDP socket "connected" to it sends nothing, and knows this machine's address."""


def lan_address() -> str | None:
    """This machine's address on the network of its default route; None without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return address


def names_of(host: str) -> tuple[str, ...]:
    """The names and addresses by which clients may reach a server that listens on ``host``."""
    known = ["localhost", "127.0.0.1", "::1", socket.gethostname(), lan_address() or "", host]
    return tuple(dict.fromkeys(name for name in known if name not in ("", "0.0.0.0", "::")))


def write_self_signed(folder: Path, names: tuple[str, ...]) -> TlsFiles:
    """A new key and certificate for ``names``. Raises `ConfigError` if the package for it is missing."""
    if find_spec("cryptography") is None:
        raise ConfigError(
            "--tls-self-signed needs the package cryptography: .venv/bin/pip install cryptography; "
            "or give a certificate with --tls-cert and --tls-key"
        )
    key, certificate = _make(names)
    files = TlsFiles(folder / "cert.pem", folder / "key.pem")
    files.cert.write_bytes(certificate)
    with open(os.open(files.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key)
    return files


def _make(names: tuple[str, ...]) -> tuple[bytes, bytes]:
    """Key and certificate in PEM."""
    # here: the package is optional, also where types are checked
    from cryptography import x509  # type: ignore[import-not-found, unused-ignore]
    from cryptography.hazmat.primitives import hashes, serialization  # type: ignore[import-not-found, unused-ignore]
    from cryptography.hazmat.primitives.asymmetric import ec  # type: ignore[import-not-found, unused-ignore]
    from cryptography.x509.oid import NameOID  # type: ignore[import-not-found, unused-ignore]

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "realtime (self-signed)")])
    alternatives: list[x509.GeneralName] = []
    for name in names:
        try:
            alternatives.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            alternatives.append(x509.DNSName(name))
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + timedelta(days=VALID_DAYS - 1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8, plain = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return key.private_bytes(pem, pkcs8, plain), certificate.public_bytes(pem)
