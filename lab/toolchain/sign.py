"""The lab's test certificate, and signing and verifying drivers with it by ``osslsigncode``.

A guest in test mode loads a driver with any embedded signature. The key is RSA: with elliptic curves, Windows refused
drivers as unsigned (error 577).
"""

from __future__ import annotations

import datetime
import os
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from filelock import FileLock, Timeout

from lab.errors import ConfigError, HostToolError, LabError
from lab.host.paths import data_dir
from lab.host.process import run
from lab.toolchain.files import replace_with
from lab.toolchain.imagesums import sums_layout
from lab.toolchain.peimage import opened

_KEY_BITS = 3072
_VALID_YEARS = 30
_TOOL = "osslsigncode"
_TOOL_TIMEOUT_S = 60.0
_LOCK_TIMEOUT_S = 60.0
_DAY_S = 86400
#: A build depends on it: change it together with the way in which drivers are signed.
SCHEME = "sha256, page hashes, fixed time"
#: Older ones wrote page hashes that Windows rejects.
_OLDEST = (2, 5)
_INSTALL = "apt-get install osslsigncode (2.5 or newer)"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A certificate and its private key, as PEM files.

    Attributes:
        certificate: Public; guests that check chains import it.
        key: Readable by its owner only; never leaves this host.
    """

    certificate: Path
    key: Path

    def fingerprint(self) -> str:
        """SHA-256 of the certificate, lower-case hexadecimal."""
        loaded = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        return loaded.fingerprint(hashes.SHA256()).hex()


def signing_key(folder: Path | None = None) -> SigningKey:
    """The lab's own key; made at the first call.

    Args:
        folder: Where it lives; None: ``signing`` in the user's data folder.

    Raises:
        LabError: Another process holds the folder's lock for a minute.
    """
    found = _files(folder)
    place = found.key.parent
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with FileLock(place / ".lock", timeout=_LOCK_TIMEOUT_S):
            if not (found.certificate.is_file() and found.key.is_file()):
                _make(found)
    except Timeout:
        raise LabError(
            f"waited {_LOCK_TIMEOUT_S:.0f} s for the lock of {place}", hint="find the lab command that hangs"
        ) from None
    return found


def lab_certificate(folder: Path | None = None) -> str:
    """Fingerprint of the lab's own certificate (SHA-256, lower-case hexadecimal); empty when none was made yet.

    Args:
        folder: Where it lives; None: ``signing`` in the user's data folder.
    """
    found = _files(folder)
    return found.fingerprint() if found.certificate.is_file() else ""


def sign(source: Path, target: Path, name: str, key: SigningKey) -> None:
    """Write a signed copy of an unsigned image: SHA-256, with page hashes, without a time stamp.

    The signing time in it is the day on which the certificate was made, so that an image and a certificate give the same bytes
    every time, and equal drivers have equal hashes.

    Args:
        source: The image; is not changed.
        target: The file to write; must not exist.
        name: Description inside the signature.
        key: Signs.

    Raises:
        ConfigError: The image is signed already: a second signature would hide the signer.
        HostToolError: osslsigncode is missing, too old, or refused the image.
    """
    require_tool()
    if is_signed(source):
        raise ConfigError("is signed already", file=str(source), hint="use it as it is, or sign the unsigned build")
    made = x509.load_pem_x509_certificate(key.certificate.read_bytes()).not_valid_before_utc
    run(
        [
            *(_TOOL, "sign", "-h", "sha256", "-ph", "-time", str(int(made.timestamp()) + _DAY_S)),
            *("-certs", key.certificate, "-key", key.key, "-n", name, "-in", source, "-out", target),
        ],
        _TOOL_TIMEOUT_S,
    )


def is_signed(image: Path) -> bool:
    """Whether the image carries any embedded signature.

    Raises:
        ConfigError: It is not a PE image.
    """
    with opened(image) as (_, parsed):
        return bool(sums_layout(parsed).table_size)


def verify(image: Path, key: SigningKey) -> None:
    """Check that the image carries a valid signature of this key over exactly these bytes.

    Raises:
        HostToolError: It does not; with osslsigncode's output.
    """
    run(
        [_TOOL, "verify", "-CAfile", key.certificate, "-in", image],
        _TOOL_TIMEOUT_S,
        hint=f"the file was changed after signing, or was signed with a key other than {key.certificate}; build it again",
    )


def require_tool() -> str:
    """The version of osslsigncode.

    Raises:
        HostToolError: It is missing or too old.
    """
    said = run([_TOOL, "--version"], _TOOL_TIMEOUT_S, check=False, hint=_INSTALL).stdout
    match = re.search(r"(\d+)\.(\d+)", said)
    if not match or (int(match[1]), int(match[2])) < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        raise HostToolError([_TOOL, "--version"], None, said, message=f"{_TOOL} is older than {wanted}", hint=_INSTALL)
    return match[0]


def _files(folder: Path | None) -> SigningKey:
    place = folder or data_dir() / "signing"
    return SigningKey(place / "lab-test.pem", place / "lab-test.key")


def _make(target: SigningKey) -> None:
    """Make key and certificate; the certificate is written last, so that its presence means that both are there."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Driver Test Lab (test signing only)")])
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A day early: a guest's clock may be slow.
        .not_valid_before(now - datetime.timedelta(seconds=_DAY_S))
        .not_valid_after(now + datetime.timedelta(days=365 * _VALID_YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write_private(target.key, private)
    _write_private(target.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _write_private(path: Path, content: bytes) -> None:
    with replace_with(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
