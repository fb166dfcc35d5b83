"""The print channel of a Windows guest with the print relay: a driver writes the prints to QEMU's debug console."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lab.image.manifest import PrintPort
from lab.prints.channel import GuestLink, PrintChannel, PrintPorts, PrintReader
from lab.prints.follow import FileFollower
from lab.prints.relay.marker import OLD_NAME, OLD_PROGRAM, PROGRAM, RelayMarker
from lab.prints.relay.source import LOG_FILE, RelayFrames, RelayPrintSource
from lab.prints.resume import PrintsState
from lab.vm.spec import SerialPort


class RelayChannel(PrintChannel):
    """See :class:`lab.prints.channel.PrintChannel`."""

    name = "relay"
    words = "the print relay"

    def ports(self, prints: PrintPort) -> PrintPorts:
        """Return the ports: the driver alone writes to the debug console."""
        return PrintPorts(debug_port=SerialPort())

    def open(self, link: GuestLink, *, resume: PrintsState | None = None) -> RelayPrintSource:
        """Return the source; the driver writes markers when a program in the guest asks for them."""
        machine = link.machine
        program = OLD_PROGRAM if link.prints.source == OLD_NAME else PROGRAM
        marker = RelayMarker(f"{link.manifest.tools_dir}\\{program}", link.open_transport, alive=lambda: machine.alive)
        path = self.file(link.prints, machine.run_dir)
        return RelayPrintSource(path, marker.write, encoding=link.encoding, on_close=marker.close)

    def join(self, link: GuestLink) -> RelayPrintSource:
        """Return the source: the log has everything since the boot."""
        return self.open(link)

    def file(self, prints: PrintPort, run_dir: Path) -> Path:
        """Return the log of the debug console."""
        return run_dir / LOG_FILE

    def read(self, path: Path, encoding: str) -> PrintReader:
        """Return a reader of that log."""
        return FileFollower(path, RelayFrames(encoding), what="the log of the debug console")


CHANNEL: Final = RelayChannel()
