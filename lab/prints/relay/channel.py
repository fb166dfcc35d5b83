"""The print channel of a Windows guest with the print relay: a driver writes the prints to QEMU's debug console."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lab.image.manifest import PrintPort
from lab.prints.channel import GuestLink, PrintChannel, PrintPorts, PrintReader
from lab.prints.follow import FileFollower
from lab.prints.relay.marker import OLD_NAME, OLD_PROGRAM, PROGRAM, RelayMarker
from lab.prints.relay.source import LOG_FILE, RelayFrames, RelayPrintSource
from lab.prints.relay.start import SUFFIX, read_start, start_of, state_of, write_start
from lab.prints.resume import PrintsState
from lab.vm.spec import SerialPort


class RelayChannel(PrintChannel):
    """See :class:`lab.prints.channel.PrintChannel`."""

    name = "relay"
    words = "the print relay"
    resumes = True
    evidence = (f"*{SUFFIX}",)

    def ports(self, prints: PrintPort) -> PrintPorts:
        """Return the ports: the driver alone writes to the debug console."""
        return PrintPorts(debug_port=SerialPort())

    def open(self, link: GuestLink, *, resume: PrintsState | None = None) -> RelayPrintSource:
        """Return the source; the driver writes markers when a program in the guest asks for them."""
        if resume is not None:
            write_start(self.file(link.prints, link.machine.run_dir), start_of(resume))
        return self._source(link, resume)

    def join(self, link: GuestLink) -> RelayPrintSource:
        """Return the source: the log has everything since the boot, or since the snapshot of a fork."""
        start = read_start(self.file(link.prints, link.machine.run_dir))
        return self._source(link, state_of(start.position, start.tail))

    def file(self, prints: PrintPort, run_dir: Path) -> Path:
        """Return the log of the debug console."""
        return run_dir / LOG_FILE

    def read(self, path: Path, encoding: str) -> PrintReader:
        """Return a reader of that log."""
        start = read_start(path)
        decoder = RelayFrames(encoding, start.position)
        return FileFollower(path, decoder, what="the log of the debug console", replay=start.tail)

    def _source(self, link: GuestLink, resume: PrintsState | None) -> RelayPrintSource:
        machine = link.machine
        program = OLD_PROGRAM if link.prints.source == OLD_NAME else PROGRAM
        marker = RelayMarker(f"{link.manifest.tools_dir}\\{program}", link.open_transport, alive=lambda: machine.alive)
        return RelayPrintSource(
            self.file(link.prints, machine.run_dir),
            marker.write,
            encoding=link.encoding,
            resume=resume,
            hang_up=marker.close,
            on_close=marker.close,
        )


CHANNEL: Final = RelayChannel()
