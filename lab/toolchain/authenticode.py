"""The Authenticode signatures in a driver: whether they are valid for its bytes, who signed, and when.

Microsoft's "Windows Authenticode Portable Executable Signature Format" describes them: a table of certificates after the
sections, whose entries are PKCS#7 signed data over the image's digest. `osslsigncode verify` checks some of it, too, but trusts
the host's own list of certificates, and downloads revocation lists.
"""

from __future__ import annotations

import datetime
import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from asn1crypto import algos, cms, core, tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from lab.toolchain.imagesums import SumsLayout, authenticode_digest
from lab.toolchain.pages import FilePages
from lab.toolchain.peimage import printable

_ENTRY_HEAD = struct.Struct("<IHH")
_PKCS7 = 2
_LONGEST_TABLE = 16 << 20
_SPC_INDIRECT_DATA = "1.3.6.1.4.1.311.2.1.4"
_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


class _SpcIndirectData(core.Sequence):  # type: ignore[misc]
    _fields: ClassVar = [("data", core.Any), ("message_digest", algos.DigestInfo)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature of an image.

    Attributes:
        problem: Why it is not valid; empty when it is. The other attributes are then what could still be read.
        algorithm: Digest of the image, for example ``sha256``.
        subject: Of the signer's certificate, all of it (RFC 4514).
        chain: Common names of the signer's certificate and of those above it, as far as the file has them.
        root: Issuer of the last of these; its own name if it is self-signed.
        certificate_sha256: Of the signer's certificate, lower-case hexadecimal.
        stamped: When it was signed, by a time stamping service (UTC); None: without a time stamp.
        stamped_by: That service.
    """

    problem: str = ""
    algorithm: str = ""
    subject: str = ""
    chain: tuple[str, ...] = ()
    root: str = ""
    certificate_sha256: str = ""
    stamped: datetime.datetime | None = None
    stamped_by: str = ""

    @property
    def signer(self) -> str:
        """Common name of the signer; empty when there is no certificate."""
        return self.chain[0] if self.chain else ""


def read_signatures(pages: FilePages, layout: SumsLayout) -> tuple[Signature, ...]:
    """All signatures of an image, the first one first; those inside of others after them. Empty: it is not signed.

    Args:
        pages: The image.
        layout: Where its certificate table is.
    """
    if not layout.table_size and not layout.table_at:
        return ()
    end = layout.table_at + layout.table_size
    if end > len(pages):
        size = f"the table of certificates would end at byte {end}, and the file has {len(pages)}"
        return (Signature(problem=f"{size}: the file was truncated after signing"),)
    if not _ENTRY_HEAD.size <= layout.table_size <= _LONGEST_TABLE:
        return (Signature(problem=f"the table of certificates has {layout.table_size} bytes"),)
    found: list[Signature] = []
    for blob in _entries(pages.read(layout.table_at, layout.table_size)):
        found += [blob] if isinstance(blob, Signature) else _signatures(blob, pages, layout)
    return tuple(found) or (Signature(problem="the table of certificates has no signature in it"),)


def _entries(table: bytes) -> Iterator[bytes | Signature]:
    at = 0
    while at + _ENTRY_HEAD.size <= len(table):
        length, _revision, kind = _ENTRY_HEAD.unpack_from(table, at)
        if length < _ENTRY_HEAD.size or at + length > len(table):
            # Zeroes after the last entry fill the table.
            if any(table[at:]):
                yield Signature(problem=f"an entry of the table of certificates says that it has {length} bytes")
            return
        if kind == _PKCS7:
            yield table[at + _ENTRY_HEAD.size : at + length]
        at += -(-length // 8) * 8


def _signatures(blob: bytes, pages: FilePages, layout: SumsLayout) -> list[Signature]:
    try:
        content = cms.ContentInfo.load(blob)
        if content["content_type"].native != "signed_data":
            raise ValueError("no signed data")
        return _read(content["content"], pages, layout)
    except Exception as error:
        # Damage shows as errors of many kinds, by asn1crypto and by cryptography; all of them mean that the file is damaged.
        return [Signature(problem=f"it cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:120]})")]


def _read(signed: cms.SignedData, pages: FilePages, layout: SumsLayout) -> list[Signature]:
    info = signed["signer_infos"][0]
    certificates = _certificates(signed)
    chain = _chain(_signers_certificate(info, certificates), certificates)
    found = Signature(
        problem=_problem(signed, info, chain[0], pages, layout),
        algorithm=signed["digest_algorithms"][0]["algorithm"].native,
        subject=printable(chain[0].subject.rfc4514_string()),
        chain=tuple(map(_subject, chain)),
        root=_name(chain[-1].issuer),
        certificate_sha256=chain[0].fingerprint(hashes.SHA256()).hex(),
    )
    inner: list[Signature] = []
    for kind, value in _unsigned(info):
        if kind == "counter_signature":
            found = _countersigned(found, value, certificates)
        elif kind in ("microsoft_time_stamp_token", "signature_time_stamp_token"):
            found = _stamped(found, value, info["signature"].native)
        elif kind == "microsoft_nested_signature":
            inner += _read(value["content"], pages, layout)
    return [found, *inner]


def _problem(
    signed: cms.SignedData, info: cms.SignerInfo, certificate: x509.Certificate, pages: FilePages, layout: SumsLayout
) -> str:
    """Why a signature is not valid for these bytes; empty when it is."""
    encapsulated = signed["encap_content_info"]
    if encapsulated["content_type"].dotted != _SPC_INDIRECT_DATA:
        return "it does not sign an image"
    content = encapsulated["content"].parse(_SpcIndirectData)
    told = content["message_digest"]
    really = authenticode_digest(pages, layout, told["digest_algorithm"]["algorithm"].native)
    if really != told["digest"].native:
        return "the image was changed after signing: its digest differs from the signature's"
    algorithm = info["digest_algorithm"]["algorithm"].native
    attributes = {item["type"].native: item["values"][0] for item in info["signed_attrs"]}
    if attributes["message_digest"].native != hashlib.new(algorithm, content.contents).digest():
        return "it is damaged: its digest does not match its content"
    # The attributes are signed as a set (RFC 5652, 5.4), though they are stored under a tag of their own.
    data = b"\x31" + info["signed_attrs"].dump()[1:]
    return _check(certificate, info["signature"].native, data, algorithm)


def _check(certificate: x509.Certificate, signature: bytes, data: bytes, algorithm: str) -> str:
    key, digest = certificate.public_key(), _HASHES[algorithm]()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(digest))
        else:
            return f"Windows does not accept its kind of key ({type(key).__name__})"
    except InvalidSignature:
        return "it is damaged: the key of its certificate did not make it"
    except UnsupportedAlgorithm as error:
        return f"it cannot be checked here: {error}"
    return ""


def _certificates(signed: cms.SignedData) -> list[x509.Certificate]:
    # Time stamps of Microsoft's service bring an attribute certificate along.
    return [x509.load_der_x509_certificate(item.chosen.dump()) for item in signed["certificates"] if item.name == "certificate"]


def _signers_certificate(info: cms.SignerInfo, certificates: Sequence[x509.Certificate]) -> x509.Certificate:
    wanted = info["sid"].chosen
    for certificate in certificates:
        issuer = certificate.issuer.public_bytes()
        if certificate.serial_number == wanted["serial_number"].native and issuer == wanted["issuer"].dump():
            return certificate
    raise ValueError("the signer's certificate is missing")


def _chain(first: x509.Certificate, certificates: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The certificates from the signer's up, each issued by the next one."""
    chain = [first]
    while chain[-1].issuer != chain[-1].subject:
        above = next((item for item in certificates if item not in chain and _issued(item, chain[-1])), None)
        if above is None:
            break
        chain.append(above)
    return chain


def _issued(above: x509.Certificate, below: x509.Certificate) -> bool:
    # Not verify_directly_issued_by: cryptography refuses SHA-1 there, which chains of older drivers have.
    algorithm = below.signature_hash_algorithm
    return (
        below.issuer == above.subject
        and algorithm is not None
        and algorithm.name in _HASHES
        and not _check(above, below.signature, below.tbs_certificate_bytes, algorithm.name)
    )


def _unsigned(info: cms.SignerInfo) -> Iterator[tuple[str, core.Asn1Value]]:
    attributes = info["unsigned_attrs"]
    for item in [] if isinstance(attributes, core.Void) else attributes:
        for value in item["values"]:
            yield item["type"].native, value


def _countersigned(found: Signature, info: cms.SignerInfo, certificates: Sequence[x509.Certificate]) -> Signature:
    """A time stamp as it was before RFC 3161: one more signer, who signs the signature."""
    times = [item["values"][0].native for item in info["signed_attrs"] if item["type"].native == "signing_time"]
    return replace(found, stamped=times[0], stamped_by=_subject(_signers_certificate(info, certificates))) if times else found


def _stamped(found: Signature, token: cms.ContentInfo, signature: bytes) -> Signature:
    signed = token["content"]
    stamp: tsp.TSTInfo = signed["encap_content_info"]["content"].parsed
    imprint = stamp["message_imprint"]
    if hashlib.new(imprint["hash_algorithm"]["algorithm"].native, signature).digest() != imprint["hashed_message"].native:
        return replace(found, problem=found.problem or "its time stamp belongs to another signature")
    by = _subject(_signers_certificate(signed["signer_infos"][0], _certificates(signed)))
    return replace(found, stamped=stamp["gen_time"].native, stamped_by=by)


def _subject(certificate: x509.Certificate) -> str:
    return _name(certificate.subject)


def _name(name: x509.Name) -> str:
    """The name of a certificate's owner: the common name, or the next best part of the subject."""
    for oid in (x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATIONAL_UNIT_NAME, x509.NameOID.ORGANIZATION_NAME):
        for item in name.get_attributes_for_oid(oid):
            return printable(str(item.value))
    return printable(name.rfc4514_string())
