from __future__ import annotations

import datetime
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID
from filelock import FileLock

from lab.errors import ConfigError, HostToolError, LabError
from lab.toolchain import pe
from lab.toolchain import sign as sign_module
from lab.toolchain.sign import SigningKey, is_signed, sign, signing_key, verify


def test_the_certificate_signs_code_and_nothing_else(key: SigningKey) -> None:
    certificate = x509.load_pem_x509_certificate(key.certificate.read_bytes())
    public = certificate.public_key()
    assert isinstance(public, RSAPublicKey)
    assert public.key_size >= 2048
    assert certificate.signature_hash_algorithm is not None
    assert certificate.signature_hash_algorithm.name == "sha256"
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CODE_SIGNING]
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert left > datetime.timedelta(days=3650)


def test_only_the_owner_can_read_the_key(key: SigningKey) -> None:
    assert stat.S_IMODE(key.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.key.parent.stat().st_mode) == 0o700


def test_the_key_is_made_once(key: SigningKey) -> None:
    before = (key.certificate.read_bytes(), key.key.read_bytes())
    again = signing_key(key.key.parent)
    assert (again.certificate.read_bytes(), again.key.read_bytes()) == before
    assert again.fingerprint() == key.fingerprint()


def test_half_a_pair_is_replaced_as_a_whole(key: SigningKey, tmp_path: Path) -> None:
    (tmp_path / "lab-test.key").write_bytes(key.key.read_bytes())
    made = signing_key(tmp_path)
    assert made.key.read_bytes() != key.key.read_bytes()
    assert made.fingerprint() != key.fingerprint()


def test_a_lock_that_is_held_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_module, "_LOCK_TIMEOUT_S", 0.0)
    with FileLock(tmp_path / ".lock"), pytest.raises(LabError, match="for the lock of"):
        signing_key(tmp_path)


def test_a_signed_image_verifies_and_is_still_sound(unsigned: Path, key: SigningKey, tmp_path: Path) -> None:
    signed = tmp_path / "signed.sys"
    sign(unsigned, signed, "tiny", key)
    verify(signed, key)
    assert pe.inspect(signed).problems == ()
    assert is_signed(signed)
    assert not is_signed(unsigned)


def test_one_image_and_one_key_have_one_signature(unsigned: Path, key: SigningKey, tmp_path: Path) -> None:
    first, second = tmp_path / "first.sys", tmp_path / "second.sys"
    sign(unsigned, first, "tiny", key)
    sign(unsigned, second, "tiny", key)
    assert first.read_bytes() == second.read_bytes()


def test_an_unsigned_image_does_not_verify(unsigned: Path, key: SigningKey) -> None:
    with pytest.raises(HostToolError, match="osslsigncode ended with"):
        verify(unsigned, key)


def test_a_changed_image_does_not_verify(unsigned: Path, key: SigningKey, tmp_path: Path) -> None:
    signed = tmp_path / "signed.sys"
    sign(unsigned, signed, "tiny", key)
    content = bytearray(signed.read_bytes())
    content[content.index(b"tiny")] ^= 0x20
    signed.write_bytes(content)
    with pytest.raises(HostToolError) as caught:
        verify(signed, key)
    assert "build it again" in caught.value.hint


def test_another_key_does_not_verify(unsigned: Path, key: SigningKey, tmp_path: Path) -> None:
    signed = tmp_path / "signed.sys"
    sign(unsigned, signed, "tiny", key)
    with pytest.raises(HostToolError):
        verify(signed, signing_key(tmp_path / "other"))


def test_a_signed_image_is_not_signed_again(unsigned: Path, key: SigningKey, tmp_path: Path) -> None:
    signed = tmp_path / "signed.sys"
    sign(unsigned, signed, "tiny", key)
    with pytest.raises(ConfigError, match="is signed already"):
        sign(signed, tmp_path / "twice.sys", "tiny", key)
