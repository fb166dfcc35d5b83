"""The print channel of the free guest: lines of Wine on a serial port, and markers from the print agent."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

from lab.errors import ImageError
from lab.image.manifest import PrintPort
from lab.prints.agent import PrintAgent
from lab.prints.channel import GuestLink, PrintChannel, PrintReader
from lab.prints.follow import FileFollower
from lab.prints.resume import PrintsState
from lab.prints.wine import WineLines, WinePrintSource
from lab.vm.argv import serial_name

_LOOPBACK = "127.0.0.1"


class WineChannel(PrintChannel):
    """See :class:`lab.prints.channel.PrintChannel`."""

    name = "wine"
    words = "prints on a serial port"
    guest_time = True
    guest_timer = True
    resumes = True

    def open(self, link: GuestLink, *, resume: PrintsState | None = None) -> WinePrintSource:
        """Return the source; it reaches the print agent through its channel, and through its TCP port after that has failed."""
        path = self.file(link.prints, link.machine.run_dir)
        return WinePrintSource(path, _print_agent(link), encoding=link.encoding, resume=resume)

    def join(self, link: GuestLink) -> WinePrintSource:
        """Return the source; it reaches the print agent through its TCP port: each connection begins anew."""
        port = link.prints.mark_port
        if port is None:
            raise ImageError(f"image {link.manifest.name} has no port of its print agent", hint="build the image again")
        # Not through its virtio-serial channel: the answer to an earlier owner's abandoned request would be read here.
        address = (_LOOPBACK, link.machine.ports[port])
        agent = PrintAgent(lambda timeout: socket.create_connection(address, timeout), f"{address[0]}:{address[1]}")
        return WinePrintSource(self.file(link.prints, link.machine.run_dir), agent, encoding=link.encoding, joins=True)

    def file(self, prints: PrintPort, run_dir: Path) -> Path:
        """Return the log of the serial port."""
        return run_dir / f"{serial_name(prints.serial)}.log"

    def read(self, path: Path, encoding: str) -> PrintReader:
        """Return a reader of that log."""
        return FileFollower(path, WineLines(encoding, first_line=None), what="the print file")


CHANNEL: Final = WineChannel()


def _print_agent(link: GuestLink) -> PrintAgent:
    """A client of a free guest's print agent: through its channel, if the image has one; after a failure, through its port.

    On a channel, the next owner would read the answer to an abandoned request; each TCP connection begins anew.
    """
    prints, machine = link.prints, link.machine
    channels = [name for name in (prints.mark_channel,) if name]
    if not channels and prints.mark_port is None:
        raise ImageError("the image record has neither a channel nor a port of its print agent")
    address = None if prints.mark_port is None else (_LOOPBACK, machine.ports[prints.mark_port])

    def reach(timeout: float) -> socket.socket:
        if channels:
            return machine.channels.open(channels.pop())
        if address is None:
            raise ConnectionError("its channel has failed, and the image has no port")
        return socket.create_connection(address, timeout)

    ways = [*(f"the channel {name}" for name in channels), *([f"{address[0]}:{address[1]}"] if address else [])]
    return PrintAgent(reach, " or ".join(ways))
