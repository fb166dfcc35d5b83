"""The seam for transports: what one is as a kind, chosen by name, and what it is given to reach one guest.

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

#: The name of a transport, as users write it; :data:`lab.config.kinds.TRANSPORTS` knows them all.
TransportName: TypeAlias = str


class Account(Protocol):
    """What a guest is entered with; :class:`lab.image.manifest.Credentials` has it."""

    @property
    def username(self) -> str:
        """The guest's account."""

    @property
    def password(self) -> str:
        """Its password."""

    @property
    def ssh_private_key(self) -> str | None:
        """OpenSSH PEM text; None where the guest takes no key."""

    @property
    def ssh_host_key(self) -> str | None:
        """The guest's public key line."""

    @property
    def others(self) -> Mapping[str, str]:
        """Secrets of further transports, by their own names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestAccess:
    """One guest, as a transport reaches it.

    Attributes:
        image: The image's name, for messages.
        account: What the guest is entered with. No text of it may stand in a message or a repr.
        port: Port of 127.0.0.1 that leads to the transport's port of the guest; None where the image names none.
        open_channel: Opens the transport's private stream into the guest, a virtio-serial port that outlasts a snapshot; None
            where the image has none. One holder at a time is served. Raises ConnectionError.
        tools_dir: Guest folder that holds ``labfile.exe``.
        run_dir: The VM's folder for sockets and logs.
    """

    image: str
    account: Account = field(repr=False)
    port: int | None = None
    open_channel: Callable[[], socket.socket] | None = None
    tools_dir: str
    run_dir: Path

    def needed_port(self) -> int:
        """The port, for a transport that cannot do without.

        Raises:
            TransportError: The image names none.
        """
        if self.port is None:
            raise TransportError(f"image {self.image} names no port for this transport", hint="choose another transport")
        return self.port


class TransportKind(Protocol):
    """A transport that can be chosen by name."""

    @property
    def title(self) -> str:
        """Its name in messages: ``WinRM``."""

    @property
    def port(self) -> int | None:
        """TCP port of a guest on which its service usually listens; None where it needs none. An image names its own."""

    @property
    def files_by(self) -> str:
        """How it copies files, as users write it for ``files:`` and as reports say it: ``sftp``."""

    def connect(self, access: GuestAccess) -> Transport:
        """Make a transport to a guest; nothing is sent before the first command.

        Raises:
            TransportError: The guest does not offer what it takes.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """What a transport leaves in a guest of which a snapshot is about to be taken.

    Attributes:
        state: What :meth:`ParksInGuest.resume` wants in each fork; kept in the template's file.
        release: Called after the snapshot was taken, when the guest is about to be ended.
    """

    state: Mapping[str, str]
    release: Callable[[], None] = lambda: None


@runtime_checkable
class ParksInGuest(Protocol):
    """What a kind may do beside :class:`TransportKind`: leave something in a guest that answers a fork's first question.

    Without it, each fork is connected to anew, which takes an emulated guest a second or more.
    """

    def park(self, transport: Transport, access: GuestAccess, *, timeout: float, progress: Callable[[str], None]) -> Parked:
        """Prepare a guest for a snapshot; no other connection to it is left open but what the answer holds.

        Args:
            transport: The guest's transport, of this kind; it is not used afterwards.
            access: The same guest.
            timeout: Seconds until the guest must have answered.
            progress: Is given what is done otherwise than it should be.

        Raises:
            TransportError: The guest does not answer.
            GuestHung: A command did not end in time.
        """

    def resume(self, access: GuestAccess, state: Mapping[str, str], *, timeout: float) -> Transport:
        """Connect to a fork, whose VM runs, by what :meth:`park` left; returns when the guest has answered.

        Raises:
            TransportError: The guest does not answer, or what was left is gone.
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
    """A transport's name in messages; the name itself where the package is not installed that adds it."""
    kind = TRANSPORTS.load_all(TransportKind).get(name)
    return kind.title if kind else name
