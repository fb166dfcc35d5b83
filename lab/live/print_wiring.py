"""A guest's prints, from its manifest: which ports its machine gets for them, and what reads them.

A guest whose kernel is debugged stands still until its debugger answers, so its machine starts paused, the collector
connects, and only then does the first instruction run.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any, Literal, Protocol

from lab.errors import HostToolError, ImageError, TransportError
from lab.guest.protocol import Transport
from lab.image.manifest import ImageManifest, PrintPort
from lab.live.relay import tap_prints
from lab.prints.agent import PrintAgent
from lab.prints.kd.process import CollectorProcess, start_collector
from lab.prints.kd.source import KdPrintSource
from lab.prints.record import PrintSource
from lab.prints.resume import PrintsState
from lab.prints.unobserved import Unobserved
from lab.prints.wine import WinePrintSource
from lab.vm.argv import serial_name
from lab.vm.spec import SerialPort

Debug = Literal["none", "kd"]

_LOOPBACK = "127.0.0.1"
#: Prints one text by OutputDebugString, see vm-images/windows-common/labsay.
SAY_PROGRAM = "labsay.exe"
_CONNECT_S = 60.0
_POLL_S = 0.01


def booted_as(manifest: ImageManifest, debug: Debug) -> ImageManifest:
    """The manifest of a guest that is booted with or without its kernel debugger.

    Args:
        manifest: The image's.
        debug: ``kd``: with it; ``none``: as the image boots by itself.

    Raises:
        ImageError: It cannot be booted so.
    """
    if debug == "none" or manifest.prints.source == "kd":
        return manifest
    if manifest.debug is None:
        raise ImageError(
            f"image {manifest.name} has no boot with a kernel debugger", hint="debug: none, or an image of Windows"
        )
    changes = manifest.debug
    machine = manifest.machine.model_copy(update={"disk": changes.disk or manifest.machine.disk})
    capabilities = tuple(dict.fromkeys((*manifest.capabilities, *changes.capabilities)))
    return manifest.model_copy(
        update={
            "guest": f"{manifest.guest}, kernel debugger on",
            "prints": changes.prints,
            "machine": machine,
            "capabilities": capabilities,
        }
    )


def serial_ports(manifest: ImageManifest) -> tuple[SerialPort, SerialPort]:
    """The serial ports of a guest's machine: the one of a debugger goes both ways, everything else is only recorded."""
    first, second = (
        SerialPort("socket") if starts_paused(manifest) and index == manifest.prints.serial else SerialPort()
        for index in range(2)
    )
    return first, second


def debug_port(manifest: ImageManifest) -> SerialPort | None:
    """The debug console of a guest's machine; only the tap writes to it."""
    return SerialPort() if manifest.prints.source == "tap" else None


def starts_paused(manifest: ImageManifest) -> bool:
    """Whether somebody must be connected before the guest's first instruction."""
    return manifest.prints.source == "kd"


def can_resume(manifest: ImageManifest) -> bool:
    """Whether the prints of this image can be followed from a fork: its source is a ResumableSource."""
    return manifest.prints.source == "wine"


def why_not_forked(manifest: ImageManifest) -> str:
    """What to tell where :func:`can_resume` does not hold."""
    return f"prints by {manifest.prints.source} cannot be followed from a fork yet"


class Monitor(Protocol):
    """What is asked of QEMU's monitor; :class:`lab.vm.qmp.Qmp` has it."""

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """Run a command."""


class Channels(Protocol):
    """Virtio-serial ports; :class:`lab.vm.channel.Channels` has them."""

    def open(self, name: str) -> socket.socket:
        """The stream of a port."""


class PrintingMachine(Protocol):
    """What of :class:`lab.vm.machine.VirtualMachine` is needed here."""

    @property
    def run_dir(self) -> Path:
        """Folder of its logs and sockets."""

    @property
    def ports(self) -> Mapping[int, int]:
        """Guest port -> port of 127.0.0.1."""

    @property
    def channels(self) -> Channels:
        """Virtio-serial ports."""

    @property
    def alive(self) -> bool:
        """QEMU runs."""

    @property
    def qmp(self) -> Monitor:
        """QEMU's monitor."""

    def cont(self) -> None:
        """Let the virtual CPUs run."""


class Sayer(Protocol):
    """Has a program in the guest print a text as one call."""

    def __call__(self, text: str, timeout: float) -> None:
        """Return when it has.

        Raises:
            LabError: It has not.
        """

    def close(self) -> None:
        """Let go of what it took; safe to call twice."""


