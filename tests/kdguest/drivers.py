"""The two drivers as a model: what ``driver/sync`` and ``driver/async`` are documented to do, on the host's clock.

Three device controls that no real driver has cause failures on purpose, see :class:`Driver`.
"""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import ClassVar

from tests.kdguest.kernel import Kernel
from tests.kdguest.target import KernelStopped

NO_USABLE_BUFFER = 31
NOT_SUPPORTED = 50
OPERATION_ABORTED = 995

IOCTL_BUGCHECK = 0x22DEAD
IOCTL_LOSE_PRINTS = 0x22105E
IOCTL_BREAKPOINT = 0x22CCCC


def now_us() -> int:
    """The guest's performance counter."""
    return time.perf_counter_ns() // 1000


@dataclass(slots=True, eq=False)
class Irp:
    """A read that is under way.

    Attributes:
        length: Bytes asked for.
        owner: The handle that it was issued on.
        done: Set when it has ended.
        error: Win32 error.
        data: What the driver wrote.
        returned: Bytes returned, whether written or not.
    """

    length: int
    owner: object
    address: int
    done: threading.Event = field(default_factory=threading.Event)
    error: int = 0
    data: bytes = b""
    returned: int = 0
    end_us: int = 0

    def end(self, error: int = 0, data: bytes = b"", returned: int | None = None) -> None:
        self.error, self.data = error, data
        self.returned = len(data) if returned is None else returned
        self.end_us = now_us()
        self.done.set()


class Driver:
    """The common part of both.

    Args:
        kernel: The kernel that it prints to.
    """

    image: ClassVar[str]
    _addresses = itertools.count(0x8A3F0008, 0x218)

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.lock = threading.Lock()

    def read(self, length: int, owner: object) -> Irp:
        """Take a read; it may end later."""
        raise NotImplementedError

    def control(self, code: int) -> int:
        """Take a device control; its Win32 error."""
        if code == IOCTL_BUGCHECK:
            self.kernel.bugcheck(0xD1, 0, 2, 0, 0xF7A40123)
        if code == IOCTL_LOSE_PRINTS:
            self.kernel.give_up()
        if code == IOCTL_BREAKPOINT:
            self.kernel.print(b"stepped by %d\n" % self.kernel.breakpoint())
        return NOT_SUPPORTED

    def cancel(self, irp: Irp) -> bool:
        """Cancel a read; False when there is nothing to cancel any more."""
        del irp
        return False

    def cleanup(self, owner: object) -> None:
        """A handle's last reference is closed."""

    def unload(self) -> None:
        """The driver is unloaded; nothing of it may run after this."""

    def irp(self, length: int, owner: object) -> Irp:
        return Irp(length, owner, next(self._addresses))


class SyncDriver(Driver):
    """Answers each read at once, from five slots."""

    image = "sync.sys"

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self._reads = 0

    def read(self, length: int, owner: object) -> Irp:
        irp = self.irp(length, owner)
        if length == 0:
            irp.end(NO_USABLE_BUFFER)
            return irp
        with self.lock:
            slot, self._reads = self._reads, min(self._reads + 1, 5)
        self.kernel.print(f"读字节长度: {length} \n".encode())
        capped = min(length, 20)
        data = f"hi, lyshark {'ABCDE'[slot]}".encode().ljust(20, b"\0")[:capped] if slot < 5 else b""
        irp.end(0, data, capped)
        return irp


class AsyncDriver(Driver):
    """Pends reads; a tick completes the oldest once a second."""

    image = "async.sys"

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self._pended: list[Irp] = []
        self._stopping = threading.Event()
        self._timer = threading.Thread(target=self._ticks, name="async timer", daemon=True)
        self._timer.start()

    def read(self, length: int, owner: object) -> Irp:
        irp = self.irp(length, owner)
        with self.lock:
            if self._stopping.is_set():
                irp.end(OPERATION_ABORTED)
            else:
                self._pended.append(irp)
        return irp

    def cancel(self, irp: Irp) -> bool:
        with self.lock:
            if irp not in self._pended:
                return False
            self._pended.remove(irp)
        irp.end(OPERATION_ABORTED)
        return True

    def cleanup(self, owner: object) -> None:
        for irp in [irp for irp in self._pended if irp.owner is owner]:
            self.cancel(irp)

    def unload(self) -> None:
        self._stopping.set()
        self._timer.join()
        for irp in list(self._pended):
            self.cancel(irp)

    def _ticks(self) -> None:
        due = time.monotonic() + 1.0
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due = time.monotonic() + 1.0
            with self.lock:
                irp = self._pended.pop(0) if self._pended else None
            if irp is None:
                continue
            try:
                self.kernel.print(f"当前DPC Irp: 0x{irp.address:x}\n".encode())
                self.kernel.print(f"读取DPC长度: {irp.length}\n".encode())
            except KernelStopped:
                return
            if irp.length:
                irp.end(0, b"hello lyshark"[: irp.length])
            else:
                irp.end(NO_USABLE_BUFFER)
