"""The prints of a guest that has lived for a while, from now on: what it printed before is nobody's."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable

from lab.errors import ImageError
from lab.guest.protocol import Transport
from lab.image.manifest import ImageManifest
from lab.live.print_wiring import LabSay, PrintingMachine
from lab.live.relay import tap_prints
from lab.prints.agent import PrintAgent
from lab.prints.kd.control import CollectorControl
from lab.prints.kd.process import CONTROL_SOCKET, RECORDS_FILE
from lab.prints.kd.source import KdPrintSource
from lab.prints.record import PrintSource, Record
from lab.prints.unobserved import Unobserved
from lab.prints.wine import WinePrintSource
from lab.vm.argv import serial_name

_LOOPBACK = "127.0.0.1"
_MARK_S = 60.0


class FromNow:
    """A print source that has begun with a marker; positions count from there.

    Args:
        source: The guest's, not started yet.
        token: Of the marker.
    """

    def __init__(self, source: PrintSource, token: str) -> None:
        self._source = source
        self._token = token
        self._begin = 0

    @property
    def name(self) -> str:
        """That of the source."""
        return self._source.name

    def start(self) -> None:
        """Start the source, and wait for the marker.

        Raises:
            EvidenceLost: It did not come back.
        """
        self._source.start()
        self._begin = self._source.mark(self._token, timeout=_MARK_S)

    def records_since(self, position: int) -> list[Record]:
        """Those behind the marker."""
        return self._source.records_since(self._begin + position)

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        """Wait for the source."""
        return self._source.wait(self._begin + position, until, timeout=timeout)

    def mark(self, token: str, *, timeout: float) -> int:
        """Mark the source."""
        return self._source.mark(token, timeout=timeout) - self._begin

    def close(self) -> None:
        """Close the source."""
        self._source.close()


def join_prints(
    manifest: ImageManifest,
    machine: PrintingMachine,
    encoding: str,
    open_transport: Callable[[], Transport],
    *,
    guest_id: str,
) -> PrintSource:
    """The source of a running guest's prints, started.

    Args:
        manifest: Its image, as it was booted.
        machine: Its machine, attached.
        encoding: Encoding of the drivers' strings.
        open_transport: Opens a connection to the guest.
        guest_id: Its name in this run.

    Raises:
        EvidenceLost: Its prints do not arrive.
        ImageError: The image prints by a source that cannot be joined.
    """
    if manifest.prints.source == "none":
        return Unobserved()
    # A run before may have marked, too.
    source = FromNow(_source(manifest, machine, encoding, open_transport), f"{guest_id}-join-{secrets.token_hex(4)}")
    try:
        source.start()
    except BaseException:
        source.close()
        raise
    return source


def _source(
    manifest: ImageManifest, machine: PrintingMachine, encoding: str, open_transport: Callable[[], Transport]
) -> PrintSource:
    prints = manifest.prints
    if prints.source == "wine":
        if prints.mark_port is None:
            raise ImageError(f"image {manifest.name} names no port of its print agent", hint="build the image anew")
        # Not by its channel: what another holder did not wait for would be read here.
        address = (_LOOPBACK, machine.ports[prints.mark_port])
        agent = PrintAgent(lambda timeout: socket.create_connection(address, timeout), f"{address[0]}:{address[1]}")
        return WinePrintSource(machine.run_dir / f"{serial_name(prints.serial)}.log", agent, encoding=encoding, joins=True)
    if prints.source == "tap":
        return tap_prints(manifest, machine, encoding, open_transport)
    say = LabSay(open_transport, manifest.tools_dir)
    control = CollectorControl(machine.run_dir / CONTROL_SOCKET)
    records = machine.run_dir / RECORDS_FILE
    # The collector is of whoever booted the guest, and runs on.
    return KdPrintSource(
        records, say, alive=lambda: machine.alive, break_in=control.break_in, let_go=say.close, encoding=encoding
    )
