"""A virtual machine without QEMU, and its monitor: tests override the parts that they need."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from lab.errors import GuestExited, TransportError
from lab.vm.channel import Channels as RealChannels
from lab.vm.moment import Moment
from lab.vm.protocol import Channels, Monitor
from lab.vm.qmp import CommandRefused, QmpEvent
from lab.vm.spec import VmSpec


class MonitorDouble:
    """A :class:`lab.vm.protocol.Monitor`: keeps the events that a test makes happen, and refuses every command.

    Attributes:
        pending: The events so far.
    """

    def __init__(self) -> None:
        self.pending: list[QmpEvent] = []

    @property
    def event_count(self) -> int:
        return len(self.pending)

    def happen(self, name: str, data: Mapping[str, Any] | None = None) -> None:
        """Add an event."""
        self.pending.append(QmpEvent(len(self.pending) + 1, name, data or {}, time.time(), 0.0))

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = 10.0) -> Any:
        raise CommandRefused(command, "CommandNotFound", f"the double does not know {arguments} within {timeout:g} s")

    def events(self, *, after: int = 0) -> list[QmpEvent]:
        return [event for event in self.pending if event.index > after]

    def wait_event(
        self,
        names: str | Collection[str],
        *,
        timeout: float,
        after: int = 0,
        where: Callable[[QmpEvent], bool] = lambda _event: True,
    ) -> QmpEvent:
        wanted = {names} if isinstance(names, str) else set(names)
        for event in self.events(after=after):
            if event.name in wanted and where(event):
                return event
        raise TransportError(f"no {' or '.join(sorted(wanted))} event within {timeout:g} s")


class MachineDouble:
    """A :class:`lab.vm.protocol.StartableMachine` that runs until it is ended; without a monitor, as one that was not started.

    Attributes:
        alive: It runs.
        killed: It was ended by :meth:`kill`.
        paused: Its virtual CPUs are stopped.
        detached: It outlives this process.

    Args:
        run_dir: Its folder.
        spec: What it was made from.
    """

    def __init__(self, run_dir: Path = Path("/nonexistent"), spec: VmSpec | None = None) -> None:
        self.run_dir = run_dir
        self.spec = spec or VmSpec(name="simulated")
        self.ports: Mapping[int, int] = {}
        self.channels: Channels = RealChannels(run_dir, ())
        self.moment = Moment()
        self.pid = os.getpid()
        self.alive = True
        self.killed = False
        self.paused = False
        self.detached = False

    @property
    def qmp(self) -> Monitor:
        raise GuestExited(f"{self.spec.name} is not running")

    def start(self, *, timeout: float = 60.0) -> None:
        del timeout
        self.alive = True

    def powerdown(self, timeout: float) -> Literal["powerdown", "quit", "kill"]:
        del timeout
        self.alive = False
        return "powerdown"

    def pause(self) -> None:
        self.paused = True

    def cont(self) -> None:
        self.paused = False

    def running(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def screendump(self, target: Path, *, timeout: float = 10.0) -> Path:
        raise CommandRefused("screendump", "GenericError", f"the double has no display for {target} within {timeout:g} s")

    def console_tail(self, lines: int = 20) -> str:
        return "\n".join(["simulated console"][-lines:])

    def exited_error(self) -> GuestExited:
        return GuestExited("the simulated QEMU was killed by signal 9")

    def wait_exit(self, timeout: float) -> int | None:
        if self.alive:
            raise TransportError(f"QEMU still runs after {timeout:g} s")
        return None

    def detach(self) -> None:
        self.detached = True

    def kill(self) -> None:
        self.alive = False
        self.killed = True

    def close(self) -> None:
        self.alive = False
