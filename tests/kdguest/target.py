"""A kernel that is nothing but its debugger port: packets over a Unix socket to its client, like QEMU's serial port.

It can be paused, as QEMU pauses a VM, and saved then: a host that was too early finds a packet on its way.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from lab.host.unix_socket import listen_unix
from lab.prints.kd import payload as wire
from lab.prints.kd.packet import ACKNOWLEDGE, INITIAL_ID, SYNC, Framer, Packet, control_packet
from tests.prints.kd.fake_target import X86_INT3_PC, Target, exception_payload, load_payload, print_payload

_HOST_S = 60.0


class KernelStopped(Exception):
    """The kernel is stopped at its bugcheck, or its VM has ended: its threads never run again."""


def bugcheck_text(code: int, *parameters: int) -> tuple[bytes, bytes]:
    """A kernel's own announcement of a bugcheck, as its two prints."""
    values = ",".join(f"0x{value:08X}" for value in parameters)
    return b"\n*** Fatal System Error: 0x%08x\n" % code, b"                       (%s)\n\n" % values.encode()


class KernelTarget:
    """The target's side of the port. Every packet stops all threads until the host has answered.

    Args:
        path: The socket to listen on.
        saved: A state of :meth:`save`, from which it goes on; it is paused then.
    """

    def __init__(self, path: Path, saved: str = "") -> None:
        self._listener = listen_unix(path)
        self._listener.settimeout(_HOST_S)
        #: Held by the thread that runs in the kernel, and while the VM is paused.
        self._cpu = threading.Lock()
        self._depth = 0
        self._memory = ""
        self._port: socket.socket | None = None
        self._ids = Target()
        self._framer = Framer()
        self._came: list[Packet] = []
        self._lock = threading.RLock()
        self._host_id = INITIAL_ID
        self.stopped = False
        self.paused = False
        if saved:
            self._ids.next, self._host_id, self._memory = json.loads(saved)
            self.pause()

    def pause(self) -> None:
        """Stop its threads, wherever they are."""
        if not self.paused:
            self._cpu.acquire()
            self.paused = True

    def cont(self) -> None:
        """Let its threads run."""
        if self.paused:
            self.paused = False
            self._cpu.release()

    def save(self) -> str:
        """The state of the paused kernel, between two packets."""
        assert self.paused
        # While it is paused, only a thread that waits for the host is in the middle of an exchange.
        assert self._depth == 0, "a packet or an answer is on its way"
        return json.dumps([self._ids.next, self._host_id, self._memory])

    def store(self, text: str) -> None:
        """Keep a text in the guest's memory."""
        self._memory = text

    def fetch(self) -> str:
        """The text of the last :meth:`store`."""
        return self._memory

    def accept(self) -> None:
        """Wait for the host."""
        self._port, _ = self._listener.accept()

    @property
    def connected(self) -> bool:
        return self._port is not None

    def close(self) -> None:
        """The end of the VM."""
        self.stopped = True
        self.cont()
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
        with self._running():
            for text in bugcheck_text(code, *parameters):
                self.print(text)
            self._exchange(7, exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86"))
            self.stopped = True
        raise KernelStopped

    def give_up(self) -> None:
        """What a kernel does after too long without an answer: it begins its ids anew, and its prints until then are lost."""
        self._ids.restart()
        self._host_id = INITIAL_ID

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """A thread has the port, and runs, except while it waits for the host."""
        with self._lock:
            if self._depth == 0:
                self._cpu.acquire()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._cpu.release()

    def _exchange(self, kind: int, payload: bytes) -> None:
        with self._running():
            self._send(self._ids.packet(kind, payload))
            while True:
                packet = self._receive()
                if packet.kind == ACKNOWLEDGE:
                    return

    def _stop(self, payload: bytes, context: bytearray | None = None) -> None:
        with self._running():
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
            self._wait(self._port)
            try:
                data = b"" if self.stopped else self._port.recv(4096, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self.stopped = True
                raise KernelStopped
            self._came += [item for item in self._framer.feed(data) if isinstance(item, Packet)]
        return self._came.pop(0)

    def _wait(self, port: socket.socket) -> None:
        """Wait for the host. A VM that is paused meanwhile takes nothing from its port."""
        self._cpu.release()
        try:
            with contextlib.suppress(OSError, ValueError):  # it was closed
                select.select([port], [], [], 0.2)
        finally:
            self._cpu.acquire()
