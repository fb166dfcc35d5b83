"""A stand-in for Windows under proof: answers in the documented form of Windows' own programs, in VMs without QEMU.

The forms of the answers are those that Microsoft documents; none of them was recorded from a real guest.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.guest.protocol import CommandResult, Transport
from lab.image.manifest import ImageManifest
from lab.proofs.guests import ImageGuests, UpGuest
from lab.proofs.statement import Outcome
from lab.report.model import GuestEntry, ImageEntry, RunReport, VerifierEntry, kind_entry
from lab.report.runfiles import RUN_FILE
from lab.vm.protocol import StartableMachine
from lab.vm.spec import VmSpec
from tests.image.windows.guest_double import GuestDouble
from tests.machines import MachineDouble, MonitorDouble

POWERSHELL = 'powershell.exe -NoProfile -NonInteractive -Command "'
#: Seconds from the first day of .NET's ticks to the epoch.
_EPOCH_S = 62_135_596_800
_SET_DATE = re.compile(r"DateTime\]::new\((\d+), .*'(lab-clock \w+) ok")
Reply = tuple[int, str]
_PANIC = {"action": "run", "info": {"type": "hyper-v", "arg1": 0x80, "arg2": 0x4F4454, "arg3": 0, "arg4": 0, "arg5": 0}}


class WindowsDouble(GuestDouble):
    """A Windows that answers the commands of all proofs.

    Attributes:
        replies: Beginning of a command line → exit code and output; the first that fits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.puts: list[str] = []
        self.seconds = 10.5
        self.boots = 5
        self.clock_off_s = 0.0
        self.replies: dict[str, Reply] = {
            # Before `ver`, with which it begins.
            "verifier": (0, "Verifier Flags: 0x00000004\r\n\r\n  MODULE: labtest.sys (load: 0 / unload: 0)\r\n"),
            "ver": (0, "\r\nMicrosoft Windows [Version 10.0.20348.587]\r\n"),
            "ipconfig": (0, "   IPv4 Address. . . . . . . . . . . : 10.0.2.15\r\n"),
            "findstr": (1, ""),
            "sc.exe query wuauserv": (0, "SERVICE_NAME: wuauserv\r\n        STATE              : 1  STOPPED\r\n"),
            "tasklist": (0, "System                           4 Services                   0        140 K\r\n"),
            f"{POWERSHELL}(Get-NetConnectionProfile)": (0, "Private\r\n"),
            f"{POWERSHELL}Get-CimInstance Win32_PageFileUsage |": (0, "C:\\pagefile.sys\r\n4608\r\n"),
            f"{POWERSHELL}(Get-CimInstance Win32_Processor)": (0, "False\r\nFalse\r\n"),
            "bcdedit.exe /dbgsettings": (0, "debugtype               Serial\r\ndebugport               2\r\n"),
            "bcdedit.exe /enum {current}": (
                0,
                "testsigning             Yes\r\nbootstatuspolicy        IgnoreAllFailures\r\nrecoveryenabled         No\r\n",
            ),
            r"reg query HKLM\SYSTEM\CurrentControlSet\Control /v": (
                0,
                "    SystemStartOptions    REG_SZ     TESTSIGNING DEBUG DEBUGPORT=COM2\r\n",
            ),
            r"dir /b /a C:\Windows\MEMORY.DMP": (0, "MEMORY.DMP\r\n"),
            "dir /b": (1, "File Not Found\r\n"),
            "sc.exe create": (0, "[SC] CreateService SUCCESS\r\n"),
            "sc.exe start": (577, "[SC] StartService FAILED 577:\r\n"),
            "sc.exe delete": (0, "[SC] DeleteService SUCCESS\r\n"),
            "pnputil.exe /enum-devices": (0, "No devices were found on the system.\r\n"),
            "ping": (0, "Pinging 127.0.0.1 with 32 bytes of data:\r\n"),
        }

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        line = command if isinstance(command, str) else " ".join(command)
        self.ready()
        if line.startswith("shutdown /r"):
            self.boots += 1
            self.on_shutdown()
            return CommandResult(command=line, exit_code=0, stdout=b"", stderr=b"", duration_s=0)
        if "BootId" in line:
            text = f"    BootId    REG_DWORD    {self.boots:#x}\r\n"
            return CommandResult(command=line, exit_code=0, stdout=text.encode(), stderr=b"", duration_s=0)
        if "-EncodedCommand" in line and (set_date := _SET_DATE.search(_decoded(line))):
            text = self._set_clock(int(set_date[1]), set_date[2])
            return CommandResult(command=line, exit_code=0, stdout=text.encode(), stderr=b"", duration_s=0)
        for beginning, (code, text) in self.replies.items():
            if line.startswith(beginning):
                self.commands.append(line)
                return CommandResult(command=line, exit_code=code, stdout=text.encode(), stderr=b"", duration_s=self.seconds)
        return super().run(command, timeout=timeout, stdin=stdin, shell=shell)

    def _set_clock(self, ticks: int, words: str) -> str:
        """What PowerShell answers to the line that sets the clock."""
        was = time.time() + self.clock_off_s
        self.clock_off_s = ticks / 1e7 - _EPOCH_S - time.time()
        before, now = (round((moment + _EPOCH_S) * 1e7) for moment in (was, time.time() + self.clock_off_s))
        return f"{words} ok {before} {now}\r\n"

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        assert source.is_file()
        self.puts.append(target)


