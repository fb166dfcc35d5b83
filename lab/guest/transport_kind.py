"""The interface for transports: a kind of transport, which is chosen by name, and the data with which it reaches one guest.

``winrm`` and ``ssh`` are the lab's own; packages add more, see docs/extending.md.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from lab.config.kinds import TRANSPORTS
from lab.errors import TransportError
from lab.guest.protocol import Transport
from lab.guest.standing import StandingProgram

#: The name of a transport, as users write it; :data:`lab.config.kinds.TRANSPORTS` knows them all.
TransportName: TypeAlias = str


class Account(Protocol):
    """The account with which the lab logs in to a guest; :class:`lab.image.manifest.Credentials` implements it."""

    @property
    def username(self) -> str:
        """The guest's account."""

    @property
    def password(self) -> str:
        """Its password."""

    @property
    def ssh_private_key(self) -> str | None:
        """OpenSSH PEM text; None if the guest accepts no key."""

    @property
    def ssh_host_key(self) -> str | None:
        """The guest's public key line."""

    @property
    def others(self) -> Mapping[str, str]:
        """Secrets of further transports, by their own names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestAccess:
    """Everything that a transport needs to reach one guest.

    Attributes:
        image: The image's name, for messages.
        account: The guest's account. Nothing of it may be in a message or a repr.
        port: Port of 127.0.0.1 that is forwarded to the transport's port of the guest; None if the image names none.
        open_channel: Opens the transport's private stream into the guest, a virtio-serial port that outlasts a snapshot; None
            where the image has none. It serves one connection at a time. Raises ConnectionError.
        tools_dir: Guest folder that holds ``labfile.exe``.
        run_dir: The VM's folder for sockets and logs.
        standing: For :class:`ParksInGuest`: a program that the forks of a snapshot will need. A transport that
            :class:`~lab.guest.standing.Converses` may start it before the snapshot. None: there is none.
        beside: More such programs, which stay beside that one; the first command of a fork is not for them.
    """

    image: str
    account: Account = field(repr=False)
    port: int | None = None
    open_channel: Callable[[], socket.socket] | None = None
    tools_dir: str
    run_dir: Path
    standing: StandingProgram | None = None
    beside: tuple[StandingProgram, ...] = ()

    def needed_port(self) -> int:
        """The port, for a transport that needs one.

        Raises:
            TransportError: The image names none.
        """
        if self.port is None:
            raise TransportError(f"image {self.image} names no port for this transport", hint="choose another transport")
        return self.port


class TransportKind(Protocol):
    """A kind of transport, chosen by name."""

    @property
    def title(self) -> str:
        """Its name in messages: ``WinRM``."""

    @property
    def port(self) -> int | None:
        """Default TCP port of its service in a guest; None if it needs none. An image may name another one."""

    @property
    def files_by(self) -> str:
        """How it copies files: the value of ``files:`` and the word in reports, for example ``sftp``."""

    def connect(self, access: GuestAccess) -> Transport:
        """Make a transport to a guest; nothing is sent before the first command.

        Raises:
            TransportError: The guest does not offer what it needs.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """What a transport leaves in a guest before a snapshot.

    Attributes:
        state: Passed to :meth:`ParksInGuest.resume` in each fork; stored in the template's file.
        release: Called after the snapshot, before the guest is ended.
    """

    state: Mapping[str, str]
    release: Callable[[], None] = lambda: None


@runtime_checkable
class ParksInGuest(Protocol):
    """An optional addition to :class:`TransportKind`: leave a process in the guest that answers a fork's first command.

    Without it, the lab connects to each fork anew, which takes a second or more with an emulated guest.
    """

    def park(self, transport: Transport, access: GuestAccess, *, timeout: float, progress: Callable[[str], None]) -> Parked:
        """Prepare a guest for a snapshot. Only the returned object may hold an open connection.

        Args:
            transport: The guest's transport, of this kind; it is not used afterwards.
            access: The same guest; :meth:`resume` is given one with the same ``standing``.
            timeout: Seconds until the guest must have answered.
            progress: Gets a line for each deviation.

        Raises:
            TransportError: The guest does not answer.
            GuestHung: A command did not end in time.
        """

    def resume(self, access: GuestAccess, state: Mapping[str, str], *, timeout: float) -> Transport:
        """Connect to a running fork, with the state of :meth:`park`; returns when the guest has answered.

        Raises:
            TransportError: The guest does not answer, or the process that was left is gone.
            GuestHung: The answer did not come in time.
        """


def transport_kind(name: str) -> TransportKind:
    """The kind of a name.

    Raises:
        ConfigError: There is none.
        PluginError: The package that adds it is broken.
    """
    return TRANSPORTS.load(name, TransportKind)


def title_of(name: str) -> str:
    """A transport's name in messages; the plain name if the package that adds it is not installed."""
    kind = TRANSPORTS.load_all(TransportKind).get(name)
    return kind.title if kind else name
