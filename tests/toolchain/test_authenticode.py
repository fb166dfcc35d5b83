"""Signatures that osslsigncode makes, and the same ones damaged, with time stamps and nested."""

from __future__ import annotations

import datetime
import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from asn1crypto import cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from lab.toolchain import pe
from lab.toolchain.authenticode import Signature
from lab.toolchain.pages import FilePages
from lab.toolchain.sign import SigningKey, sign
from lab.toolchain.trust import described, driver_note, refusal, windows_says

_LAB = "Driver Test Lab (test signing only)"
WHEN = datetime.datetime(2031, 4, 5, 6, 7, 8, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def signed(tiny_image: bytes, key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("signed")
    (folder / "plain.sys").write_bytes(tiny_image)
    sign(folder / "plain.sys", folder / "tiny.sys", "tiny", key)
    return (folder / "tiny.sys").read_bytes()


@pytest.fixture
def image(signed: bytes, tmp_path: Path) -> Path:
    file = tmp_path / "tiny.sys"
    file.write_bytes(signed)
    return file


def signatures(image: Path) -> tuple[Signature, ...]:
    return pe.inspect(image).signatures


def entry_at(image: bytes) -> int:
    """File offset of the certificate table's entry in an x64 image."""
    return int(struct.unpack_from("<I", image, 0x3C)[0]) + 24 + 112 + 8 * 4


def table(image: bytes) -> tuple[int, int]:
    return struct.unpack_from("<II", image, entry_at(image))


def blob(image: bytes) -> bytes:
    at, _ = table(image)
    return image[at + 8 : at + struct.unpack_from("<I", image, at)[0]]


def with_blobs(image: bytes, blobs: Sequence[bytes]) -> bytes:
    """The image with another table of certificates; checksum and table are in no digest."""
    entries = b""
    for data in blobs:
        padded = data + bytes(-(len(data) + 8) % 8)
        entries += struct.pack("<IHH", len(padded) + 8, 0x200, 2) + padded
    at, _ = table(image)
    result = bytearray(image[:at] + entries)
    struct.pack_into("<II", result, entry_at(image), at, len(entries))
    return bytes(result)


def with_attribute(signature: bytes, kind: str, value: core.Asn1Value) -> bytes:
    content = cms.ContentInfo.load(signature)
    info = content["content"]["signer_infos"][0]
    info["unsigned_attrs"] = cms.CMSAttributes([cms.CMSAttribute({"type": kind, "values": [value]})])
    return bytes(content.dump(force=True))


def test_the_labs_own_signature_is_valid(image: Path, key: SigningKey) -> None:
    (found,) = signatures(image)
    assert found.problem == ""
    assert (found.signer, found.root, found.algorithm) == (_LAB, _LAB, "sha256")
    assert found.subject == f"CN={_LAB}"
    assert found.certificate_sha256 == key.fingerprint()
    assert found.stamped is None


def test_an_unsigned_image_has_none(unsigned: Path) -> None:
    assert signatures(unsigned) == ()
    assert refusal((), "x64") == "it is not signed: Windows does not load it (error 577)"
    # A 32-bit kernel does not ask.
    assert refusal((), "x86") == windows_says((), "x86") == ""


@pytest.mark.parametrize("cut", [1, 8, 900, 2200])
def test_a_file_cut_off_in_its_table_is_reported(image: Path, signed: bytes, cut: int) -> None:
    image.write_bytes(signed[:-cut])
    (found,) = signatures(image)
    assert found.problem.startswith(f"the table of certificates would end at byte {len(signed)}, and the file has")
    assert "577" in refusal((found,), "x64")


def test_a_byte_changed_after_signing_is_reported(image: Path, signed: bytes) -> None:
    content = bytearray(signed)
    content[content.index(b"tiny")] ^= 0x20
    image.write_bytes(content)
    (found,) = signatures(image)
    assert found.problem.startswith("the image was changed after signing")
    assert found.signer == _LAB
    assert "changed after signing" in refusal((found,), "x64")


def test_bytes_after_the_table_are_a_change(image: Path, signed: bytes) -> None:
    image.write_bytes(signed + b"appended")
    assert "changed after signing" in signatures(image)[0].problem


def test_every_damage_inside_of_the_signature_is_reported(image: Path, signed: bytes) -> None:
    """The signer's certificate is not signed by its signature, so a change of a name in it may pass for another name."""
    at, size = table(signed)
    passed = 0
    for offset in range(at + 8, at + size - 8, 23):
        content = bytearray(signed)
        content[offset] ^= 0x55
        image.write_bytes(content)
        found = signatures(image)
        assert found
        passed += all(not one.problem for one in found)
    certificate = len(cms.ContentInfo.load(blob(signed))["content"]["certificates"].dump())
    assert passed <= certificate / 23 + 2


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (b"\xff\xff\xff\x7f\x00\x02\x02\x00" + b"1234567890", "says that it has 2147483647 bytes"),
        (struct.pack("<IHH", 24, 0x200, 2) + b"no DER at all, !", "cannot be read"),
        (struct.pack("<IHH", 16, 0x200, 1) + b"an X.509", "has no signature in it"),
    ],
)
def test_an_invalid_table_is_reported(image: Path, signed: bytes, entries: bytes, said: str) -> None:
    at, _ = table(signed)
    content = bytearray(signed[:at] + entries)
    struct.pack_into("<II", content, entry_at(signed), at, len(entries))
    image.write_bytes(content)
    (found,) = signatures(image)
    assert said in found.problem


