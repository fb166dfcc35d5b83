"""What the rest of the lab uses of a VM: :class:`Machine`, and its QEMU monitor, :class:`Monitor`.

:class:`lab.vm.machine.VirtualMachine` and :class:`lab.vm.qmp.Qmp` are the ones with a QEMU. Code outside of this package is
written against these Protocols and never asks for the class of a VM, so that tests run it without QEMU.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

from lab.errors import GuestExited
from lab.vm.moment import Moment
from lab.vm.qmp import QmpEvent
from lab.vm.spec import VmSpec


class Monitor(Protocol):
    """QEMU's monitor. Methods may be called from any thread."""

    @property
    def event_count(self) -> int:
        """Index of the newest event; 0 before the first."""

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = 10.0) -> Any:
        """Run a monitor command and return what it returns; ``timeout`` in seconds.

        Raises:
            CommandRefused: QEMU answered with an error.
            TransportError: No answer in time.
            GuestExited: QEMU ended.
        """

    def events(self, *, after: int = 0) -> list[QmpEvent]:
        """All events so far whose index is greater than ``after``."""

    def wait_event(
        self,
        names: str | Collection[str],
        *,
        timeout: float,
        after: int = 0,
        where: Callable[[QmpEvent], bool] = lambda _event: True,
    ) -> QmpEvent:
        """The first event of one of these names after ``after`` for which ``where`` holds, also when it has come already.

        Raises:
            TransportError: None came within ``timeout`` seconds.
            GuestExited: The connection ended first.
        """


class Channels(Protocol):
    """The virtio-serial ports of a VM."""

    def open(self, name: str) -> socket.socket:
        """The stream of a port, which belongs to the caller.

        Raises:
            ConnectionError: There is no such port, or QEMU has ended.
        """


class Machine(Protocol):
    """A VM that was started."""

    @property
    def spec(self) -> VmSpec:
        """What it was started from."""

    @property
    def run_dir(self) -> Path:
        """Folder of its logs, sockets and overlays."""

    @property
    def ports(self) -> Mapping[int, int]:
        """Guest port -> port of 127.0.0.1."""

    @property
    def channels(self) -> Channels:
        """Its virtio-serial ports."""

    @property
    def moment(self) -> Moment:
        """How far its callers have come in the guest's time, with a virtual clock."""

    @property
    def qmp(self) -> Monitor:
        """QEMU's monitor.

        Raises:
            GuestExited: There is none: the VM was not started.
        """

    @property
    def pid(self) -> int:
        """QEMU's process id."""

    @property
    def alive(self) -> bool:
        """QEMU runs. It may be paused, and its guest may be dead."""

    def pause(self) -> None:
        """Stop the virtual CPUs."""

    def cont(self) -> None:
        """Let the virtual CPUs run (again)."""

    def running(self) -> AbstractContextManager[None]:
        """The guest runs inside of the ``with``.

        With a real clock it always runs, and this does nothing. With a virtual one (see ``virtual_clock`` of the spec) it runs
        only inside of such a ``with``, and is stopped otherwise. It may be nested, and entered from several threads.
        """

    def screendump(self, target: Path, *, timeout: float = 10.0) -> Path:
        """Write what its display shows to a picture file; returns the file, whose extension may differ.

        Raises:
            CommandRefused: It has no display.
        """

    def console_tail(self, lines: int = 20) -> str:
        """The last lines of the guest's console."""

    def exited_error(self) -> GuestExited:
        """Why QEMU is not there any more."""

    def wait_exit(self, timeout: float) -> int | None:
        """Wait until QEMU has ended; its exit code, minus a signal's number, or None when it is unknown.

        Raises:
            TransportError: It still runs after ``timeout`` seconds.
        """

    def detach(self) -> None:
        """Let the VM run on when this process ends. Idempotent."""

    def kill(self) -> None:
        """End QEMU at once and wait until it is gone."""

    def close(self) -> None:
        """Close the connections to it. QEMU ends, unless it was detached. Idempotent."""


class StartableMachine(Machine, Protocol):
    """A VM that its user starts and switches off, as the builders of images do."""

    def start(self, *, timeout: float = 60.0) -> None:
        """Start QEMU; returns when its monitor answers and the forwarded ports are known."""

    def powerdown(self, timeout: float) -> Literal["powerdown", "quit", "kill"]:
        """End the VM: by the power button, else by QEMU's quit, else by SIGKILL; returns the step that ended it."""
