"""The print channel of a debugged Windows guest: the kernel debugger's protocol on a serial port.

A guest whose kernel is debugged waits until its debugger answers. So its VM starts paused, the collector connects, and then the
first instruction runs. A fork's kernel goes on in the middle of its session, and its collector with the ids of the snapshot.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Final

from lab.errors import HostToolError, TransportError
from lab.image.manifest import PrintPort
from lab.prints.channel import GuestLink, PrintChannel, PrintPorts, PrintReader
from lab.prints.kd.control import CollectorControl
from lab.prints.kd.process import (
    CONTROL_SOCKET,
    ERRORS_FILE,
    IDS_FILE,
    RAW_FILE,
    RECORDS_FILE,
    CollectorProcess,
    WaitingCollector,
    start_collector,
)
from lab.prints.kd.resumable import ids_of
from lab.prints.kd.say import LabSay
from lab.prints.kd.source import KdPrintSource
from lab.prints.resume import PrintsState
from lab.vm.argv import serial_name
from lab.vm.protocol import Machine
from lab.vm.spec import SerialPort

_CONNECT_S = 60.0
#: QEMU accepts the connection within a millisecond or two.
_POLL_S = 0.002


class KdChannel(PrintChannel):
    """See :class:`lab.prints.channel.PrintChannel`."""

    name = "kd"
    words = "the kernel debugger's port"
    starts_paused = True
    resumes = True
    evidence = (RECORDS_FILE, RAW_FILE, ERRORS_FILE)

    def ports(self, prints: PrintPort) -> PrintPorts:
        """Return the ports: the debugger's goes both ways, the other one is recorded."""
        first, second = (SerialPort("socket") if index == prints.serial else SerialPort() for index in range(2))
        return PrintPorts(serials=(first, second))

    def open(self, link: GuestLink, *, resume: PrintsState | None = None) -> KdPrintSource:
        """Start the collector, let the VM of a boot run, and return the source."""
        machine, serial = link.machine, link.prints.serial
        say = LabSay(link.open_transport, link.manifest.tools_dir)
        ids = None
        if resume is not None:
            ids = machine.run_dir / IDS_FILE
            ids.write_text(ids_of(resume).to_json() + "\n", encoding="utf-8")
        port = machine.run_dir / f"{serial_name(serial)}.sock"
        waiting = link.helper if isinstance(link.helper, WaitingCollector) else None
        collector = start_collector(port, machine.run_dir, ids=ids, waiting=waiting)
        try:
            wait_connected(machine, serial, collector, timeout=_CONNECT_S)
            if resume is None:
                machine.cont()
        except BaseException:
            collector.close(timeout=0)
            raise

        left = threading.Event()

        def let_go() -> None:
            say.close()
            if machine.alive:
                left.set()  # the collector goes on, even if its output cannot be read from here on
                collector.leave()
            else:
                collector.close()

        return KdPrintSource(
            collector.records,
            say,
            alive=lambda: left.is_set() or collector.alive,
            break_in=collector.control.break_in,
            let_go=let_go,
            status=collector.control.status,
            hang_up=say.close,
            replay=resume.replay if resume else b"",
            encoding=link.encoding,
        )

    def start_helper(self) -> WaitingCollector:
        """Start a collector without a guest."""
        return WaitingCollector()

    def join(self, link: GuestLink) -> KdPrintSource:
        """Return a source that reads the records of the collector, which has served the port since the boot."""
        machine = link.machine
        say = LabSay(link.open_transport, link.manifest.tools_dir)
        return KdPrintSource(
            machine.run_dir / RECORDS_FILE,
            say,
            alive=lambda: machine.alive,
            break_in=CollectorControl(machine.run_dir / CONTROL_SOCKET).break_in,
            let_go=say.close,
            encoding=link.encoding,
        )

    def file(self, prints: PrintPort, run_dir: Path) -> Path:
        """Return the collector's records."""
        return run_dir / RECORDS_FILE

    def read(self, path: Path, encoding: str) -> PrintReader:
        """Return a reader of them."""
        return KdPrintSource(path, _no_marker, alive=lambda: True, break_in=lambda _timeout: False, encoding=encoding)


CHANNEL: Final = KdChannel()


def _no_marker(_token: str, _timeout: float) -> None:
    raise TransportError("a reader of prints sends no markers")


def wait_connected(machine: Machine, serial: int, collector: CollectorProcess, *, timeout: float) -> None:
    """Wait until the collector is connected to a serial port, as QEMU reports it.

    Raises:
        HostToolError: It ended, or is not connected in time.
    """
    deadline = time.monotonic() + timeout
    while not _connected(machine, serial):
        if not collector.alive or time.monotonic() >= deadline:
            state = f"still runs after {timeout:.0f} s" if collector.alive else "has ended"
            raise HostToolError(
                collector.command,
                None,
                collector.last_words(),
                message=f"the collector of the debugger port is not connected, and {state}",
                hint=f"its messages are in {Path(collector.folder)}",
            )
        time.sleep(_POLL_S)


def _connected(machine: Machine, serial: int) -> bool:
    name = serial_name(serial)
    devices = {device["label"]: str(device["filename"]) for device in machine.qmp.execute("query-chardev")}
    # "unix:PATH,server=on" is followed by "<-> …" as soon as a client is connected; before, "disconnected:" stands before it.
    return not devices[name].startswith("disconnected:")