def test_a_second_signature_and_one_inside_of_another_are_found(image: Path, signed: bytes) -> None:
    image.write_bytes(with_blobs(signed, [blob(signed), blob(signed)]))
    assert [found.problem for found in signatures(image)] == ["", ""]
    nested = with_attribute(blob(signed), "microsoft_nested_signature", cms.ContentInfo.load(blob(signed)))
    image.write_bytes(with_blobs(signed, [nested]))
    assert [(found.problem, found.signer) for found in signatures(image)] == [("", _LAB), ("", _LAB)]


def test_a_time_stamp_of_the_old_kind_is_read(image: Path, signed: bytes) -> None:
    """VeriSign's and others' until 2015 or so: a second signer, who signs the signature."""
    content = cms.ContentInfo.load(blob(signed))
    counter = content["content"]["signer_infos"][0].copy()
    signing_time = cms.Time({"utc_time": core.UTCTime(WHEN)})
    counter["signed_attrs"] = cms.CMSAttributes([cms.CMSAttribute({"type": "signing_time", "values": [signing_time]})])
    image.write_bytes(with_blobs(signed, [with_attribute(blob(signed), "counter_signature", counter)]))
    (found,) = signatures(image)
    assert (found.problem, found.stamped, found.stamped_by) == ("", WHEN, _LAB)
    assert f"time stamp 2031-04-05 06:07:08 UTC by {_LAB}" in list(described(found))


@pytest.mark.parametrize("right", [True, False])
def test_a_time_stamp_of_rfc_3161_is_read_and_belongs_to_its_signature(image: Path, signed: bytes, *, right: bool) -> None:
    content = cms.ContentInfo.load(blob(signed))
    signature = content["content"]["signer_infos"][0]["signature"].native
    imprint = hashlib.sha256(signature if right else b"another one").digest()
    stamp = tsp.TSTInfo(
        {
            "version": "v1",
            "policy": "1.2.3",
            "message_imprint": {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": imprint},
            "serial_number": 5,
            "gen_time": core.GeneralizedTime(WHEN),
        }
    )
    service = content["content"]
    token = cms.ContentInfo(
        {
            "content_type": "signed_data",
            "content": cms.SignedData(
                {
                    "version": "v3",
                    "digest_algorithms": service["digest_algorithms"],
                    "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(stamp.dump())},
                    "certificates": service["certificates"],
                    "signer_infos": service["signer_infos"],
                }
            ),
        }
    )
    image.write_bytes(with_blobs(signed, [with_attribute(blob(signed), "microsoft_time_stamp_token", token)]))
    (found,) = signatures(image)
    if right:
        assert (found.problem, found.stamped, found.stamped_by) == ("", WHEN, _LAB)
    else:
        assert (found.problem, found.stamped) == ("its time stamp belongs to another signature", None)


def signature_of(*chain: str, root: str, problem: str = "") -> Signature:
    return Signature(algorithm="sha256", chain=chain, root=root, problem=problem, certificate_sha256=chain[0])


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        (signature_of("Acme", "Acme CA", root="Microsoft Code Verification Root"), ""),
        (
            signature_of("Acme", "Acme CA", root="Honest Roots Ltd"),
            "signed by Acme, whose certificate chain ends at Honest Roots Ltd",
        ),
        (signature_of("Acme (test)", root="Acme (test)"), "with a self-signed certificate"),
        (signature_of("Microsoft Anything", root="Microsoft Anything"), "in test mode only"),
        (signature_of("Acme", "Lab CA", root="Microsoft Testing Root Certificate Authority 2010"), "in test mode only"),
        (signature_of("Acme", root="Acme", problem="it is damaged"), "is not valid: it is damaged"),
    ],
)
def test_how_windows_judges_signatures(signature: Signature, said: str) -> None:
    words = windows_says((signature,), "x64")
    assert said in words
    assert bool(words) is bool(said)
    assert windows_says((signature,), "x86") == ""
    if not signature.problem:
        assert windows_says((signature,), "x64", {signature.certificate_sha256}) == ""


