"""WinRM as a kind of transport: connections by the guest's port or channel, and a shell that is left in a snapshot."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydantic import SecretStr

from lab.errors import LabError, TransportError
from lab.guest.protocol import Transport
from lab.guest.transport_kind import GuestAccess, Parked

if TYPE_CHECKING:
    from lab.guest.winrm.transport import WinRmTransport

_LOG = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
#: Seconds between two tries to reach the service of a fork.
_POLL_S = 0.25
#: Tries that the guest may answer with a refused login. Each makes two logins.
_LOGINS = 2
#: In the parked state: the shell was left over the VM's channel, on which the guest still waits.
_BY_CHANNEL = "by_channel"


class WinRmKind:
    """A :class:`~lab.guest.transport_kind.TransportKind` that also is :class:`~lab.guest.transport_kind.ParksInGuest`.

    Args:
        clock: Monotonic seconds.
        sleep: Sleeps for some seconds.
    """

    title = "WinRM"
    port = 5985
    files_by = "winrm"

    def __init__(self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self._clock = clock
        self._sleep = sleep

    def connect(self, access: GuestAccess) -> WinRmTransport:
        """Connect through the port, because the channel serves one connection at a time."""
        return _open(access, channel=False)

    def park(self, transport: Transport, access: GuestAccess, *, timeout: float, progress: Callable[[str], None]) -> Parked:
        """See :class:`~lab.guest.transport_kind.ParksInGuest`.

        A shell with a running process stays in the guest: of the program that ``access`` names, or a cmd. With a channel, the
        connection to it survives the snapshot.
        """
        from lab.guest.winrm.transport import WinRmTransport

        assert isinstance(transport, WinRmTransport)
        control = transport if transport.on_channel else None
        if control is None and access.open_channel is not None:
            control = _open(access, channel=True)
        if control is not None:
            try:
                if control is not transport:
                    # First, so that the guest has time to finish with that connection before it is stopped.
                    transport.close()
                state = control.park(access.standing, beside=access.beside, timeout=timeout)
                return Parked(state={**state, _BY_CHANNEL: "yes"}, release=control.abandon)
            except LabError as error:
                progress(
                    f"the guest does not serve its channel, so forks open a new connection: {error.message.splitlines()[0]}"
                )
                control.abandon()
        return Parked(state=transport.park(access.standing, beside=access.beside, timeout=timeout))

    def resume(self, access: GuestAccess, state: Mapping[str, str], *, timeout: float) -> WinRmTransport:
        """See :class:`~lab.guest.transport_kind.ParksInGuest`.

        Over TCP this is a new connection, and a new login on it: the connections of the guest that was stopped are gone, and an
        NTLM session belongs to its connection. The service may not accept a connection at once, so this is tried until the
        time is over. A refused login is tried once more only, because a policy of Windows may lock the account after ten.
        """
        from lab.guest.winrm.errors import LoginRejected

        deadline = self._clock() + timeout
        rejected = 0
        while True:
            transport = _open(access, channel=_BY_CHANNEL in state)
            left = max(1.0, deadline - self._clock())
            try:
                if not transport.resume(state, access.standing, beside=access.beside, timeout=left):
                    _LOG.warning("%r: the shell that was left in the guest is gone; the fork has a new one", transport)
                return transport
            except TransportError as error:
                transport.close()
                rejected += isinstance(error, LoginRejected)
                if rejected >= _LOGINS or self._clock() >= deadline:
                    raise
                _LOG.info("%r: no answer after the guest was resumed yet: %s", transport, error.message)
            except BaseException:
                transport.close()
                raise
            self._sleep(_POLL_S)


def _open(access: GuestAccess, *, channel: bool) -> WinRmTransport:
    from lab.guest.winrm.transport import open_winrm  # imports pywinrm, so only its users wait for it

    return open_winrm(
        _LOOPBACK,
        access.needed_port(),
        access.account.username,
        SecretStr(access.account.password),
        channel=access.open_channel if channel else None,
        tools_dir=access.tools_dir,
    )


#: The entry in :data:`lab.config.kinds.TRANSPORTS`.
WINRM = WinRmKind()
