"""One VM from start to end.

Example::

    with VirtualMachine(spec, run_dir) as machine:
        machine.start()                    # returns when the monitor answers; the guest is only beginning to boot
        port = machine.ports[5985]         # a port of 127.0.0.1
        reset = machine.qmp.wait_event("RESET", timeout=60)
        machine.powerdown(timeout=20)

The run folder holds, from the start on: ``qemu.cmd`` (the exact command, runnable by hand), ``qemu.log`` (QEMU's own
messages), ``serial0.log`` and so on, ``qmp.sock``, the overlays, ``supervisor.json`` and ``machine.json``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from lab.errors import ConfigError, GuestExited, TransportError
from lab.host.passed import passed_over
from lab.host.unix_socket import connect_unix
from lab.vm import argv as command
from lab.vm.channel import Channels
from lab.vm.cleanup import find_marker
from lab.vm.disk import copy_overlay, create_overlay
from lab.vm.moment import Moment
from lab.vm.process import LOG_FILE, QemuProcess, WaitingSupervisor
from lab.vm.qmp import CommandRefused, Qmp
from lab.vm.running import RunGate
from lab.vm.spec import VmSpec
from lab.vm.started import read_started, save_started
from lab.vm.usernet import parse_forwards

_LOG = logging.getLogger(__name__)

COMMAND_FILE = "qemu.cmd"
#: The console output of a fork's guest from before the snapshot.
CONSOLE_BEFORE_FILE = "console.before.log"
#: Events that show what happened to a guest; see :meth:`VirtualMachine.history`.
_LIFE_EVENTS = frozenset({"RESET", "SHUTDOWN", "POWERDOWN", "STOP", "RESUME", "GUEST_PANICKED", "GUEST_CRASHLOADED"})

#: QEMU opens its monitor some 14 ms after its start; a fork is ready 100 ms later.
_POLL_S = 0.0005


class VirtualMachine:
    """A QEMU made from a spec.

    Attributes:
        ports: Guest port -> port of 127.0.0.1.
        channels: The virtio-serial ports.
        moment: How far its callers have come in the guest's time, with a virtual clock.

    Args:
        spec: What to start.
        run_dir: The VM's own folder; made if it is missing.
        qemu_img: The program that makes overlays.
        patience: Seconds that QEMU itself, not its guest, gets for each step of an end.
    """

    def __init__(self, spec: VmSpec, run_dir: Path, *, qemu_img: str = "qemu-img", patience: float = 5.0) -> None:
        self.spec = spec
        self.run_dir = run_dir.absolute()
        self.ports: Mapping[int, int] = {}
        self.channels = Channels(self.run_dir, spec.channels)
        self.moment = Moment()
        self._qemu_img = qemu_img
        self._patience = patience
        self._process: QemuProcess | None = None
        self._qmp: Qmp | None = None
        self._gate = RunGate(spec.name, self.cont, self.pause)

    def start(self, *, timeout: float = 60.0, detached: bool = False, waiting: WaitingSupervisor | None = None) -> None:
        """Start QEMU; returns when its monitor answers and the forwarded ports are known.

        Args:
            timeout: Seconds for that. The guest's boot is not part of it.
            detached: The VM runs on when this process ends; :meth:`attach` finds it again.
            waiting: A supervisor that was started in advance; it serves this start only.

        Raises:
            GuestExited: QEMU ended at once, for example over an argument; with its messages.
            HostToolError: QEMU or qemu-img could not be run.
            TransportError: The monitor did not answer in time.
        """
        if self._process:
            raise ConfigError(f"{self.spec.name}: a VM can be started only once; make a new object")
        deadline = time.monotonic() + timeout
        self._prepare()
        argv = command.build_argv(self.spec)
        script = self.run_dir / COMMAND_FILE
        script.write_text(f"#!/bin/sh\n{command.command_text(argv, self.run_dir)}\n", encoding="utf-8")
        script.chmod(0o755)
        self._process = QemuProcess.start(argv, self.run_dir, lock_file=find_marker(self.run_dir), waiting=waiting)
        try:
            self._connect(deadline)
            self.channels.hold()
            if self.spec.nic and self.spec.nic.forwards:
                self.ports = parse_forwards(self.qmp.hmp("info usernet"))
                missing = set(self.spec.nic.forwards) - set(self.ports)
                if missing:
                    raise TransportError(f"{self.spec.name}: QEMU forwards no port to guest port {sorted(missing)}")
            save_started(self.run_dir, self.spec, self.ports)
        except BaseException:
            self.close()
            raise
        if detached:
            self.detach()

    def detach(self) -> None:
        """Let the VM run on when this process ends; :meth:`attach` finds it again. Idempotent.

        Until then the VM ends with this process, so call this when the VM has been registered elsewhere.
        """
        self._running().detach()

    @classmethod
    def attach(cls, run_dir: Path, *, timeout: float = 30.0) -> Self:
        """Connect to the detached VM of a run folder.

        One process at a time can be attached: the monitor serves one connection.

        Raises:
            GuestExited: There is none, or it ended.
            TransportError: Its monitor does not answer, perhaps because another process is attached.
        """
        spec, ports = read_started(run_dir)
        machine = cls(spec, run_dir)
        machine.ports = ports
        machine._process = QemuProcess.attach(machine.run_dir)
        if not machine._process:
            raise GuestExited(f"the virtual machine of {run_dir} has ended", hint="`lab up` starts one")
        try:
            machine._connect(time.monotonic() + timeout)
        except BaseException:
            machine.close()
            raise
        return machine

    @property
    def qmp(self) -> Qmp:
        """The monitor; its events of name RESET, SHUTDOWN and GUEST_PANICKED show what the guest did."""
        if not self._qmp:
            raise GuestExited(f"{self.spec.name} is not running")
        return self._qmp

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._running().pid

    @property
    def alive(self) -> bool:
        """QEMU runs. It may be paused, and its guest may be dead."""
        return bool(self._process and self._process.alive)

    @property
    def guest_ended(self) -> bool:
        """The guest has switched itself off or reset itself, and its VM ends with it or is paused for its evidence."""
        return self._qmp is not None and any(event.name == "SHUTDOWN" for event in self._qmp.events())

    @property
    def status(self) -> str:
        """QEMU's run state: ``running``, ``paused``, ``inmigrate`` and so on."""
        return str(self.qmp.execute("query-status")["status"])

    def wait_exit(self, timeout: float) -> int | None:
        """Wait until QEMU has ended; its exit code, minus a signal's number, or None when it is unknown.

        Raises:
            TransportError: It still runs at the deadline.
        """
        process = self._running()
        if not process.wait(timeout):
            raise TransportError(f"{self.spec.name}: QEMU (pid {process.pid}) still runs after {timeout:g} s")
        return process.exit_code

    def pause(self) -> None:
        """Stop the virtual CPUs."""
        self.qmp.execute("stop")

    def cont(self) -> None:
        """Let the virtual CPUs run (again)."""
        self.qmp.execute("cont")

    def running(self) -> AbstractContextManager[None]:
        """See :class:`lab.vm.protocol.Machine`."""
        return contextlib.nullcontext() if self.spec.virtual_clock is None else self._gate.running()

    def reset(self) -> None:
        """Press the reset button."""
        self.qmp.execute("system_reset")

    def screendump(self, target: Path, *, timeout: float = 10.0) -> Path:
        """Write what the VGA card shows to a PNG; to a PPM beside it where QEMU is older than 7.1.

        Returns:
            The file.

        Raises:
            CommandRefused: The VM has no display.
        """
        arguments = {"filename": str(target.absolute())}
        try:
            self.qmp.execute("screendump", arguments | {"format": "png"}, timeout=timeout)
        except CommandRefused as error:
            if "format" not in error.description:
                raise
            target = target.with_suffix(".ppm")
            self.qmp.execute("screendump", {"filename": str(target.absolute())}, timeout=timeout)
        return target

    def powerdown(self, timeout: float) -> Literal["powerdown", "quit", "kill"]:
        """End the VM: by the power button, else by QEMU's quit, else by SIGKILL.

        Args:
            timeout: Seconds that the guest gets to react to the power button; 0 leaves that step out.

        Returns:
            The step that ended it; ``powerdown`` too when it had ended already.
        """
        process = self._running()
        if timeout > 0:
            with passed_over(_LOG, f"{self.spec.name}: pressing its power button", GuestExited, TransportError):
                self.qmp.execute("system_powerdown")
            if process.wait(timeout):
                return "powerdown"
        with passed_over(_LOG, f"{self.spec.name}: QEMU's quit", GuestExited, TransportError):
            self.qmp.execute("quit", timeout=self._patience)
        if process.wait(self._patience):
            return "quit"
        process.kill()
        process.wait(self._patience)
        return "kill"

    def kill(self) -> None:
        """End QEMU at once and wait until it is gone."""
        process = self._running()
        process.kill()
        process.wait(self._patience)

    def close(self) -> None:
        """Close the connections: an owned QEMU is killed, a detached one runs on. Idempotent."""
        self.channels.close()
        if self._qmp:
            self._qmp.close()
        if self._process:
            self._process.close()

    def console_tail(self, lines: int = 20) -> str:
        """The last lines of the guest's console, read from its serial log; of a fork, those before the snapshot come first."""
        said = _tail(self.run_dir / f"{command.serial_name(self.spec.console)}.log", lines)
        left = lines - len(said.splitlines())
        before = _tail(self.run_dir / CONSOLE_BEFORE_FILE, left) if left > 0 else ""
        return "\n".join(text for text in (before, said) if text)

    def history(self) -> list[str]:
        """The guest's resets, shutdowns, panics and stops so far, each with its reason, oldest first."""
        if not self._qmp:
            return []
        return [f"{event.name} {dict(event.data)}" for event in self._qmp.events() if event.name in _LIFE_EVENTS]

    def exited_error(self) -> GuestExited:
        """Why QEMU is not there (any more), for people: exit code, its messages, the guest's last console lines."""
        process = self._process
        if process and not process.wait(self._patience):
            return GuestExited(
                f"{self.spec.name}: the connection to QEMU's monitor ended, but QEMU (pid {process.pid}) still runs",
                hint=f"read {self.run_dir / LOG_FILE}",
            )
        code = process.exit_code if process else None
        ended = "was killed by another process" if code is None else f"ended with exit code {code}"
        if code is not None and code < 0:
            ended = f"was killed by signal {-code}"
        text = f"{self.spec.name}: QEMU {ended}"
        if history := self.history():
            text += f"\n  events: {'; '.join(history[-5:])}"
        for title, tail in (("QEMU said", _tail(self.run_dir / LOG_FILE, 15)), ("last console lines", self.console_tail())):
            if tail:
                text += f"\n  {title}:\n" + "\n".join("    " + line for line in tail.splitlines())
        return GuestExited(text, hint=f"`sh {self.run_dir / COMMAND_FILE}` starts the same command")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _running(self) -> QemuProcess:
        if not self._process:
            raise GuestExited(f"{self.spec.name} was not started")
        return self._process

    def _prepare(self) -> None:
        """Make the files that the command line names."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        for index, disk in enumerate(self.spec.disks):
            target = self.run_dir / command.overlay_name(index)
            if disk.copy_of:
                shutil.copyfile(disk.copy_of, target)
            elif disk.blank:
                copy_overlay(disk.blank, disk.path, target)
            elif disk.overlay:
                create_overlay(disk.path, target, base_format=disk.format, qemu_img=self._qemu_img)
        if self.spec.firmware:
            shutil.copyfile(self.spec.firmware.vars, self.run_dir / command.VARS_FILE)
        (self.run_dir / command.QMP_SOCKET).unlink(missing_ok=True)

    def _connect(self, deadline: float) -> None:
        """Connect to the monitor as soon as QEMU listens."""
        process = self._running()
        path = self.run_dir / command.QMP_SOCKET
        while True:
            try:
                connection = connect_unix(path)
                break
            except OSError as error:
                if not process.alive:
                    raise self.exited_error() from None
                if time.monotonic() >= deadline:
                    raise TransportError(f"{self.spec.name}: QEMU did not open its monitor {path}: {error}") from None
            time.sleep(_POLL_S)
        left = max(1.0, deadline - time.monotonic())
        # A virtual clock's VM stops and runs with each command: those events tell nothing, and would push out those that do.
        unheard = () if self.spec.virtual_clock is None else ("STOP", "RESUME")
        self._qmp = Qmp(connection, name=self.spec.name, timeout=left, explain_lost=self.exited_error, unheard=unheard)


def _tail(file: Path, lines: int) -> str:
    """The last lines of a file, however long it is; empty when there is none."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - 16384))
            data = stream.read()
    except OSError:
        return ""
    text = data.decode("utf-8", "backslashreplace").replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(deque((line.rstrip() for line in text.splitlines() if line.strip()), lines))
