"""The questions of the acceptance boot to a finished guest, and the checks that follow from the answers.

Only programs that every Windows has are asked, and only words that are the same in every language are read.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import ImageError
from lab.guest.protocol import CommandResult, Transport
from lab.image.windows.answer import common_folder
from lab.image.windows.image_record import CheckRecord, LicenceRecord
from lab.image.windows.recipe import WindowsRecipeFile

QUERY_SCRIPT = "acceptance.ps1"
_CONTROL = r"HKLM\SYSTEM\CurrentControlSet\Control"
_MANAGER = rf"{_CONTROL}\Session Manager"
_STAGE_FILE = r"C:\ProgramData\lab\stage.txt"
_ANSWER_COPIES = (r"C:\Windows\Panther\unattend.xml", r"C:\Windows\System32\Sysprep\unattend.xml")
_COMMAND_S = 120.0
_QUERY_S = 600.0
#: What a run needs: drivers, a full dump, and the page file's growth.
MIN_FREE_BYTES = 5 << 30
#: Limits of the WinRM service, and the least that they must be.
WINRM_LIMITS: Mapping[str, int] = {
    "MaxTimeoutms": 14_400_000,
    "MaxConcurrentOperationsPerUser": 4_294_967_295,
    "MaxMemoryPerShellMB": 2048,
    "MaxShellsPerUser": 100,
    "MaxProcessesPerShell": 100,
    "MaxConcurrentUsers": 100,
}
_GUID = re.compile(r"\{[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}")
_VALUE = re.compile(r"^ +(\S.*?) +REG_\w+ +(.*?)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a guest answered.

    Attributes:
        checks: The assertions.
        windows: Edition and build, in Windows' own words.
        kd_entry: Identifier of the kernel debugger's boot entry; empty: there is none.
        licence: State of the licence.
        driver_policy: State of the policy for cross-signed drivers, see :mod:`lab.image.windows.driver_policy`.
    """

    checks: tuple[CheckRecord, ...]
    windows: str
    kd_entry: str
    licence: LicenceRecord
    driver_policy: str = ""

    @property
    def failed(self) -> tuple[CheckRecord, ...]:
        """Required checks that did not hold."""
        return tuple(check for check in self.checks if check.required and not check.ok)


def gather(
    transport: Transport, recipe: WindowsRecipeFile, *, thumbprints: tuple[str, ...] = (), folder: Path | None = None
) -> Facts:
    """Ask a guest.

    Args:
        transport: Reaches the guest.
        recipe: What it was made from.
        thumbprints: SHA-1 of the certificates that it must trust.
        folder: Where the script of questions lies; None: the checkout's.

    Raises:
        TransportError: It does not answer.
        ImageError: It answers something that cannot be read.
    """
    asked = query(transport, folder=folder)
    image = _told_json(_run(transport, r"type C:\lab\image.json"), r"C:\lab\image.json")
    licence = LicenceRecord(
        name=str(asked.get("licence", "")),
        status=int(asked.get("licence_status", -1)),
        grace_minutes=int(asked.get("grace_minutes", 0)),
    )
    checks = [*_integrity(transport), *_stages(transport, recipe), *_settings(transport, recipe), *_winrm(transport)]
    if "relay" in recipe.ordered_stages:
        said = " ".join(_run(transport, "sc.exe query LabRelay").text.split())
        checks.append(_check("the print relay runs", bool(re.search(r": 4 ", said)), said, "state 4 (RUNNING)"))
    checks += [check for thumbprint in thumbprints for check in _certificate(transport, thumbprint)]
    free = int(asked.get("free_bytes", 0))
    checks.append(_check("free space", free >= MIN_FREE_BYTES, f"{free} bytes", f"{MIN_FREE_BYTES} bytes"))
    vbs = int(asked.get("vbs", 0))
    checks.append(_check("virtualization-based security", vbs == 0, str(vbs), "0 (off)"))
    alive = licence.status == 1 or (licence.status in (2, 3, 4) and licence.grace_minutes > 0)
    told = f"status {licence.status}, {licence.grace_minutes} minutes left"
    # An image that has to be activated is still one to work with for some days.
    checks.append(_check("licence", alive, told, "1 (licensed), or a grace period", required=False))
    entry = str(image.get("kd_entry", ""))
    if "kd" in recipe.ordered_stages:
        checks.append(_check("kernel debugger's boot entry", bool(_GUID.fullmatch(entry)), entry, "an identifier"))
    return Facts(
        tuple(checks),
        str(asked.get("windows", "")),
        entry if _GUID.fullmatch(entry) else "",
        licence,
        str(asked.get("driver_policy", "")),
    )


def query(transport: Transport, *, folder: Path | None = None) -> dict[str, Any]:
    """The answers of the PowerShell script.

    Raises:
        ImageError: They are not the JSON that it writes.
    """
    script = ((folder or common_folder()) / QUERY_SCRIPT).read_text(encoding="ascii")
    # As one word: no quoting by cmd, WinRM and PowerShell that could go wrong.
    word = base64.b64encode(script.encode("utf-16-le")).decode("ascii")
    result = transport.run(f"powershell.exe -NoLogo -NoProfile -NonInteractive -EncodedCommand {word}", timeout=_QUERY_S)
    return _told_json(result, QUERY_SCRIPT)


def select_kd_entry(transport: Transport, entry: str) -> CheckRecord:
    """Make the kernel debugger's boot entry the one that the next start takes, and all after it.

    Returns:
        What the boot configuration then says of it.
    """
    if not _GUID.fullmatch(entry):
        raise ImageError(f"{entry!r} is not a boot entry")
    transport.run(f"bcdedit.exe /default {entry}", timeout=_COMMAND_S).check()
    text = transport.run("bcdedit.exe /enum {default}", timeout=_COMMAND_S).check().text
    return _check("kernel debugger on in its boot entry", _yes(text, "debug"), _line(text, "debug"), "debug Yes")


