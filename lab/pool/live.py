"""A live guest: a virtual machine that answers commands and whose kernel prints are being drained."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from lab.errors import GuestExited, LabError, TransportError
from lab.guest.protocol import Transport
from lab.guest.services import ServiceControl
from lab.image.manifest import ImageManifest
from lab.prints.record import PrintSource

TransportName = Literal["winrm", "ssh"]


class Machine(Protocol):
    """What the pool needs of a virtual machine; :class:`lab.vm.machine.VirtualMachine` has it."""

    @property
    def alive(self) -> bool:
        """Whether QEMU runs."""

    def console_tail(self, lines: int = 20) -> str:
        """The last lines of the guest's console."""

    def exited_error(self) -> GuestExited:
        """Why QEMU is not there any more."""

    def close(self) -> None:
        """End it; safe to call twice."""


@dataclass(slots=True, kw_only=True)
class LiveGuest:
    """A booted guest, ready for commands.

    Attributes:
        guest_id: Names this boot in reports and markers.
        manifest: The image that it was made from.
        machine: The virtual machine.
        transport: The open transport; one thread at a time.
        prints: Its print source, draining since the first byte.
        smp: Its virtual CPUs.
        boot_s: Host seconds from starting QEMU to the first answered command.
        run_dir: Its logs, overlays and sockets; None where it has none.
        open_transport: Opens another transport by name.
        on_close: Called once at the end, after everything else is closed.
    """

    guest_id: str
    manifest: ImageManifest
    machine: Machine
    transport: Transport
    prints: PrintSource
    smp: int
    boot_s: float
    run_dir: Path | None = None
    open_transport: Callable[[TransportName], Transport]
    on_close: Callable[[], None] = lambda: None
    _closed: bool = field(default=False, init=False)

    @property
    def services(self) -> ServiceControl:
        """Driver services of this guest, over its transport."""
        return ServiceControl(self.transport)

    @property
    def capabilities(self) -> frozenset[str]:
        """What this guest really does, see :mod:`lab.guest.capability`."""
        return frozenset(self.manifest.capabilities)

    @property
    def alive(self) -> bool:
        """Whether the virtual machine runs. Its guest may hang."""
        return not self._closed and self.machine.alive

    def answers(self, *, timeout: float = 20.0) -> bool:
        """Whether the guest still runs a trivial command."""
        if not self.alive:
            return False
        try:
            return self.transport.run("echo lab", timeout=timeout).exit_code == 0
        except LabError:
            return False

    @contextlib.contextmanager
    def open(self, name: TransportName) -> Iterator[Transport]:
        """Another connection to the same guest, closed at the end of the ``with``.

        Raises:
            TransportError: The image does not offer this transport, or the guest does not answer it.
        """
        transport = self.open_transport(name)
        try:
            yield transport
        finally:
            transport.close()

    def close(self) -> None:
        """End the guest: connection, virtual machine, print source, in this order. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        # The machine goes first when it is dead or stuck anyway: closing a connection to it could wait for its answer.
        if self.machine.alive:
            with contextlib.suppress(TransportError):
                self.transport.close()
        try:
            self.machine.close()
        finally:
            # After the machine: QEMU has then written everything that it ever will.
            self.prints.close()
            self.on_close()
