"""The credentials of a guest: random for each image build, in a file that only its owner can read."""

from __future__ import annotations

import datetime
import ipaddress
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.image.manifest import Credentials

#: No character that is special to a shell, cmd.exe, XML or a URL.
_PASSWORD_BYTES = 24
_CERTIFICATE_DAYS = 3650


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSecrets:
    """Both halves of a guest's credentials.

    Attributes:
        credentials: The client's half, which the lab keeps.
        ssh_user_key: Public key line of the user, for the guest.
        ssh_host_private_key: OpenSSH PEM text of the guest's host key.
        tls_private_key: PEM text of the key of the guest's certificate.
    """

    credentials: Credentials
    ssh_user_key: str
    ssh_host_private_key: str = field(repr=False)
    tls_private_key: str = field(repr=False)


def make_secrets(username: str, hostname: str) -> GuestSecrets:
    """Make new random credentials.

    Args:
        username: The account's name.
        hostname: Name in the TLS certificate, beside localhost and 127.0.0.1, where the guest is reached.
    """
    user_key = ed25519.Ed25519PrivateKey.generate()
    host_key = ed25519.Ed25519PrivateKey.generate()
    tls_key, certificate = _tls_pair(hostname)
    return GuestSecrets(
        credentials=Credentials(
            username=username,
            password=secrets.token_urlsafe(_PASSWORD_BYTES).replace("-", "x").replace("_", "y"),
            ssh_private_key=_ssh_private(user_key),
            ssh_host_key=_ssh_public(host_key),
            tls_certificate=certificate,
        ),
        ssh_user_key=_ssh_public(user_key),
        ssh_host_private_key=_ssh_private(host_key),
        tls_private_key=tls_key,
    )


def save_credentials(credentials: Credentials, folder: Path) -> Path:
    """Write ``credentials.json`` with mode 0600 from its first byte on; returns its path."""
    path = folder / "credentials.json"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(credentials.model_dump_json(indent=2) + "\n")
    return path


def _ssh_private(key: ed25519.Ed25519PrivateKey) -> str:
    form = serialization.PrivateFormat.OpenSSH
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode("ascii")


def _ssh_public(key: ed25519.Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode("ascii")


def _tls_pair(hostname: str) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname)])
    # Backdated: to a guest resumed from a snapshot, or on a host whose clock is slow, it must not be valid only in the future.
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    names: list[x509.GeneralName] = [
        x509.DNSName(hostname),
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=_CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return private.decode("ascii"), certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
