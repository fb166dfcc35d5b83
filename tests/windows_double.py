"""A Windows guest without QEMU, as far as Driver Verifier and restarts concern: its commands, its boots, its VM's events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.errors import TransportError
from lab.guest.protocol import CommandResult
from lab.vm.protocol import Monitor
from lab.vm.spec import Actions, VmSpec
from tests.machines import MachineDouble, MonitorDouble
from tests.verifier_double import WindowsVerifier

VERIFIER = r"C:\windows\system32\verifier.exe"


class ActionMonitor(MonitorDouble):
    """A monitor whose ``set-action`` works."""

    def __init__(self) -> None:
        super().__init__()
        self.actions: list[str] = []

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = 10.0) -> Any:
        assert command == "set-action", command
        self.actions.append(str((arguments or {})["reboot"]))
        return {}


class WindowsMachine(MachineDouble):
    """The VM."""

    def __init__(self) -> None:
        super().__init__(spec=VmSpec(name="windows", actions=Actions(reboot="shutdown", shutdown="pause")))
        self.monitor = ActionMonitor()

    @property
    def qmp(self) -> Monitor:
        return self.monitor


@dataclass
class WindowsGuest:
    """The guest.

    Attributes:
        verifier: Its Driver Verifier.
        boot: Number of its present boot.
        old_answers: How many connections after the reset are still answered by the boot before it.
        no_boot_id: Its prefetcher is off.
        stays_up: It ignores the restart, as a guest does in which a program refuses to end.
        switches_off: It switches itself off instead.
        now: Host seconds; sleeping passes them.
    """

    verifier: WindowsVerifier = field(default_factory=WindowsVerifier)
    machine: WindowsMachine = field(default_factory=WindowsMachine)
    boot: int = 41
    old_answers: int = 0
    no_boot_id: bool = False
    stays_up: bool = False
    switches_off: bool = False
    now: float = 0.0
    connections: int = 0
    closed: int = 0
    commands: list[str] = field(default_factory=list)

    def connect(self) -> WindowsConnection:
        """A new connection."""
        self.connections += 1
        boot = self.boot
        if self.old_answers > 0 and self.boot > 41:
            self.old_answers -= 1
            boot -= 1
        return WindowsConnection(self, boot)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def clock(self) -> float:
        """Monotonic seconds."""
        self.now += 0.01
        return self.now

    def restart(self) -> None:
        """``shutdown /r``: the network goes down first."""
        if self.stays_up:
            return
        if self.switches_off:
            self.machine.monitor.happen("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"})
            return
        if self.machine.monitor.actions[-1:] != ["reset"]:
            self.machine.alive = False  # its VM ends at a reset
            return
        self.boot += 1
        self.verifier.boot()
        self.machine.monitor.happen("RESET", {"guest": True, "reason": "guest-reset"})


@dataclass
class WindowsConnection:
    """A transport to it."""

    guest: WindowsGuest
    boot: int
    name: str = "winrm"
    down: bool = False

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        words = command.split() if isinstance(command, str) else list(command)
        line = " ".join(words)
        self.guest.commands.append(line)
        if self.down:
            raise TransportError("the connection was reset")
        known: dict[str, Callable[[], tuple[int, str]]] = {
            "ver": lambda: (0, f"\r\nMicrosoft Windows [Version 10.0.{self.guest.verifier.build}.1]\r\n"),
            "echo": lambda: (0, " ".join(words[1:]) + "\r\n"),
            "reg": self._boot_id,
            "powershell": lambda: (0, f"{134091936000000000 + self.boot}\r\n"),
            "shutdown": self._shut_down,
            VERIFIER: lambda: self.guest.verifier.run(words[1:]),
        }
        code, text = known[words[0]]()
        return CommandResult(command=line, exit_code=code, stdout=text.encode(), stderr=b"", duration_s=0.01)

    def _boot_id(self) -> tuple[int, str]:
        if self.guest.no_boot_id:
            return 1, "ERROR: The system was unable to find the specified registry key or value.\r\n"
        return 0, f"\r\nHKEY_LOCAL_MACHINE\\…\\PrefetchParameters\r\n    BootId    REG_DWORD    0x{self.boot:x}\r\n\r\n"

    def _shut_down(self) -> tuple[int, str]:
        self.down = not self.guest.stays_up
        self.guest.restart()
        if self.down:
            raise TransportError("the connection was reset")
        return 0, ""

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        raise AssertionError

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        raise AssertionError

    def close(self) -> None:
        self.guest.closed += 1
