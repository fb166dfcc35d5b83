"""A guest without QEMU: a transport that knows a handful of commands, and a print source that is a list.

The read length chooses what the simulated driver does: 55 calls a function that the guest's kernel lacks, 56 one that another
driver of the run does not export, 66 faults, 77 hangs the client, 88 loses a print, 99 ends the virtual machine. Everything
else reads and prints as the sync driver does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.crash.hang import Breaker
from lab.errors import EvidenceLost, GuestHung, TransportError
from lab.guest.files import sum_of
from lab.guest.protocol import CommandResult
from lab.prints.log import RecordLog
from lab.prints.record import FaultRecord, GapRecord, MarkRecord, PrintRecord, Record
from lab.prints.timer import GuestTimer
from tests.machines import MachineDouble


class SimulatedPrints:
    """A print source whose records are appended by the simulated driver."""

    name = "wine"

    def __init__(self, machine: SimulatedMachine) -> None:
        self.machine = machine
        self.log = RecordLog()
        self.marks = 0
        self._started = time.monotonic()

    @property
    def resumable(self) -> None:
        return None

    @property
    def timer(self) -> GuestTimer:
        return self

    def sleep(self, seconds: float, *, timeout: float) -> None:
        """Its driver does nothing by itself, so no time has to pass."""

    def uptime(self) -> float:
        return time.monotonic() - self._started

    @property
    def breaker(self) -> Breaker | None:
        return None

    def start(self) -> None:
        """Nothing to do."""

    def say(self, text: str) -> None:
        now, uptime = time.time(), self.uptime()
        raw = text.encode()
        self.log.extend(
            [PrintRecord(sequence=len(self.log), host_time=now, guest_time=uptime, source="wine", raw=raw, text=text)]
        )

    def fault(self) -> None:
        text = "err:seh:NtRaiseException Unhandled exception code c0000005 flags 0 addr 0x1234"
        record = FaultRecord(
            sequence=len(self.log), host_time=time.time(), guest_time=1.0, code=0xC0000005, parameters=(0x1234,), text=text
        )
        self.log.extend([record])

    def stub(self, lacks: str = "function:ntoskrnl.exe!MmGetVirtualForPhysical") -> None:
        text = "err:seh:NtRaiseException Unhandled exception code 80000100 flags 1 addr 0x5678"
        record = FaultRecord(
            sequence=len(self.log),
            host_time=time.time(),
            guest_time=1.0,
            code=0x80000100,
            parameters=(0x5678,),
            text=text,
            lacks=lacks,
        )
        self.log.extend([record])

    def lose(self) -> None:
        self.log.extend([GapRecord(sequence=len(self.log), host_time=time.time(), missing=1, reason="1 line did not arrive")])

    def records_since(self, position: int) -> list[Record]:
        return self.log.since(position)

    def wait(self, position, until, *, timeout):  # type: ignore[no-untyped-def]
        return self.log.wait(position, until, timeout=timeout)

    def mark(self, token: str, *, timeout: float) -> int:
        if not self.machine.alive:
            raise EvidenceLost(f"marker {token} was not taken: the simulated machine is gone")
        self.marks += 1
        self.log.extend([MarkRecord(sequence=len(self.log), host_time=time.time(), guest_time=self.uptime(), token=token)])
        return len(self.log)

    def close(self) -> None:
        """Nothing to do."""


class SimulatedMachine(MachineDouble):
    """A virtual machine without QEMU that is alive until it is ended."""


@dataclass
class SimulatedDriver:
    """A service and the counter of its driver."""

    state: str = "STOPPED"
    reads: int = 0


@dataclass
class SimulatedTransport:
    """Understands sc, echo, drvprobe and the simulated client."""

    machine: SimulatedMachine
    prints: SimulatedPrints
    name: str = "winrm"
    services: dict[str, SimulatedDriver] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    refuse_create: bool = False
    refuse_start: bool = False
    refuse_stop: bool = False
    abandoned: bool = False

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        if not self.machine.alive:
            raise TransportError("the simulated guest does not answer")
        line = command if isinstance(command, str) else " ".join(command)
        self.commands.append(line)
        program = line.split()[0].rsplit("\\", 1)[-1]
        if program == "sc.exe":
            code, text = self._sc(*line.split()[1:3])
            return self._result(line, text, code)
        if program == "echo":
            return self._result(line, line.removeprefix("echo ") + "\r\n")
        if program == "labfile.exe" and self.contents:
            return self._sums(line)
        if program == "drvprobe.exe":
            return self._result(line, self._probe(line.split(" ", 1)[1]))
        if program == "sim_reader.exe":
            return self._result(line, f"read {self._read(20)[:13].decode()}\r\n")
        return self._result(line, "", exit_code=9009)

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        self.files += sorted(path.name for path in source.iterdir())
        self.contents |= {f"{target}\\{path.name}".lower(): path.read_bytes() for path in source.iterdir()}

    def _sums(self, line: str) -> CommandResult:
        """``labfile sum PATH…``; a guest into which nothing was copied has no labfile."""
        lines = []
        for path in line.split()[2:]:
            data = self.contents.get(path.lower())
            if data is None:
                return CommandResult(command=line, exit_code=2, stdout=b"", stderr=b"labfile: no such file", duration_s=0.001)
            lines.append(f"{sum_of(data).sha256}  {len(data)}  {path}\r\n")
        return self._result(line, "".join(lines))

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        raise TransportError("the simulated guest gives no files")

    def close(self) -> None:
        """Nothing to do."""

    def abandon(self) -> None:
        """Record that the connection was abandoned."""
        self.abandoned = True

    def _result(self, line: str, text: str, exit_code: int = 0) -> CommandResult:
        return CommandResult(command=line, exit_code=exit_code, stdout=text.encode(), stderr=b"", duration_s=0.001)

    def _sc(self, verb: str, service: str) -> tuple[int, str]:
        if verb == "create":
            if self.refuse_create:
                return 5, "[SC] OpenSCManager FAILED 5:"
            self.services[service] = SimulatedDriver()
            return 0, ""
        driver = self.services.get(service)
        if driver is None:
            return 1060, "[SC] OpenService FAILED 1060:"
        if verb == "delete":
            del self.services[service]
            return 0, ""
        if verb == "query":
            number = {"STOPPED": 1, "RUNNING": 4}[driver.state]
            return 0, f"SERVICE_NAME: {service}\n STATE : {number} {driver.state}\n WIN32_EXIT_CODE : 0 (0x0)"
        if verb == "start":
            if self.refuse_start:
                return 577, "[SC] StartService FAILED 577:"
            if driver.state == "RUNNING":
                return 1056, "[SC] StartService FAILED 1056:"
            self.services[service] = SimulatedDriver(state="RUNNING")
            self.prints.say(f"{service} loaded")
            return 0, ""
        if verb == "delete":
            del self.services[service]
            return 0, ""
        if self.refuse_stop:
            return 1052, "[SC] ControlService FAILED 1052:"
        if driver.state == "STOPPED":
            return 1062, "[SC] ControlService FAILED 1062:"
        driver.state = "STOPPED"
        return 0, ""

    def _probe(self, script: str) -> str:
        lines: list[str] = []
        for operation in script.split("; "):
            words = operation.split()
            times = next((int(word.removeprefix("times=")) for word in words if word.startswith("times=")), 1)
            for _ in range(times):
                line: dict[str, object] = {
                    "seq": len(lines) + 1,
                    "op": words[0],
                    "thread": "main",
                    "handle": words[1] if len(words) > 1 else None,
                    "error": 0,
                }
                line |= {"start_us": len(lines), "end_us": len(lines) + 1}
                if words[0] == "open" and self.services.get("SimSync", SimulatedDriver()).state != "RUNNING":
                    line["error"] = 2
                if words[0] == "read":
                    length = int(words[2])
                    data = self._read(length)
                    text = data.split(b"\0")[0].decode()
                    line |= {"kind": "read", "asked": length, "returned": len(data), "data": data.hex(), "text": text}
                lines.append(json.dumps(line))
        return "\n".join(lines) + "\n"

    def _read(self, length: int) -> bytes:
        driver = self.services["SimSync"]
        self.prints.say(f"read {length} \n")
        if length in (55, 56):
            self.prints.stub(*(["function:sim.sys!NoSuchThing"] if length == 56 else []))
            driver.state = "STOPPED"
            return b""
        if length == 66:
            self.prints.fault()
            driver.state = "STOPPED"
            return b""
        if length == 77:
            raise GuestHung("in the guest, `drvprobe` still runs after 60 s")
        if length == 88:
            self.prints.lose()
        if length == 99:
            self.machine.kill()
            raise TransportError("the connection was reset")
        driver.reads += 1
        return f"slot {'ABCDE'[(driver.reads - 1) % 5]}".encode().ljust(20, b"\0")[:length]
