"""Who is calling: NTLM and Negotiate, bound to the connection, and Basic where the connection is protected."""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from labwinrm.accounts import Accounts

if TYPE_CHECKING:
    import spnego
    from spnego.channel_bindings import GssChannelBindings

_NTLM: Final = b"NTLMSSP\0"
_CHANNEL_BINDINGS: Final = 10
_SCHEMES: Final = {"negotiate": "Negotiate", "ntlm": "NTLM"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a request.

    Attributes:
        user: Who it is; empty means that the answer is 401.
        headers: Headers for the answer.
    """

    user: str
    headers: tuple[tuple[str, str], ...] = ()


class Context:
    """An NTLM security context that encrypts and decrypts messages."""

    def __init__(self, proxy: spnego.ContextProxy) -> None:
        self._proxy = proxy

    def wrap(self, data: bytes) -> tuple[bytes, bytes]:
        """See :class:`labwinrm.encryption.SecurityContext`."""
        result = self._proxy.wrap_winrm(data)
        return result.header, result.data

    def unwrap(self, signature: bytes, data: bytes) -> bytes:
        """See :class:`labwinrm.encryption.SecurityContext`."""
        return self._proxy.unwrap_winrm(signature, data)


class Authenticator:
    """The login state of one connection.

    Args:
        accounts: Who may log in.
        protected: No one else can read the traffic: TLS, or a channel that only the VM's owner can reach.
        certificate: The server's certificate, DER, for channel bindings; empty without TLS.
        log: Gets a line for each refused login.
    """

    def __init__(self, accounts: Accounts, *, protected: bool, certificate: bytes, log: logging.Logger) -> None:
        self._accounts = accounts
        self._protected = protected
        self._certificate = certificate
        self._log = log
        self._pending: spnego.ContextProxy | None = None
        self._user = ""
        self._basic_accepted, self._basic_user = b"", ""
        self.context: Context | None = None

    def check(self, authorization: str) -> Verdict:
        """Judge a request by its Authorization header, which is empty on a connection that is logged in."""
        if not authorization:
            return Verdict(self._user) if self._user else self._refuse()
        scheme, _, credentials = authorization.strip().partition(" ")
        try:
            token = base64.b64decode(credentials.strip(), validate=True)
        except (binascii.Error, ValueError):
            return self._refuse("malformed credentials")
        if scheme.lower() == "basic":
            return self._basic(token)
        if scheme.lower() in _SCHEMES and token:
            return self._negotiate(_SCHEMES[scheme.lower()], token)
        return self._refuse(f"scheme {scheme[:20]!r}")

    def _basic(self, token: bytes) -> Verdict:
        if not self._protected:
            return self._refuse("Basic without protection")
        if self._basic_accepted and hmac.compare_digest(token, self._basic_accepted):
            # As a login by NTLM holds for its connection. To read and compare anew costs a woken guest 8 ms.
            return Verdict(self._basic_user)
        try:
            user, _, password = token.decode("utf-8").partition(":")
        except UnicodeDecodeError:  # older clients, python-requests among them, know Latin-1 only
            user, _, password = token.decode("latin-1").partition(":")
        # Basic goes with each request and does not log the connection in.
        if not self._accounts.check(user, password):
            self._basic_accepted = b""
            return self._refuse(f"Basic login of {user[:40]!r}")
        self._basic_accepted, self._basic_user = token, user
        return Verdict(user)

    def _negotiate(self, scheme: str, token: bytes) -> Verdict:
        import spnego  # takes most of a second in an emulated guest, so only at the first login

        raw = token.startswith(_NTLM)
        message = token[max(token.find(_NTLM), 0) :]
        kind = struct.unpack_from("<I", message, 8)[0] if len(message) >= 12 and message.startswith(_NTLM) else 0
        self._user, self.context = "", None
        try:
            domain, bound = _read_authenticate(message) if kind == 3 else ("", False)
            with self._accounts.ntlm_store(domain):
                if kind == 1 or self._pending is None:
                    protocol = "ntlm" if raw else "negotiate"
                    options = spnego.NegotiateOptions.none if raw else spnego.NegotiateOptions.use_negotiate
                    self._pending = spnego.server(protocol=protocol, options=options)
                # Clients may leave channel bindings out (Windows' default, CbtHardeningLevel Relaxed); wrong ones count.
                reply = self._pending.step(token, channel_bindings=self._bindings() if bound else None)
        except Exception as error:  # every defect of a token is the client's, whatever pyspnego makes of it
            return self._refuse(f"{scheme} login: {type(error).__name__}: {error}")
        header = (("WWW-Authenticate", f"{scheme} {base64.b64encode(reply).decode('ascii')}"),) if reply else ()
        if not self._pending.complete:
            return Verdict("", header)
        proxy, self._pending = self._pending, None
        self.context = Context(proxy)
        self._user = proxy.client_principal or "unknown"
        return Verdict(self._user, header)

    def _refuse(self, reason: str = "") -> Verdict:
        if reason:
            self._log.warning("login refused: %s", reason)
        self._pending, self._user, self.context = None, "", None
        offers = [("WWW-Authenticate", "Negotiate")]
        if self._protected:
            offers.append(("WWW-Authenticate", 'Basic realm="WSMAN"'))
        return Verdict("", tuple(offers))

    def _bindings(self) -> GssChannelBindings | None:
        if not self._certificate:
            return None
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from spnego.channel_bindings import GssChannelBindings

        # RFC 5929: the certificate's own signature hash, but SHA-256 where that is MD5 or SHA-1.
        algorithm = x509.load_der_x509_certificate(self._certificate).signature_hash_algorithm
        if algorithm is None or algorithm.name in ("md5", "sha1"):
            algorithm = hashes.SHA256()
        digest = hashes.Hash(algorithm)
        digest.update(self._certificate)
        return GssChannelBindings(application_data=b"tls-server-end-point:" + digest.finalize())


def _read_authenticate(message: bytes) -> tuple[str, bool]:
    """The domain of an NTLM AUTHENTICATE message, and whether it carries channel bindings ([MS-NLMP] 2.2.1.3)."""
    (flags,) = struct.unpack_from("<I", message, 60)
    domain = _field(message, 28).decode("utf-16-le" if flags & 1 else "cp437", "replace")
    response = _field(message, 20)
    position = 44  # NTLMv2: proof 16, client challenge up to its AV pairs 28
    while position + 4 <= len(response):
        identifier, size = struct.unpack_from("<HH", response, position)
        if identifier == 0:
            break
        if identifier == _CHANNEL_BINDINGS:
            return domain, any(response[position + 4 : position + 4 + size])
        position += 4 + size
    return domain, False


def _field(message: bytes, at: int) -> bytes:
    size, _, offset = struct.unpack_from("<HHI", message, at)
    return message[offset : offset + size]
