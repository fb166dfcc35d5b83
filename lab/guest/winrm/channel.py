"""WinRM over a byte stream that is private to the VM's owner, instead of over TCP.

The free guest's WinRM service answers on a virtio-serial port, too. No other process can read or write this stream, so that, as
with TLS, the login is a header (Basic) and messages are not encrypted. The stream stays connected in a fork. Hyper-V's
PowerShell Direct is the same idea.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import requests
import requests.adapters
import urllib3
import urllib3.connection
from winrm.transport import Transport as PywinrmTransport

#: The stream has no address; HTTP wants a name.
ENDPOINT = "http://channel/wsman"


class ChannelLostError(Exception):
    """The stream cannot be opened, or is closed; the request was not sent. The text says why."""


class _Once:
    """Opens the stream once. A second connection might wait unnoticed while QEMU serves another holder.

    Args:
        stream: Opens it.
    """

    def __init__(self, stream: Callable[[], socket.socket]) -> None:
        self._stream = stream
        self._opened = False

    def __call__(self) -> socket.socket:
        if self._opened:
            raise ChannelLostError("the channel's connection was lost")
        self._opened = True
        try:
            return self._stream()
        except OSError as error:
            raise ChannelLostError(str(error)) from error


class _Connection(urllib3.connection.HTTPConnection):
    """An HTTP connection over a given stream.

    Args:
        stream: Opens it.
    """

    def __init__(self, stream: Callable[[], socket.socket], **settings: Any) -> None:
        super().__init__("channel", **settings)
        self._stream = stream

    def connect(self) -> None:
        """Open the stream."""
        self.sock = self._stream()
        if isinstance(self.timeout, int | float):
            self.sock.settimeout(self.timeout)


class _Pool(urllib3.HTTPConnectionPool):
    """The one connection.

    Args:
        stream: Opens it.
    """

    def __init__(self, stream: Callable[[], socket.socket]) -> None:
        super().__init__("channel", maxsize=1, block=True, retries=False)
        self._stream = stream

    def _new_conn(self) -> _Connection:
        return _Connection(self._stream, timeout=self.timeout.connect_timeout)


class ChannelAdapter(requests.adapters.HTTPAdapter):
    """Sends every request of a session over one stream.

    Args:
        stream: Opens it; called once.
    """

    def __init__(self, stream: Callable[[], socket.socket]) -> None:
        super().__init__(max_retries=0)
        self._pool = _Pool(_Once(stream))

    def get_connection_with_tls_context(self, *_args: Any, **_settings: Any) -> Any:
        """See requests: the pool that a request goes through."""
        return self._pool

    def close(self) -> None:
        """Close the stream."""
        self._pool.close()
        super().close()


class ChannelTransport(PywinrmTransport):
    """pywinrm's transport over a stream; :func:`channel_transport` makes it."""

    stream: Callable[[], socket.socket]

    def build_session(self) -> requests.Session:
        """See pywinrm."""
        if self.session is None:
            super().build_session().mount(ENDPOINT, ChannelAdapter(self.stream))
        assert self.session is not None
        return self.session


def channel_transport(settings: PywinrmTransport, stream: Callable[[], socket.socket]) -> ChannelTransport:
    """The transport of a protocol object that goes over a stream.

    Args:
        settings: What pywinrm made for it: account and limits are taken from there.
        stream: Opens the stream.
    """
    made = ChannelTransport(
        ENDPOINT,
        auth_method="basic",
        message_encryption="never",
        username=settings.username,
        password=settings.password,
        read_timeout_sec=settings.read_timeout_sec,
        proxy=None,
        ca_trust_path=settings.ca_trust_path,
    )
    made.stream = stream
    return made
