"""The interface of a print channel: the path on which the kernel prints of a guest reach the host.

A channel says which ports its VM gets, opens the print source of a guest, and reads the file that the prints are in. It has no
state: one object serves all guests. :mod:`lab.prints.registry` finds it by ``prints.source`` of an image record.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.errors import ImageError
from lab.guest.protocol import Transport
from lab.host.spare import WaitingProcess
from lab.image.manifest import ImageManifest, PrintPort
from lab.prints.record import PrintSource, Record
from lab.prints.resume import PrintsState
from lab.vm.protocol import Machine
from lab.vm.spec import SerialPort


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestLink:
    """What a print channel needs to know about one guest.

    Attributes:
        manifest: The image record, as the guest was booted.
        machine: Its VM, started.
        encoding: Encoding of the drivers' strings.
        open_transport: Opens a connection to the guest, for a channel whose markers a program in the guest prints.
        helper: What :meth:`PrintChannel.start_helper` returned, for this guest alone; None: nothing was started in advance.
    """

    manifest: ImageManifest
    machine: Machine
    encoding: str
    open_transport: Callable[[], Transport]
    helper: WaitingProcess | None = None

    @property
    def prints(self) -> PrintPort:
        """The section about prints in the image record."""
        return self.manifest.prints


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintPorts:
    """The ports that a VM gets for its prints.

    Attributes:
        serials: COM1 and COM2. A recorded port is the log file ``serialN.log`` in the run folder.
        debug_port: The debug console; None: the VM has none.
    """

    serials: tuple[SerialPort, SerialPort] = (SerialPort(), SerialPort())
    debug_port: SerialPort | None = None


class PrintReader(Protocol):
    """Reads the records of a file that may still grow."""

    def start(self) -> None:
        """Begin to read."""

    def records_since(self, position: int) -> list[Record]:
        """Return the records from this index on."""

    def close(self) -> object:
        """Read the rest of the file, and stop."""


class PrintChannel(Protocol):
    """One kind of print channel. A class that inherits from this one needs ``name``, ``words``, ``open`` and ``read``."""

    #: The value of ``prints.source`` in an image record, and :attr:`lab.prints.record.PrintSource.name` of its sources.
    name: str
    #: The channel in messages and reports, after ``an image with``.
    words: str
    #: The VM starts paused; :meth:`open` lets it run.
    starts_paused: bool = False
    #: Its records have the guest's uptime, so the rate of the guest's clock can be checked after a boot.
    guest_time: bool = False
    #: Its sources have a timer in the guest, :attr:`lab.prints.record.PrintSource.timer`: a virtual clock needs it.
    guest_timer: bool = False
    #: Its sources can continue in a fork: :attr:`lab.prints.record.PrintSource.resumable` is not None.
    resumes: bool = False
    #: Its sources have an agent that sets the clock of a fork. If not, the kind of guest must do that:
    #: :class:`lab.image.kind.ForkClock`.
    sets_clock: bool = True
    #: Glob patterns of its files in the run folder, beside the ``*.log`` of QEMU. They are saved as evidence.
    evidence: tuple[str, ...] = ()

    def ports(self, prints: PrintPort) -> PrintPorts:
        """Return the ports that the VM gets. The default records both serial ports."""
        return PrintPorts()

    @abstractmethod
    def open(self, link: GuestLink, *, resume: PrintsState | None = None) -> PrintSource:
        """Return the print source of a guest that boots or resumes, not started.

        After a boot, a VM that started paused runs when this returns. The VM of a fork stays stopped: what answers its
        kernel is connected before :meth:`lab.prints.resume.ResumableSource.resume` lets it run.

        Args:
            link: The guest.
            resume: What :meth:`~lab.prints.resume.ResumableSource.snapshot_state` returned when the fork's snapshot was taken;
                None after a boot. Given only to a channel with ``resumes``.

        Raises:
            ImageError: The image record lacks a value that the channel needs.
            HostToolError: A process of the channel could not be started.
        """

    def start_helper(self) -> WaitingProcess | None:
        """Start the process that :meth:`open` needs for a guest, before there is a guest; None: it needs none.

        It learns about its guest from :meth:`open` alone. A channel must also work without it.

        Raises:
            OSError: It could not be started.
        """
        return None

    def join(self, link: GuestLink) -> PrintSource:
        """Return the print source of a guest that has run for a while and may have printed, not started.

        Raises:
            ImageError: That is not possible.
        """
        raise ImageError(f"a running guest with {self.words} cannot be joined", hint="run without --on")

    def file(self, prints: PrintPort, run_dir: Path) -> Path | None:
        """Return the file that the prints of a guest are in; None: there is none."""
        return None

    @abstractmethod
    def read(self, path: Path, encoding: str) -> PrintReader:
        """Return a reader of such a file, from its first byte; not started."""
