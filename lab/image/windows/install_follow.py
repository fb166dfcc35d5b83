"""Follows a VM that Windows Setup runs in: reads its console, presses the CD's key, and reports how it ended.

Observations become events, see :mod:`~lab.image.windows.install_events`; whether the installation is stuck is decided by
:mod:`~lab.image.windows.install_watch`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from lab.errors import GuestExited, TransportError
from lab.image.progress import Progress
from lab.image.windows.install_events import ConsoleReader, EventKind, EventLog, parse_stage
from lab.image.windows.install_host import HostDiskFull, InstallEnded, InstallError
from lab.image.windows.install_watch import Budgets, InstallWatch, KeyPresser
from lab.image.windows.machine import DISK_DRIVE, PROGRESS_PORT
from lab.vm.argv import serial_name
from lab.vm.protocol import StartableMachine
from lab.vm.qmp import QmpEvent

#: A key that only moves a cursor if something else than the prompt gets it.
_HARMLESS_KEY = {"keys": [{"type": "qcode", "data": "up"}]}
_CONSOLE_LINES = 15


class InstallFollower:
    """One installation, followed from start to end.

    Args:
        machine: The VM that Setup runs in; not started yet.
        folder: The log folder, absolute: the VM's run folder.
        log: Gets every event.
        budgets: How long what may take.
        progress: Gets a line for each step.
        clock: Seconds, monotonic.
        sleep: Waits between two looks.

    Attributes:
        watch: What was seen so far.
    """

    def __init__(
        self,
        machine: StartableMachine,
        folder: Path,
        log: EventLog,
        budgets: Budgets,
        progress: Progress,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.watch = InstallWatch(budgets)
        self._machine = machine
        self._folder = folder
        self._log = log
        self._budgets = budgets
        self._progress = progress
        self._clock = clock
        self._sleep = sleep
        self._began = clock()
        self._keys = KeyPresser(budgets)
        self._console = ConsoleReader(folder / f"{serial_name(PROGRESS_PORT)}.log")
        self._seen = 0
        self._shutdown: Mapping[str, Any] | None = None
        self._screens = 0
        self._screen: Path | None = None
        self._next_screen_s = budgets.screenshot_s

    def run(self) -> None:
        """Start the VM, and return when the installation has succeeded.

        Raises:
            InstallError: It failed; the class says why, and the message names stage, time, logs and last screen shot.
        """
        self._progress.stage("start the virtual machine")
        try:
            self._machine.start()
        except (GuestExited, TransportError) as error:
            self._fail(InstallEnded, f"QEMU did not start: {error.message}", error.hint)
        self._began = self._clock()
        self._event("start", "")
        while self._look():
            self._sleep(self._budgets.poll_s)
        self._judge()

    def _look(self) -> bool:
        """Look at the VM once; False when it has ended."""
        try:
            self._read_console()
            self._read_events()
            if self._shutdown is not None or not self._machine.alive:
                return False
            self._count_writes()
            if self._keys.due(self._now()):
                self._machine.qmp.execute("send-key", _HARMLESS_KEY)
                self._event("key", "up")
            if self._now() >= self._next_screen_s:
                self._next_screen_s = self._now() + self._budgets.screenshot_s
                self._take_screen()
        except GuestExited:
            return False
        except TransportError as error:
            # A busy QEMU may answer late; whether it is stuck is the watchdog's business.
            self._event("monitor", error.message)
        if problem := self.watch.problem(self._now()):
            self._fail(problem.error, problem.message, problem.hint)
        return True

    def _judge(self) -> None:
        """The VM has ended, or is about to: decide whether the installation succeeded."""
        try:
            code = self._machine.wait_exit(self._budgets.exit_s)
        except TransportError as error:
            self._fail(InstallEnded, error.message, "see qemu.log in the log folder")
        self._read_console()
        with contextlib.suppress(GuestExited, TransportError):
            if self._shutdown is None:
                # Its exit may be seen before the last of its events has been read; the monitor ends after them.
                self._machine.qmp.wait_event("SHUTDOWN", timeout=self._budgets.exit_s)
        with contextlib.suppress(GuestExited):
            self._read_events()
        self._event("exit", str(code))
        if self.watch.failed:
            problem = self.watch.stage_problem()
            self._fail(problem.error, problem.message, problem.hint)
        if self._shutdown is None or code != 0:
            self._fail(InstallEnded, f"QEMU ended unexpectedly: {self._machine.exited_error().message}", "see qemu.log")
        reason = str(self._shutdown.get("reason", ""))
        if not self._shutdown.get("guest"):
            self._fail(InstallEnded, f"the virtual machine was ended by another process ({reason})", "start the build again")
        if not self.watch.complete:
            self._fail(
                InstallEnded,
                f"the guest powered itself off ({reason}) before it reported that it was complete",
                "see the last stage, and the guest's own log on the second serial port (serial1.log)",
            )

    def _read_console(self) -> None:
        lines = self._console.read()
        now = self._now()
        if self._console.grown:
            self.watch.on_output(now)
        for text in (*lines, self._console.pending):
            self._keys.on_console(now, text)
        for text in lines:
            if not (line := parse_stage(text)):
                continue
            self.watch.on_stage(now, line)
            self._event("stage", str(line))
            if line.state == "start":
                self._progress.stage(f"Windows Setup: {line.stage}")
            else:
                self._progress.detail(str(line))

    def _read_events(self) -> None:
        for event in self._machine.qmp.events(after=self._seen):
            self._seen = event.index
            self._on_event(event)

    def _on_event(self, event: QmpEvent) -> None:
        data = event.data
        if event.name == "RESET":
            self._keys.restart(self._now())
            if self.watch.on_reset(self._now(), event.qemu_time):
                self._event("reset", str(data.get("reason", "")))
                self._progress.detail(f"restart {self.watch.resets}")
        elif event.name == "SHUTDOWN":
            self._shutdown = data
            self._event("shutdown", str(data.get("reason", "")))
        elif event.name == "BLOCK_IO_ERROR":
            self._on_disk_error(data)
        elif event.name == "STOP":
            self._on_stop()
        elif event.name in ("GUEST_PANICKED", "GUEST_CRASHLOADED"):
            self._event("monitor", f"{event.name} {dict(data)}")

    def _on_disk_error(self, data: Mapping[str, Any]) -> None:
        device, operation = data.get("device", ""), data.get("operation", "")
        reason = str(data.get("reason", "")) or "no reason given"
        self._event("disk-error", f"{operation} {device}: {reason}")
        if data.get("nospace"):
            self._fail_full(reason)
        if operation == "write":
            self._fail(
                HostDiskFull, f"the host cannot write the disk file: {reason}", "check the host's disk and the user's limits"
            )

    def _on_stop(self) -> None:
        if self._shutdown is not None:
            return
        status = str(self._machine.qmp.execute("query-status")["status"])
        self._event("stop", status)
        if status == "io-error":
            self._fail_full("QEMU paused the virtual machine because of a failed write")
        if status == "internal-error":
            self._fail(InstallEnded, "the virtual CPU stopped with an internal error", "see qemu.log in the log folder")

    def _fail_full(self, reason: str) -> NoReturn:
        self._fail(HostDiskFull, f"the host disk is full: {reason}", "free some space, or set another cache folder")

    def _count_writes(self) -> None:
        total = written_bytes(self._machine.qmp.execute("query-blockstats"))
        if self.watch.on_written(self._now(), total):
            self._keys.stop()
            self._event("write", f"{total} bytes")

    def _take_screen(self) -> None:
        self._screens += 1
        target = self._folder / f"screen-{self._screens:04d}.png"
        try:
            self._screen = self._machine.screendump(target)
        except TransportError as error:
            self._event("monitor", error.message)
            return
        self._event("screenshot", self._screen.name)

    def _now(self) -> float:
        return self._clock() - self._began

    def _event(self, kind: EventKind, detail: str) -> None:
        self._log.add(self._now(), kind, detail)

    def _fail(self, error: type[InstallError], message: str, hint: str) -> NoReturn:
        """Keep the evidence, and raise."""
        at_s = self._now()
        if self._machine.alive:
            with contextlib.suppress(GuestExited):
                self._take_screen()
        self._event("error", message)
        raise error(
            message,
            stage=self.watch.stage,
            at_s=at_s,
            log_dir=self._folder,
            screenshot=self._screen,
            console=self._machine.console_tail(_CONSOLE_LINES),
            hint=hint,
        )


def written_bytes(blockstats: Sequence[Mapping[str, Any]]) -> int:
    """Bytes that the guest wrote to its disk, from the answer to ``query-blockstats``; 0 when it is not listed."""
    for entry in blockstats:
        if entry.get("device") == DISK_DRIVE:
            return int(entry["stats"]["wr_bytes"])
    return 0
