"""The multipart form of encrypted messages, with a toy cipher."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labwinrm.encryption import RESPONSE_TYPE, EncryptionError, decrypt, encrypt, is_encrypted


class Toy:
    """Turns each byte's bits around; the signature is a hash."""

    def wrap(self, data: bytes) -> tuple[bytes, bytes]:
        return hashlib.md5(data).digest(), bytes(b ^ 0xFF for b in data)

    def unwrap(self, signature: bytes, data: bytes) -> bytes:
        plain = bytes(b ^ 0xFF for b in data)
        if hashlib.md5(plain).digest() != signature:
            raise ValueError("wrong signature")
        return plain


BOUNDARY = bytes(b ^ 0xFF for b in b"--Encrypted Boundary\r\n--Encrypted Boundary--\r\n")


@settings(deadline=None)
@given(st.one_of(st.binary(), st.binary().map(lambda b: b + BOUNDARY + b)))
def test_what_is_encrypted_decrypts_even_when_it_looks_like_a_boundary(data: bytes) -> None:
    assert decrypt(RESPONSE_TYPE, encrypt(data, Toy()), Toy()) == data


def test_several_parts_are_one_message() -> None:
    end = b"--Encrypted Boundary--\r\n"
    body = encrypt(b"one ", Toy()).removesuffix(end) + encrypt(b"two", Toy())
    assert decrypt(RESPONSE_TYPE.replace("encrypted;", "x-multi-encrypted;"), body, Toy()) == b"one two"


def test_headers_without_tabs_and_in_other_case_are_taken() -> None:
    body = encrypt(b"text", Toy()).replace(b"\tContent-Type: application/octet", b"content-type: application/octet")
    assert decrypt(RESPONSE_TYPE, body, Toy()) == b"text"


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 255))
def test_a_changed_byte_is_noticed_or_does_not_matter(at: int, value: int) -> None:
    body = bytearray(encrypt(b"a message", Toy()))
    body[min(at, len(body) - 1)] = value
    with suppress(EncryptionError):
        assert decrypt(RESPONSE_TYPE, bytes(body), Toy()) == b"a message"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (RESPONSE_TYPE, b""),
        (RESPONSE_TYPE, b"--Encrypted Boundary--\r\n"),
        (RESPONSE_TYPE, b"--Encrypted Boundary\r\n"),
        (RESPONSE_TYPE, encrypt(b"abc", Toy())[:-40]),
        (RESPONSE_TYPE, encrypt(b"abc", Toy()).replace(b"Length=3", b"Length=9999")),
        (RESPONSE_TYPE, encrypt(b"abc", Toy()).replace(b"Length=3", b"Length=x")),
        (RESPONSE_TYPE.replace("SPNEGO", "CredSSP"), encrypt(b"abc", Toy())),
        (RESPONSE_TYPE.split(";boundary")[0], encrypt(b"abc", Toy())),
    ],
)
def test_malformed_messages(content_type: str, body: bytes) -> None:
    with pytest.raises(EncryptionError):
        decrypt(content_type, body, Toy())


@pytest.mark.parametrize(
    ("text", "expected"), [(RESPONSE_TYPE, True), ("Multipart/Encrypted;x", True), ("application/soap+xml", False)]
)
def test_content_types(text: str, expected: bool) -> None:
    assert is_encrypted(text) is expected
