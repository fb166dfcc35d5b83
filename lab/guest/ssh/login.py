"""Logging in to an SSH server with a pinned host key, by key or password and nothing else."""

from __future__ import annotations

import base64
import io
import socket
from contextlib import suppress

import paramiko
from pydantic import SecretStr

from lab.errors import ConfigError, TransportError
from lab.guest.secret import without_frames


def login(
    sock: socket.socket,
    username: str,
    password: SecretStr | None,
    *,
    key: paramiko.PKey | None,
    host_key: paramiko.PKey | None,
    timeout: float,
) -> paramiko.Transport:
    """Speak SSH over a connected socket and log in.

    Raises:
        TransportError: The host key is not the pinned one.
    """
    transport = paramiko.Transport(sock)
    try:
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = timeout
        if host_key is not None:
            # Otherwise a server with several keys may choose another one than the pinned key.
            name = host_key.get_name()
            options = transport.get_security_options()
            options.key_types = [t for t in options.key_types if t == name or (name == "ssh-rsa" and t.startswith("rsa-sha2"))]
        transport.start_client(timeout=timeout)
        if host_key is not None and transport.get_remote_server_key() != host_key:
            raise TransportError(
                "the SSH host key is not the key of this image",
                hint="another server listens on this port, or the credentials belong to another build of the image",
            )
        _authenticate(transport, username, password, key)
    except BaseException:
        transport.close()
        raise
    return transport


def _authenticate(transport: paramiko.Transport, username: str, password: SecretStr | None, key: paramiko.PKey | None) -> None:
    if key is not None:
        try:
            transport.auth_publickey(username, key)
            return
        except paramiko.AuthenticationException:
            if password is None:
                raise
    try:
        transport.auth_password(username, password.get_secret_value() if password is not None else "", fallback=False)
    except Exception as problem:
        raise without_frames(problem)  # noqa: B904 - the same error; a cause would be the error itself


def load_private_key(text: SecretStr) -> paramiko.PKey:
    """Load an OpenSSH PEM without a passphrase; ConfigError when it is not one."""
    for kind in (paramiko.Ed25519Key, paramiko.RSAKey, paramiko.ECDSAKey):
        with suppress(paramiko.SSHException, ValueError, IndexError):
            return kind.from_private_key(io.StringIO(text.get_secret_value()))
    raise ConfigError("the SSH private key cannot be read", hint="it must be an OpenSSH PEM without a passphrase")


def load_host_key(line: str) -> paramiko.PKey:
    """Load a public key line such as ``ssh-ed25519 AAAA…``; ConfigError when it is not one."""
    try:
        return paramiko.PKey.from_type_string(line.split()[0], base64.b64decode(line.split()[1], validate=True))
    except Exception as problem:  # the exception for a damaged key depends on the key's type
        raise ConfigError(
            f"the SSH host key cannot be read: {line[:40]!r}", hint="it must be a public key line: ssh-ed25519 AAAA…"
        ) from problem
