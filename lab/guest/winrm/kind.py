"""WinRM as a kind of transport: connections by the guest's port or channel, and a shell that is left in a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydantic import SecretStr

from lab.errors import LabError
from lab.guest.protocol import Transport
from lab.guest.transport_kind import GuestAccess, Parked

if TYPE_CHECKING:
    from lab.guest.winrm.transport import WinRmTransport

_LOOPBACK = "127.0.0.1"
#: In the parked state: the shell was left over the VM's channel, on which the guest still waits.
_BY_CHANNEL = "by_channel"


class WinRmKind:
    """A :class:`~lab.guest.transport_kind.TransportKind` that also is :class:`~lab.guest.transport_kind.ParksInGuest`."""

    title = "WinRM"
    port = 5985
    files_by = "winrm"

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
                return Parked(
                    state={**control.park(access.standing, timeout=timeout), _BY_CHANNEL: "yes"}, release=control.abandon
                )
            except LabError as error:
                progress(
                    f"the guest does not serve its channel, so forks open a new connection: {error.message.splitlines()[0]}"
                )
                control.abandon()
        return Parked(state=transport.park(access.standing, timeout=timeout))

    def resume(self, access: GuestAccess, state: Mapping[str, str], *, timeout: float) -> WinRmTransport:
        """See :class:`~lab.guest.transport_kind.ParksInGuest`."""
        transport = _open(access, channel=_BY_CHANNEL in state)
        try:
            transport.resume(state, access.standing, timeout=timeout)
        except BaseException:
            transport.close()
            raise
        return transport


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