def test_one_valid_signature_is_enough() -> None:
    damaged = signature_of("Old", root="Old", problem="it is damaged")
    sound = signature_of("Hardware Publisher", "Component CA", root="Microsoft Root Certificate Authority 2010")
    assert windows_says((damaged, sound), "x64") == ""


def test_the_note_of_a_driver_is_only_about_foreign_signatures(
    image: Path, unsigned: Path, signed: bytes, key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "data"))
    assert "not signed" in driver_note(unsigned)
    assert "in test mode only" in driver_note(image)
    (tmp_path / "data" / "signing").symlink_to(key.key.parent)
    assert driver_note(image) == ""
    image.write_bytes(signed[:-30])
    assert "577" in driver_note(image)
    image.write_bytes(b"no driver")
    assert driver_note(image) == ""


def made(name: str, issuer: x509.Name, by: rsa.RSAPrivateKey, key: rsa.RSAPrivateKey) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(common_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(WHEN)
        .not_valid_after(WHEN + datetime.timedelta(days=9))
        .sign(by, hashes.SHA256())
    )


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def test_a_chain_is_given_as_far_as_the_file_has_it(image: Path, signed: bytes) -> None:
    """A leaf by an intermediate by a root outside of the file; a forged certificate with the intermediate's name is ignored."""
    leaf_key, above_key, other_key = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(3))
    above = made("Middle \x1b[31mCA", common_name("Top CA"), other_key, above_key)
    impostor = made("Middle \x1b[31mCA", common_name("Elsewhere"), other_key, other_key)
    leaf = made("Leaf", above.subject, above_key, leaf_key)
    content = cms.ContentInfo.load(blob(signed))
    data = content["content"]
    data["certificates"] = [
        cms.CertificateChoices("certificate", asn1_x509.Certificate.load(item.public_bytes(serialization.Encoding.DER)))
        for item in (impostor, leaf, above)
    ]
    info = data["signer_infos"][0]
    issuer = asn1_x509.Name.load(leaf.issuer.public_bytes())
    info["sid"] = cms.SignerIdentifier(
        "issuer_and_serial_number", cms.IssuerAndSerialNumber({"issuer": issuer, "serial_number": leaf.serial_number})
    )
    signing = b"\x31" + info["signed_attrs"].dump()[1:]
    info["signature"] = leaf_key.sign(signing, padding.PKCS1v15(), hashes.SHA256())
    image.write_bytes(with_blobs(signed, [content.dump(force=True)]))
    (found,) = signatures(image)
    assert found.problem == ""
    # Control characters are escaped.
    assert (found.chain, found.root) == (("Leaf", "Middle \\x1b[31mCA"), "Top CA")


def test_reading_signatures_reads_only_the_table(image: Path, signed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    read = FilePages.read

    def counted(self: FilePages, offset: int, size: int) -> bytes:
        asked.append(size)
        return read(self, offset, size)

    monkeypatch.setattr(FilePages, "read", counted)
    with image.open("r+b") as file:
        file.truncate(1 << 27)
    assert "changed after signing" in signatures(image)[0].problem
    assert max(asked) < 1 << 20
