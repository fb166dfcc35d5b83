"""A WinRM service in this process whose commands run under /bin/sh, and clients for it."""

from __future__ import annotations

import datetime
import ipaddress
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from labwinrm.config import Config
from labwinrm.server import Server, start
from winrm.protocol import Protocol

USER, PASSWORD = "lab", "pass word-ü1"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running service and what a client needs to know of it."""

    server: Server
    certificate: Path

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/wsman"

    @property
    def https(self) -> str:
        return f"https://127.0.0.1:{self.server.tls_port}/wsman"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA384())
    )
    (folder / "cert.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    no_password = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_password)
    (folder / "key.pem").write_bytes(pem)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def make_config(tmp_path: Path, certificate: tuple[Path, Path]) -> Callable[..., Config]:
    def make(**settings: Any) -> Config:
        users = tmp_path / "users"
        users.write_text(f":{USER}:{PASSWORD}\nDOM:other:second\n", encoding="utf-8")
        given: dict[str, Any] = {
            "address": "127.0.0.1",
            "http_port": 0,
            "https_port": 0,
            "tls_certificate": certificate[0],
            "tls_key": certificate[1],
            "ntlm_user_file": users,
            "run_directory": tmp_path / "run",
            "launcher": "direct",
            "shell_command": ("/bin/sh", "-c"),
        }
        return Config(**{**given, **settings})

    return make


@pytest.fixture
def serve(make_config: Callable[..., Config], certificate: tuple[Path, Path]) -> Iterator[Callable[..., Endpoint]]:
    with ExitStack() as stack:

        def run(**settings: Any) -> Endpoint:
            server = start(make_config(**settings))
            stack.callback(server.close)
            return Endpoint(server, certificate[0])

        yield run


@pytest.fixture
def endpoint(serve: Callable[..., Endpoint]) -> Endpoint:
    return serve()


@pytest.fixture
def pywinrm() -> Iterator[Callable[..., Protocol]]:
    """Makes pywinrm clients and closes their connections afterwards."""
    with ExitStack() as stack:

        def make(url: str, transport: Any = "ntlm", **settings: Any) -> Protocol:
            given: dict[str, Any] = {
                "username": USER,
                "password": PASSWORD,
                "read_timeout_sec": 30,
                "operation_timeout_sec": 20,
                "proxy": None,
                "ca_trust_path": None,  # or pywinrm warns about an environment variable
            }
            client = Protocol(url, transport=transport, **{**given, **settings})
            stack.callback(client.transport.close_session)
            return client

        yield make


def python_line(program: str) -> str:
    """A shell command line that runs a Python program."""
    return f"{sys.executable} -c '{program}'"
