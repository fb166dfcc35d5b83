"""A kernel that is nothing but its debugger port: packets over a Unix socket to its client, like QEMU's serial port."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from pathlib import Path

from lab.prints.kd import payload as wire
from lab.prints.kd.packet import ACKNOWLEDGE, INITIAL_ID, SYNC, Framer, Packet, control_packet
from tests.prints.kd.fake_target import X86_INT3_PC, Target, exception_payload, load_payload, print_payload

_HOST_S = 60.0


class KernelStopped(Exception):
    """The kernel is stopped at its bugcheck, or its VM has ended: its threads never run again."""


class KernelTarget:
    """The target's side of the port. Every packet stops all threads until the host has answered.

    Args:
        path: The socket to listen on.
    """

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(_HOST_S)
        self._port: socket.socket | None = None
        self._ids = Target()
        self._framer = Framer()
        self._came: list[Packet] = []
        self._lock = threading.RLock()
        self._host_id = INITIAL_ID
        self.stopped = False

    def accept(self) -> None:
        """Wait for the host."""
        self._port, _ = self._listener.accept()
        self._port.settimeout(_HOST_S)

    @property
    def connected(self) -> bool:
        return self._port is not None

    def close(self) -> None:
        """The end of the VM."""
        self.stopped = True
        for port in (self._port, self._listener):
            if port is not None:
                with contextlib.suppress(OSError):
                    port.shutdown(socket.SHUT_RDWR)
                port.close()

    def print(self, raw: bytes, cpu: int = 0) -> None:
        """One DbgPrint call."""
        self._exchange(3, print_payload(raw, cpu))

    def load(self, path: str, base: int, size: int) -> None:
        """Report that an image was loaded."""
        self._stop(load_payload(path.encode("cp1252"), base, size))

    def unload(self, path: str, base: int, size: int) -> None:
        """Report that an image was unloaded."""
        self._stop(load_payload(path.encode("cp1252"), base, size, unload=True))

    def breakpoint(self) -> int:
        """Stop at an int3 until the host continues; returns how far it moved the instruction pointer."""
        context = bytearray(716)
        struct.pack_into("<I", context, 0xB8, X86_INT3_PC & 0xFFFFFFFF)
        self._stop(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86"), context)
        return int(struct.unpack_from("<I", context, 0xB8)[0]) - (X86_INT3_PC & 0xFFFFFFFF)

    def bugcheck(self, code: int, *parameters: int) -> None:
        """The text of a bugcheck, then its break, after which nothing runs any more."""
        values = ",".join(f"0x{value:08X}" for value in parameters)
        with self._lock:
            self.print(b"\n*** Fatal System Error: 0x%08x\n" % code)
            self.print(b"                       (%s)\n\n" % values.encode())
            self._exchange(7, exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86"))
            self.stopped = True
        raise KernelStopped

    def give_up(self) -> None:
        """What a kernel does after too long without an answer: it begins its ids anew, and its prints until then are lost."""
        self._ids.restart()
        self._host_id = INITIAL_ID

    def _exchange(self, kind: int, payload: bytes) -> None:
        with self._lock:
            self._send(self._ids.packet(kind, payload))
            while True:
                packet = self._receive()
                if packet.kind == ACKNOWLEDGE:
                    return

    def _stop(self, payload: bytes, context: bytearray | None = None) -> None:
        with self._lock:
            self._exchange(7, payload)
            while True:
                request = self._receive()
                if request.is_control:
                    continue
                self._send(control_packet(ACKNOWLEDGE, request.id & ~SYNC))
                if request.id != self._host_id:
                    continue
                self._host_id ^= 1
                api = struct.unpack_from("<I", request.payload)[0]
                if api == wire.CONTINUE:
                    return
                data = b""
                if api == wire.GET_CONTEXT and context is not None:
                    data = bytes(context)
                elif api == wire.SET_CONTEXT and context is not None:
                    context[:] = request.payload[56:]
                self._exchange(2, request.payload[:56] + data)

    def _send(self, data: bytes) -> None:
        if self.stopped or self._port is None:
            raise KernelStopped
        try:
            self._port.sendall(data)
        except OSError:
            raise KernelStopped from None

    def _receive(self) -> Packet:
        assert self._port is not None
        while not self._came:
            try:
                data = self._port.recv(4096)
            except OSError:
                data = b""
            if not data:
                self.stopped = True
                raise KernelStopped
            self._came += [item for item in self._framer.feed(data) if isinstance(item, Packet)]
        return self._came.pop(0)
