"""Statements about a finished guest: what the acceptance boot checks, and what the lab's transports need."""

from __future__ import annotations

import datetime

from lab.errors import TransportError
from lab.proofs.seen import asked_now, checked
from lab.proofs.statement import Bench, Outcome, Statement, decided, not_reached
from lab.proofs.ways import EXAMPLE, Decided, InGuest, answer, build_line, in_guest, powershell

_START_OPTIONS = r"reg query HKLM\SYSTEM\CurrentControlSet\Control /v SystemStartOptions"
_SLMGR = r"cscript //nologo C:\Windows\System32\slmgr.vbs /dlv"
#: Between an image's record and what its guest answers, a day may begin, and a clock may be set.
_LICENCE_DAYS = 2
_QUIET_S = 600.0
_COMMAND_S = 300.0


def _quiet(bench: Bench) -> Outcome:
    transport = bench.up_for(_QUIET_S)
    service = transport.run("sc.exe query wuauserv", timeout=_COMMAND_S)
    tasks = transport.run("tasklist.exe", timeout=_COMMAND_S)
    busy = [name for name in ("TiWorker.exe", "MoUsoCoreWorker.exe", "wuauclt.exe") if name.lower() in tasks.text.lower()]
    stopped = ": 1 " in " ".join(service.text.split())
    return decided(stopped and not busy, f"wuauserv: {answer(service)}; at work after ten minutes: {', '.join(busy) or 'none'}")


def _licence(bench: Bench) -> Outcome:
    ends = bench.record.evaluation_expires
    minutes = int(asked_now(bench).get("grace_minutes", 0))
    if ends is None:
        return not_reached("the image's record has no end of the licence")
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes)
    text = f"Windows reports {minutes} minutes, that is until {now:%Y-%m-%d}; the record says {ends:%Y-%m-%d}"
    return decided(minutes > 0 and abs((now - ends).days) <= _LICENCE_DAYS, text)


def _ssh(bench: Bench) -> Outcome:
    if "ssh" not in bench.manifest.transports:
        return not_reached("the image was built without --openssh-msi")
    bench.guest()
    try:
        result = bench.guest_by("ssh").run("ver", timeout=_COMMAND_S)
    except TransportError as error:
        return decided(False, error.message)
    return decided("Windows" in result.text, answer(result))


def _address(bench: Bench) -> Outcome:
    """The lab's network has a gateway that answers nothing, so Windows cannot identify it."""
    result = bench.guest().run(powershell("(Get-NetConnectionProfile).NetworkCategory"), timeout=_COMMAND_S)
    return decided(result.text.strip() == "Private", answer(result))


STATEMENTS = (
    Statement(
        id="test-signing",
        text="test signing is in force with OVMF's variables without keys",
        proof=checked("test signing in force", "testsigning", by_hand=f"{in_guest(_START_OPTIONS)}: `TESTSIGNING`"),
    ),
    Statement(
        id="certificates",
        text="certificates are in both stores",
        proof=checked("certificate ", by_hand=in_guest("certutil -store TrustedPublisher")),
    ),
    Statement(
        id="no-virtualization-based-security",
        text="virtualization-based security stays off",
        proof=checked("virtualization-based security", by_hand="`lab image doctor` (`virtualization-based security`)"),
    ),
    Statement(
        id="nothing-left-of-setup",
        text="no copy of the answer file and no automatic logon stays",
        proof=InGuest(
            command=r"findstr /s /m AdministratorPassword C:\Windows\Panther\*.xml",
            exit_code=1,
            seen="no file",
        ),
    ),
    Statement(
        id="no-password-of-the-logon",
        text="no password of an automatic logon stays in the registry",
        proof=checked(
            "no password of an automatic logon",
            "no copy of the answer file",
            by_hand=in_guest(r'reg query "HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon" /v DefaultPassword')
            + ": nothing",
        ),
    ),
    Statement(
        id="quiet",
        text="Windows Update, Defender and scheduled work stay quiet",
        proof=Decided(
            decide=_quiet,
            by_hand=f"{in_guest('sc query wuauserv')}; {in_guest('tasklist')} after ten minutes",
            needs="guest",
        ),
    ),
    Statement(
        id="network-is-private",
        text="unattended policies for unidentified networks keep the network private",
        proof=Decided(decide=_address, by_hand=in_guest("powershell Get-NetConnectionProfile"), needs="guest"),
    ),
    Statement(
        id="winrm-limits",
        text="WinRM answers NTLM with encrypted messages, with raised limits, and not before the build is over",
        proof=checked("winrm ", by_hand=f"`lab image doctor`, {in_guest('winrm get winrm/config')}"),
    ),
    Statement(
        id="winrm-client",
        text="the WinRM client of the lab works with Windows' own service",
        proof=InGuest(command="ver", says="Windows", seen="the version of Windows"),
    ),
    Statement(
        id="openssh",
        text="the MSI installs a service `sshd` that reads the keys with these rights",
        proof=Decided(
            decide=_ssh,
            by_hand=f"{build_line(EXAMPLE, '--openssh-msi', 'PATH')}, then `lab run-in-guest --transport ssh -- ver`",
            needs="guest",
        ),
    ),
    Statement(
        id="licence-days",
        text="the licence service reports the days that are left",
        proof=Decided(
            decide=_licence,
            by_hand=f"{in_guest(_SLMGR)}, compared with `evaluation_expires` in `image.json`",
            needs="guest",
        ),
    ),
)
