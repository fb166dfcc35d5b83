"""A double of a finished Windows guest for the acceptance boot: answers in the form of Windows' own programs.

The forms of the answers are those of reg.exe, bcdedit.exe, winrm.cmd and certutil.exe as Microsoft documents them; none of
them was recorded from a real guest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab.errors import TransportError
from lab.guest.protocol import CommandResult

ENTRY = "{3f9a3f4e-1111-2222-3333-444455556666}"
STAGES = "network tools certificates codeintegrity relay debugprint kd crashdumps quiet winrm finish"
_MANAGER = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager"
_CONTROL = r"HKLM\SYSTEM\CurrentControlSet\Control"


class GuestDouble:
    """A transport that knows the answers.

    Args:
        on_shutdown: Called when the guest gets the command to power itself off.
    """

    name = "winrm"

    def __init__(self, on_shutdown: Callable[[], None] = lambda: None) -> None:
        self.on_shutdown = on_shutdown
        self.ready: Callable[[], bool] = lambda: True
        self.commands: list[str] = []
        self.default = ""
        self.closed = False
        self.options = "  NOEXECUTE=OPTIN  TESTSIGNING"
        self.stages = "".join(f"{stage} ok 1.5\r\n" for stage in STAGES.split()) + "done\r\n"
        self.image: Any = {"build_id": "b", "stages": {}, "kd_entry": ENTRY}
        self.asked: Any = {
            "windows": "ServerStandardEval 20348.587",
            "licence": "Windows(R), ServerStandardEval edition",
            "licence_status": 1,
            "grace_minutes": 259200,
            "free_bytes": 20 << 30,
            "vbs": 0,
            "driver_policy": "none",
        }
        self.leftovers: set[str] = set()
        self.registry: dict[tuple[str, str], tuple[str, str]] = {
            (_CONTROL, "SystemStartOptions"): ("REG_SZ", self.options),
            (rf"{_CONTROL}\SecureBoot\State", "UEFISecureBootEnabled"): ("REG_DWORD", "0x0"),
            (rf"{_MANAGER}\Debug Print Filter", "DEFAULT"): ("REG_DWORD", "0xffffffff"),
            (rf"{_CONTROL}\CrashControl", "AlwaysKeepMemoryDump"): ("REG_DWORD", "0x1"),
            (rf"{_CONTROL}\CrashControl", "CrashDumpEnabled"): ("REG_DWORD", "0x2"),
            (rf"{_CONTROL}\CrashControl", "DumpFile"): ("REG_EXPAND_SZ", r"%SystemRoot%\MEMORY.DMP"),
            (rf"{_MANAGER}\Memory Management", "PagingFiles"): ("REG_MULTI_SZ", r"C:\pagefile.sys 4608 4608"),
        }
        self.limits = {
            "MaxTimeoutms": 14400000,
            "MaxConcurrentOperationsPerUser": 4294967295,
            "MaxMemoryPerShellMB": 4096,
            "MaxShellsPerUser": 100,
            "MaxProcessesPerShell": 100,
            "MaxConcurrentUsers": 100,
        }
        self.trusted = True
        self.relayed = True

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        line = command if isinstance(command, str) else " ".join(command)
        if not self.ready():
            raise TransportError("connection refused")
        self.commands.append(line)
        code, text = self._answer(line)
        return CommandResult(command=line, exit_code=code, stdout=text.encode(), stderr=b"", duration_s=0.0)

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        raise TransportError("not needed here")

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        raise TransportError("not needed here")

    def close(self) -> None:
        self.closed = True

    def _answer(self, line: str) -> tuple[int, str]:
        if line.startswith("echo "):
            return 0, line.removeprefix("echo ") + "\r\n"
        if line.startswith("type "):
            return 0, self.stages if line.endswith("stage.txt") else self._json(self.image)
        if line.startswith("if exist "):
            return 0, ("there" if line.split()[2] in self.leftovers else "gone") + "\r\n"
        if line.startswith("powershell.exe "):
            return 0, self._json(self.asked)
        if line.startswith("winrm get"):
            return 0, "Config\r\n" + "".join(f"    {name} = {value}\r\n" for name, value in self.limits.items())
        if line.startswith("certutil.exe -store"):
            return (0, "CertUtil: -store command completed successfully.\r\n") if self.trusted else (-2146885628, "")
        if line.startswith("reg.exe query"):
            return self._query(line)
        if line.startswith("sc.exe query LabRelay"):
            return (
                (
                    0,
                    "\r\nSERVICE_NAME: LabRelay\r\n        TYPE               : 1  KERNEL_DRIVER\r\n"
                    "        STATE              : 4  RUNNING\r\n",
                )
                if self.relayed
                else (1060, "")
            )
        if line.startswith("bcdedit.exe"):
            return self._bcdedit(line)
        if line.startswith("shutdown.exe"):
            self.on_shutdown()
            return 0, ""
        return 9009, f"'{line}' is not recognized as an internal or external command,\r\n"

    def _query(self, line: str) -> tuple[int, str]:
        asked = re.fullmatch(r'reg\.exe query "([^"]+)"(?: /v "([^"]+)")?', line)
        assert asked
        found = {name: value for (key, name), value in self.registry.items() if key == asked[1] and asked[2] in (None, name)}
        if not found:
            return 1, ""
        rows = "".join(f"    {name}    {kind}    {value}\r\n" for name, (kind, value) in found.items())
        return 0, f"\r\n{asked[1].replace('HKLM', 'HKEY_LOCAL_MACHINE')}\r\n{rows}\r\n"

    def _bcdedit(self, line: str) -> tuple[int, str]:
        words = line.split()
        if words[1] == "/default":
            self.default = words[2]
            return 0, "The operation completed successfully.\r\n"
        debug = "debug                   Yes\r\n" if words[2] == "{default}" and self.default == ENTRY else ""
        return 0, (
            "\r\nWindows Boot Loader\r\n-------------------\r\n"
            "identifier              {current}\r\ndevice                  partition=C:\r\n"
            f"testsigning             Yes\r\n{debug}nx                      OptIn\r\n"
        )

    @staticmethod
    def _json(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value) + "\r\n"
