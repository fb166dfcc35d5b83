"""Message encryption over HTTP: the multipart form of [MS-WSMV] 2.2.9.1, around any security context."""

from __future__ import annotations

import re
import struct
from typing import Final, Protocol

PROTOCOL: Final = "application/HTTP-SPNEGO-session-encrypted"
RESPONSE_TYPE: Final = f'multipart/encrypted;protocol="{PROTOCOL}";boundary="Encrypted Boundary"'
_BOUNDARY: Final = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
_LENGTH: Final = re.compile(rb"OriginalContent:[^\r\n]*?;\s*Length=(\d{1,9})\s*\r\n", re.IGNORECASE)
_OCTETS: Final = re.compile(rb"\s*Content-Type:\s*application/octet-stream\s*?\r\n", re.IGNORECASE)


class SecurityContext(Protocol):
    """What an authenticated context can do."""

    def wrap(self, data: bytes) -> tuple[bytes, bytes]:
        """Encrypt; gives signature and sealed data."""

    def unwrap(self, signature: bytes, data: bytes) -> bytes:
        """Decrypt and verify; raises any exception when the signature is wrong."""


class EncryptionError(Exception):
    """A message cannot be decrypted; the connection's security context is of no use afterwards."""


def is_encrypted(content_type: str) -> bool:
    """Whether a request's Content-Type says that its body is encrypted."""
    return content_type.lower().lstrip().startswith(("multipart/encrypted", "multipart/x-multi-encrypted"))


def decrypt(content_type: str, body: bytes, context: SecurityContext) -> bytes:
    """Take a request's body apart and decrypt it.

    Raises:
        EncryptionError: It is not of that form, or its signature is wrong.
    """
    if PROTOCOL.lower() not in content_type.lower():
        raise EncryptionError(f"the encryption protocol is not {PROTOCOL}")
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise EncryptionError("the content type names no boundary")
    boundary = b"--" + match.group(1).strip().encode("latin-1")
    parts: list[bytes] = []
    position = 0
    # Sealed bytes are found by their length, never by a search: they may contain anything.
    while not body.startswith(boundary + b"--", position):
        plain, position = _part(body, position, boundary, context)
        parts.append(plain)
    if not parts:
        raise EncryptionError("there is no part")
    return b"".join(parts)


def _part(body: bytes, position: int, boundary: bytes, context: SecurityContext) -> tuple[bytes, int]:
    line = boundary + b"\r\n"
    second = body.find(line, position + len(line))
    if not body.startswith(line, position) or second < 0:
        raise EncryptionError("a boundary is missing")
    length = _LENGTH.search(body, position, second)
    octets = _OCTETS.match(body, second + len(line))
    if length is None or octets is None:
        raise EncryptionError("a part's header is malformed")
    start = octets.end()
    if len(body) < start + 4:
        raise EncryptionError("a part is cut short")
    (signature_size,) = struct.unpack_from("<I", body, start)
    data_at = start + 4 + signature_size
    end = data_at + int(length.group(1))
    if signature_size > 256 or end > len(body):
        raise EncryptionError("a part is cut short")
    try:
        plain = context.unwrap(body[start + 4 : data_at], body[data_at:end])
    except Exception as error:
        raise EncryptionError(f"a part does not decrypt: {error}") from error
    return plain, end + (2 if body.startswith(b"\r\n", end) else 0)


def encrypt(envelope: bytes, context: SecurityContext) -> bytes:
    """Encrypt an answer; the leading tabs are what Windows sends and what clients take away."""
    signature, sealed = context.wrap(envelope)
    return b"".join(
        (
            b"--Encrypted Boundary\r\n\tContent-Type: ",
            PROTOCOL.encode(),
            b"\r\n\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=",
            str(len(envelope)).encode(),
            b"\r\n--Encrypted Boundary\r\n\tContent-Type: application/octet-stream\r\n",
            struct.pack("<I", len(signature)),
            signature,
            sealed,
            b"--Encrypted Boundary--\r\n",
        )
    )
