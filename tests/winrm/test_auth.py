"""Logins, one connection's state at a time."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
from pathlib import Path

import pytest
import spnego
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from labwinrm.accounts import Accounts
from labwinrm.auth import Authenticator
from spnego.channel_bindings import GssChannelBindings

LOG = logging.getLogger("labwinrm")


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    (tmp_path / "users").write_text(":lab:secret\nD:Other:more words\n\nnot an account\n", encoding="utf-8")
    return Accounts(tmp_path / "users", tmp_path / "store")


def basic(user: str, password: str, encoding: str = "utf-8") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode(encoding)).decode()


@pytest.mark.parametrize(
    ("user", "password", "good"),
    [
        ("lab", "secret", True),
        ("LAB", "secret", True),
        ("machine\\lab", "secret", True),
        ("other", "more words", True),
        ("lab", "Secret", False),
        ("lab", "", False),
        ("", "", False),
        ("other", "secret", False),
    ],
)
def test_basic(accounts: Accounts, user: str, password: str, good: bool) -> None:
    over_tls = Authenticator(accounts, protected=True, certificate=b"", log=LOG)
    assert bool(over_tls.check(basic(user, password)).user) is good
    assert not over_tls.check("").user  # Basic goes with each request
    plain = Authenticator(accounts, protected=False, certificate=b"", log=LOG)
    assert plain.check(basic(user, password)).headers == (("WWW-Authenticate", "Negotiate"),)


def login(authenticator: Authenticator, user: str = "lab", password: str = "secret", **settings: object) -> bool:
    client = spnego.client(user, password, protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm, **settings)  # type: ignore[arg-type]
    verdict = authenticator.check("Negotiate " + base64.b64encode(client.step() or b"").decode())
    assert not verdict.user
    challenge = base64.b64decode(verdict.headers[0][1].removeprefix("Negotiate "))
    verdict = authenticator.check("Negotiate " + base64.b64encode(client.step(challenge) or b"").decode())
    return bool(verdict.user)


def test_ntlm_is_bound_to_the_connection_and_can_be_done_again(accounts: Accounts, tmp_path: Path) -> None:
    authenticator = Authenticator(accounts, protected=False, certificate=b"", log=LOG)
    assert authenticator.check("").user == ""
    assert login(authenticator)
    assert authenticator.check("").user
    assert authenticator.context is not None
    assert login(authenticator, "NOWHERE\\OTHER", "more words")
    assert not login(authenticator, password="wrong")
    assert authenticator.check("").user == ""
    assert authenticator.context is None
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o600


def test_the_environment_is_left_as_it_was(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NTLM_USER_FILE", raising=False)
    authenticator = Authenticator(accounts, protected=False, certificate=b"", log=LOG)
    assert login(authenticator)
    assert "NTLM_USER_FILE" not in os.environ
    monkeypatch.setenv("NTLM_USER_FILE", "/mine")
    assert login(authenticator)
    assert os.environ["NTLM_USER_FILE"] == "/mine"


def test_channel_bindings_may_be_missing_but_not_wrong(accounts: Accounts, certificate: tuple[Path, Path]) -> None:
    der = x509.load_pem_x509_certificate(certificate[0].read_bytes()).public_bytes(serialization.Encoding.DER)
    authenticator = Authenticator(accounts, protected=True, certificate=der, log=LOG)
    right = GssChannelBindings(application_data=b"tls-server-end-point:" + hashlib.sha384(der).digest())
    wrong = GssChannelBindings(application_data=b"tls-server-end-point:" + hashlib.sha256(der).digest())
    assert login(authenticator)
    assert login(authenticator, channel_bindings=right)
    assert not login(authenticator, channel_bindings=wrong)


@pytest.mark.parametrize(
    "token", [b"NTLMSSP\0", b"NTLMSSP\0\x03\0\0\0", b"NTLMSSP\0\x03\0\0\0" + b"\xff" * 80, b"\x60\x10junk", b"x"]
)
def test_broken_tokens_are_refused(accounts: Accounts, token: bytes) -> None:
    authenticator = Authenticator(accounts, protected=True, certificate=b"", log=LOG)
    for _ in range(2):
        verdict = authenticator.check("Negotiate " + base64.b64encode(token).decode())
        assert (verdict.user, verdict.headers[0]) == ("", ("WWW-Authenticate", "Negotiate"))
    assert login(authenticator)


def test_accounts_are_read_anew(accounts: Accounts, tmp_path: Path) -> None:
    assert not accounts.check("new", "word")
    (tmp_path / "users").write_text(":new:word\n")
    assert accounts.check("new", "word")
    assert not accounts.check("lab", "secret")