def registry_values(text: str) -> dict[str, str]:
    """Names and values of `reg query`'s answer."""
    return {match[1]: match[2] for match in _VALUE.finditer(text.replace("\r\n", "\n"))}


def _integrity(transport: Transport) -> Iterator[CheckRecord]:
    options = _registry(transport, _CONTROL, "SystemStartOptions").get("SystemStartOptions", "")
    yield _check("test signing in force", "TESTSIGNING" in options.upper().split(), options, "TESTSIGNING")
    text = _run(transport, "bcdedit.exe /enum {current}").text
    yield _check("testsigning", _yes(text, "testsigning"), _line(text, "testsigning"), "testsigning Yes")
    # The plain entry is the one without a debugger: with the debugger on, Windows behaves otherwise than for users.
    yield _check("kernel debugger off", "DEBUG" not in options.upper().split(), options, "no DEBUG")
    secure = _registry(transport, rf"{_CONTROL}\SecureBoot\State", "UEFISecureBootEnabled").get("UEFISecureBootEnabled", "")
    # With a BIOS there is no such value.
    yield _check("secure boot", secure in ("", "0x0"), secure or "none", "off")


def _stages(transport: Transport, recipe: WindowsRecipeFile) -> Iterator[CheckRecord]:
    lines = _run(transport, f"type {_STAGE_FILE}").text.split("\n")
    finished = [line.split(" ")[0] for line in lines if " ok " in line]
    wanted = list(recipe.ordered_stages)
    yield _check("stages", [name for name in wanted if name in finished] == wanted, " ".join(finished), " ".join(wanted))
    yield _check("stage file", lines != [""] and "done" in lines, lines[-2] if len(lines) > 1 else lines[0], "done")
    for copy in _ANSWER_COPIES:
        said = _run(transport, f"if exist {copy} (echo there) else (echo gone)").text.strip()
        yield _check(f"no copy of the answer file: {copy}", said == "gone", said, "gone")
    logon = _registry(transport, r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon", "DefaultPassword")
    # Its value would be the password.
    yield _check("no password of an automatic logon", not logon, "there" if logon else "gone", "gone")


def _settings(transport: Transport, recipe: WindowsRecipeFile) -> Iterator[CheckRecord]:
    if "debugprint" in recipe.ordered_stages:
        value = _registry(transport, rf"{_MANAGER}\Debug Print Filter", "DEFAULT").get("DEFAULT", "")
        yield _check("Debug Print Filter", value.lower() == "0xffffffff", value, "0xffffffff")
    if "crashdumps" in recipe.ordered_stages:
        control = _registry(transport, rf"{_CONTROL}\CrashControl")
        wanted = {"CrashDumpEnabled": "0x2" if recipe.crash_dump == "kernel" else "0x3", "AlwaysKeepMemoryDump": "0x1"}
        for name, number in wanted.items():
            yield _check(f"crash dump: {name}", control.get(name) == number, control.get(name, ""), number)
        files = _registry(transport, rf"{_MANAGER}\Memory Management", "PagingFiles").get("PagingFiles", "")
        # Several files are separated by a backslash and a zero; the first one is that of the dump.
        sizes = [int(number) for number in re.findall(r"\b\d+\b", files.partition("\\0")[0])]
        enough = bool(sizes) and min(sizes) >= recipe.machine.memory_mb + 300
        yield _check("page file", enough, files, f"{recipe.machine.memory_mb + 300} MB or more")


def _winrm(transport: Transport) -> Iterator[CheckRecord]:
    text = _run(transport, "winrm get winrm/config").text
    found = dict(re.findall(r"^\s*(\w+) = (\S+)", text, re.MULTILINE))
    for name, least in WINRM_LIMITS.items():
        value = found.get(name, "")
        yield _check(f"winrm {name}", value.isdigit() and int(value) >= least, value, f"{least} or more")


def _certificate(transport: Transport, thumbprint: str) -> Iterator[CheckRecord]:
    for store in ("Root", "TrustedPublisher"):
        code = _run(transport, f"certutil.exe -store {store} {thumbprint}").exit_code
        yield _check(f"certificate {thumbprint} in {store}", code == 0, f"certutil ended with {code}", "0")


def _run(transport: Transport, command: str) -> CommandResult:
    return transport.run(command, timeout=_COMMAND_S)


def _registry(transport: Transport, key: str, value: str = "") -> dict[str, str]:
    command = f'reg.exe query "{key}"' + (f' /v "{value}"' if value else "")
    return registry_values(_run(transport, command).text)


def _told_json(result: CommandResult, what: str) -> dict[str, Any]:
    try:
        told = json.loads(result.text.strip().lstrip("\ufeff"))
        if isinstance(told, dict):
            return told
    except ValueError:
        pass
    said = (result.text + result.error_text).strip()[:400]
    raise ImageError(f"{what} of the new guest is not JSON: exit code {result.exit_code}, {said!r}")


def _yes(text: str, name: str) -> bool:
    return _line(text, name).lower().split()[1:] == ["yes"]


def _line(text: str, name: str) -> str:
    found = re.search(rf"^{name}\s+\S+", text, re.MULTILINE | re.IGNORECASE)
    return " ".join(found[0].split()) if found else ""


def _check(name: str, ok: bool, value: str, wanted: str, *, required: bool = True) -> CheckRecord:
    return CheckRecord(name=name, ok=ok, value=value, wanted=wanted, required=required)