class LabSay:
    """Runs ``labsay.exe`` in the guest, over a connection of its own: the test's may be at work, or stuck.

    Args:
        open_transport: Opens a connection.
        tools_dir: Guest folder of the program.
    """

    def __init__(self, open_transport: Callable[[], Transport], tools_dir: str) -> None:
        self._open = open_transport
        self._program = str(PureWindowsPath(tools_dir) / SAY_PROGRAM)
        self._transport: Transport | None = None

    def __call__(self, text: str, timeout: float) -> None:
        """Print ``text``; labsay ends it with a newline."""
        kept = self._transport is not None
        try:
            self._run(text, timeout)
        except TransportError:
            self.close()
            if not kept:
                raise
            self._run(text, timeout)  # the connection that was kept may be of before a pause

    def close(self) -> None:
        """Close the connection."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def _run(self, text: str, timeout: float) -> None:
        if self._transport is None:
            self._transport = self._open()
        self._transport.run([self._program, text.rstrip("\n")], timeout=timeout, shell=False).check()


def open_prints(
    manifest: ImageManifest,
    machine: PrintingMachine,
    encoding: str,
    open_transport: Callable[[], Transport],
    *,
    resume: PrintsState | None = None,
) -> PrintSource:
    """The source of a guest's prints, not started yet. A machine that was started paused runs when this returns.

    Args:
        manifest: The image, as it is booted.
        machine: The guest's machine, started.
        encoding: Encoding of the drivers' strings.
        open_transport: Opens a connection to the guest, for a source whose markers a program in the guest says.
        resume: Where the stream of a snapshot's guest had stopped; None after a boot.

    Raises:
        ImageError: The image prints by a source that this boot does not know.
        HostToolError: The collector could not be started, or did not connect.
    """
    prints = manifest.prints
    if prints.source == "none":
        return Unobserved()
    if prints.source == "wine":
        path = machine.run_dir / f"{serial_name(prints.serial)}.log"
        return WinePrintSource(path, _print_agent(prints, machine), encoding=encoding, resume=resume)
    if resume is not None:
        raise ImageError(f"prints by {prints.source} cannot be followed from a fork", hint="--no-fork boots every guest")
    if prints.source == "tap":
        return tap_prints(manifest, machine, encoding, open_transport)
    if prints.source == "kd":
        return _debugger(manifest, machine, encoding, LabSay(open_transport, manifest.tools_dir))
    raise ImageError(f"image {manifest.name} prints by {prints.source}, which is no source of this boot")


def _print_agent(prints: PrintPort, machine: PrintingMachine) -> PrintAgent:
    """The way to a free guest's print agent: its channel, where the image has one, and its port once that has failed.

    On a channel, what one holder did not wait for would be read by the next; each TCP connection begins anew.
    """
    channels = [name for name in (prints.mark_channel,) if name]
    if not channels and prints.mark_port is None:
        raise ImageError("the image's manifest names neither a channel nor a port of its print agent")
    address = None if prints.mark_port is None else (_LOOPBACK, machine.ports[prints.mark_port])

    def reach(timeout: float) -> socket.socket:
        if channels:
            return machine.channels.open(channels.pop())
        if address is None:
            raise ConnectionError("its channel has failed, and the image offers no port")
        return socket.create_connection(address, timeout)

    ways = [*(f"the channel {name}" for name in channels), *([f"{address[0]}:{address[1]}"] if address else [])]
    return PrintAgent(reach, " or ".join(ways))


def _debugger(manifest: ImageManifest, machine: PrintingMachine, encoding: str, say: Sayer) -> PrintSource:
    serial = manifest.prints.serial
    collector = start_collector(machine.run_dir / f"{serial_name(serial)}.sock", machine.run_dir)
    try:
        wait_connected(machine, serial, collector, timeout=_CONNECT_S)
        machine.cont()
    except BaseException:
        collector.close(timeout=0)
        raise

    left = threading.Event()

    def let_go() -> None:
        say.close()
        if machine.alive:
            left.set()  # it runs on, whatever we can see of it from here on
            collector.leave()
        else:
            collector.close()

    return KdPrintSource(
        collector.records,
        say,
        alive=lambda: left.is_set() or collector.alive,
        break_in=collector.control.break_in,
        let_go=let_go,
        encoding=encoding,
    )


def wait_connected(machine: PrintingMachine, serial: int, collector: CollectorProcess, *, timeout: float) -> None:
    """Wait until the collector is connected to a serial port; QEMU tells.

    Raises:
        HostToolError: It ended, or is not connected in time.
    """
    deadline = time.monotonic() + timeout
    while not _connected(machine, serial):
        if not collector.alive or time.monotonic() >= deadline:
            state = f"still runs after {timeout:.0f} s" if collector.alive else "has ended"
            raise HostToolError(
                ["lab", "kd", "attach"],
                None,
                collector.last_words(),
                message=f"the collector of the debugger port is not connected, and {state}",
                hint=f"its messages are in {Path(collector.folder)}",
            )
        time.sleep(_POLL_S)


def _connected(machine: PrintingMachine, serial: int) -> bool:
    name = serial_name(serial)
    devices = {device["label"]: str(device["filename"]) for device in machine.qmp.execute("query-chardev")}
    # "unix:PATH,server=on" is followed by "<-> …" as soon as somebody is connected; before, "disconnected:" stands before it.
    return not devices[name].startswith("disconnected:")
