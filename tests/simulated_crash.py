"""Simulated guests with a monitor, whose kernels can stop; :mod:`tests.simulated` has the others.

What the driver does is chosen by the read's length: 60 stops the kernel with a bugcheck in the debugger's text, 61 with one in
an event of QEMU, 62 resets the guest, 63 and 65 make it answer nothing any more, 64 hangs the client alone. Everything else is
the same.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.crash.hang import Breaker
from lab.errors import GuestHung, TransportError
from lab.guest.protocol import CommandResult
from lab.live.guest import LiveGuest
from lab.prints.record import FaultRecord
from lab.vm.spec import Clock, VmSpec
from tests.machines import MonitorDouble
from tests.simulated import SimulatedSource, manifest
from tests.simulated_guest import SimulatedMachine, SimulatedPrints, SimulatedTransport

BUGCHECK = (0xD1, (0xFFFFD00012345678, 2, 1, 0xFFFFF80212345678))


def dump_header(code: int, parameters: tuple[int, int, int, int]) -> bytes:
    data = bytearray(b"PAGE" * (0x2000 // 4))
    data[:8] = b"PAGEDU64"
    struct.pack_into("<2I", data, 8, 15, 20348)
    struct.pack_into("<3I", data, 0x30, 0x8664, 1, code)
    struct.pack_into("<4Q", data, 0x40, *parameters)
    return bytes(data)


class Monitor(MonitorDouble):
    """QEMU's monitor: makes dumps, and records events."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[str] = []
        self.dump = dump_header(*BUGCHECK)
        self.after_nmi: Callable[[], None] = lambda: None

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = 10.0) -> Any:
        self.commands.append(command)
        if command == "dump-guest-memory" and arguments:
            Path(arguments["protocol"].removeprefix("file:")).write_bytes(self.dump)
            self.happen("DUMP_COMPLETED", {"result": {"status": "completed", "completed": len(self.dump)}})
        if command == "inject-nmi":
            self.after_nmi()
        return {}


class MonitoredMachine(SimulatedMachine):
    """A VM with a monitor and a display."""

    def __init__(self) -> None:
        super().__init__()
        self.monitor = Monitor()
        self.spec = VmSpec(name="simulated", display=True)
        self.silent = False

    @property
    def qmp(self) -> Monitor:
        return self.monitor

    def screendump(self, target: Path, *, timeout: float = 10.0) -> Path:
        target.write_bytes(b"\x89PNG\r\n\x1a\n")
        return target


class DebuggedPrints(SimulatedPrints):
    """A print source that is a kernel debugger."""

    stops = False

    def bugcheck(self, code: int, parameters: tuple[int, ...]) -> None:
        now = time.time()
        self.say(f"*** Fatal System Error: 0x{code:08x}\n ({','.join(f'0x{p:016X}' for p in parameters)})\n\n")
        self.say("Driver at fault: sim.sys.\n")
        text = f"*** Fatal System Error: {code:#010x}"
        number = len(self.log)
        self.log.extend(
            [FaultRecord(sequence=number, host_time=now, guest_time=None, code=code, parameters=parameters, text=text)]
        )

    @property
    def breaker(self) -> Breaker:
        return self

    def break_in(self, timeout: float) -> bool:
        return self.stops


@dataclass
class CrashingTransport(SimulatedTransport):
    """Answers nothing any more once the kernel has stopped."""

    def run(self, command: Any, *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        if getattr(self.machine, "silent", False):
            raise GuestHung(f"in the guest, `{command}` still runs after {timeout:g} s")
        return super().run(command, timeout=timeout, stdin=stdin, shell=shell)

    def _read(self, length: int) -> bytes:
        machine, prints = self.machine, self.prints
        assert isinstance(machine, MonitoredMachine)
        assert isinstance(prints, DebuggedPrints)
        code, parameters = BUGCHECK
        if length == 60:
            machine.silent = True
            prints.bugcheck(code, parameters)
        elif length == 61:
            machine.silent = True
            info = {"type": "hyper-v", "arg1": code} | {f"arg{n}": value for n, value in enumerate(parameters, 2)}
            machine.monitor.happen("GUEST_PANICKED", {"action": "run", "info": info})
        elif length == 62:
            machine.alive = False
            machine.monitor.happen("SHUTDOWN", {"guest": True, "reason": "guest-reset"})
            raise TransportError("the connection was reset")
        elif length in (63, 65):
            machine.silent = True
        if length == 65:
            raise TransportError("no answer within the deadline")
        if length in (60, 61, 63, 64):
            raise GuestHung("in the guest, `drvprobe` still runs after 60 s")
        return super()._read(length)


@dataclass
class CrashingSource(SimulatedSource):
    """Boots guests whose faults are final, unless ``final`` is taken away."""

    final: bool = True
    machines: list[MonitoredMachine] = field(default_factory=list)
    prepare: Callable[[LiveGuest], None] = lambda guest: None

    def __post_init__(self) -> None:
        more = ("bugcheck", "nt_kernel") if self.final else ()
        self.manifest = manifest(capabilities=("dbgprint", "driver_load", *more))

    def boot(self, guest_id: str, *, smp: int | None = None, clock: Clock = "real") -> LiveGuest:
        guest = super().boot(guest_id, smp=smp, clock=clock)
        machine = MonitoredMachine()
        prints = DebuggedPrints(machine)
        prints.say("a print of the boot")
        guest.machine, guest.prints = machine, prints
        guest.transport = CrashingTransport(machine, prints)
        guest.run_dir = self.folder / guest_id
        guest.run_dir.mkdir(parents=True)
        (guest.run_dir / "qemu.log").write_text("nothing special\n", encoding="utf-8")
        self.machines.append(machine)
        self.prepare(guest)
        return guest
