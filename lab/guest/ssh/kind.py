"""SSH as a kind of transport: commands through exec, files through SFTP. It leaves nothing in a snapshot."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from pydantic import SecretStr

from lab.guest.protocol import Transport
from lab.guest.transport_kind import GuestAccess

if TYPE_CHECKING:
    import paramiko

_LOOPBACK = "127.0.0.1"


class SshKind:
    """A :class:`~lab.guest.transport_kind.TransportKind`."""

    title = "SSH"
    port = 22
    files_by = "sftp"

    def connect(self, access: GuestAccess) -> Transport:
        """See :class:`~lab.guest.transport_kind.TransportKind`."""
        from lab.guest.ssh.transport import open_ssh  # importing paramiko takes 60 ms, so only its users wait for it

        key = access.account.ssh_private_key
        return open_ssh(
            _LOOPBACK,
            access.needed_port(),
            access.account.username,
            private_key=SecretStr(key) if key else None,
            host_key=access.account.ssh_host_key,
            tools_dir=access.tools_dir,
        )

    def login(self, access: GuestAccess, *, timeout: float) -> paramiko.Transport:
        """A connection that is logged in, for a terminal.

        Raises:
            OSError: The guest does not answer.
            TransportError: It has another host key.
        """
        from lab.guest.ssh.login import load_host_key, load_private_key, login

        account = access.account
        key = load_private_key(SecretStr(account.ssh_private_key)) if account.ssh_private_key else None
        host_key = load_host_key(account.ssh_host_key) if account.ssh_host_key else None
        sock = socket.create_connection((_LOOPBACK, access.needed_port()), timeout=timeout)
        return login(sock, account.username, SecretStr(account.password), key=key, host_key=host_key, timeout=timeout)


#: The entry in :data:`lab.config.kinds.TRANSPORTS`.
SSH = SshKind()