def _decoded(line: str) -> str:
    return base64.b64decode(line.split()[-1]).decode("utf-16-le")


class CrashingMonitor(MonitorDouble):
    """A monitor whose guest answers an NMI like Windows under KVM: it reports its bugcheck, writes a dump and restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.after_nmi: tuple[tuple[str, Mapping[str, Any]], ...] = (("GUEST_PANICKED", _PANIC), ("RESET", {"guest": True}))

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = 10.0) -> Any:
        for name, data in self.after_nmi if command == "inject-nmi" else ():
            self.happen(name, data)
        return {}


class StandinMachine(MachineDouble):
    """A VM without QEMU."""

    def __init__(self, spec: VmSpec, folder: Path) -> None:
        super().__init__(folder, spec)
        self.monitor = CrashingMonitor()

    @property
    def qmp(self) -> CrashingMonitor:
        return self.monitor


class Debugged:
    """A guest with its kernel debugger on."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.alive = True

    def open(self, transport: str) -> Transport:
        return self.transport

    def close(self) -> None:
        self.alive = False


class StandinGuests(ImageGuests):
    """Guests of an image in such VMs.

    Attributes:
        machines: Every VM that was started.
        windows: What answers in all of them.
    """

    def __init__(self, image: Path, manifest: ImageManifest, windows: WindowsDouble) -> None:
        super().__init__(image, manifest, "kvm", open_machine=self._start, connect=self._reach, gap_s=0)
        self.windows = windows
        self.machines: list[StandinMachine] = []
        windows.on_shutdown = lambda: self.machines[-1].monitor.happen("RESET", {"guest": True})

    def debugged(self) -> UpGuest:
        return Debugged(self.windows)

    def _start(self, spec: VmSpec, folder: Path) -> StartableMachine:
        self.machines.append(StandinMachine(spec, folder))
        return self.machines[-1]

    def _reach(self, _transport: str, _machine: StartableMachine) -> Transport:
        return self.windows


class Commands:
    """Commands of the lab: each ends with 0, or as it is set.

    Attributes:
        lines: What was run.
        codes: A word of the command → its exit code.
        before: Called with each line before it is run.
        ways: Profile of Driver Verifier → the way by which a run reports it to be in force.
        template: Key of the template of a run's guest; empty: it is no fork.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.codes: dict[str, int] = {}
        self.before: Callable[[str], None] = lambda _line: None
        self.ways = {"standard": "now", "standard-restart": "reboot"}
        self.template = "t1"

    def __call__(self, words: Sequence[str], environment: Mapping[str, str]) -> CommandResult:
        line = " ".join([*words, *(f"[{name}={value}]" for name, value in environment.items() if name != "LAB_OUT")])
        self.before(line)
        self.lines.append(line)
        code = next((code for word, code in self.codes.items() if word in line), 0)
        if "--out" in words:
            self._report(Path(words[words.index("--out") + 1]), words[words.index("--verifier") + 1])
        # A guest's answers differ, as random numbers do.
        text = f"Microsoft Windows {len(self.lines)}" if "run-in-guest" in line else "Ready: guests run under kvm."
        return CommandResult(command=line, exit_code=code, stdout=text.encode(), stderr=b"", duration_s=1)

    def _report(self, out: Path, profile: str) -> None:
        """Write a run.json, if the run gets to its guests."""
        way = self.ways.get(profile)
        if way is None:
            return
        entry = VerifierEntry(profile=profile, way=way, checks=["io"], drivers=["labtest.sys"], flags="0x00000010")
        guest = GuestEntry(guest_id="gw0-1", worker="gw0", started=0.0, template=self.template, verifier=entry)
        image = ImageEntry(name="w", key="k", guest="g", kind=kind_entry("windows"), capabilities=[])
        report = RunReport(
            lab_version="0",
            started="",
            duration_s=1.0,
            exit_code=0,
            guest="g",
            image=image,
            accelerator="kvm",
            qemu="0",
            workers=1,
            drivers=[],
            totals={},
            prints=0,
            unattributed_prints=0,
            guests=[guest],
            tests=[],
        )
        (out / RUN_FILE).write_text(report.model_dump_json(), encoding="utf-8")


def yes(_question: str, _by_hand: str) -> Outcome:
    """A person who answers each question with yes."""
    return Outcome("proved", "answered with yes")
