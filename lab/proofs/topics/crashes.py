"""Statements about bugchecks, dumps, and guests that were killed."""

from __future__ import annotations

import re

from lab.proofs.seen import crash_seen
from lab.proofs.statement import Bench, Outcome, Statement, decided, refuted
from lab.proofs.ways import Decided, in_guest

_BOOT_ENTRY = "bcdedit.exe /enum {current}"
_PAGE_FILE = "powershell Get-CimInstance Win32_PageFileUsage"
_COMMAND_S = 120.0


def _dumped(bench: Bench) -> Outcome:
    seen = bench.once(crash_seen)
    return decided(bool(seen.dumps), seen.text)


def _nmi(bench: Bench) -> Outcome:
    seen = bench.once(crash_seen)
    return decided(seen.restarted and bool(seen.dumps), seen.text)


def _panicked(bench: Bench) -> Outcome:
    seen = bench.once(crash_seen)
    return decided(seen.panic is not None and bool(seen.dumps), seen.text)


def _code(bench: Bench) -> Outcome:
    """QEMU passes on the five numbers that a guest of Hyper-V reports; the first is the code."""
    seen = bench.once(crash_seen)
    info = (seen.panic or {}).get("info")
    code = info.get("arg1") if isinstance(info, dict) else None
    # NMI_HARDWARE_FAILURE: what Windows calls an NMI that no driver claims.
    return decided(code == 0x80, seen.text)


def _killed(bench: Bench) -> Outcome:
    own = bench.own_machine()
    entry = own.transport.run(_BOOT_ENTRY, timeout=_COMMAND_S).text
    # "no" is a word of each language.
    values = dict(re.findall(r"^(bootstatuspolicy|recoveryenabled)\s+(\S+)", entry.lower(), re.MULTILINE))
    if values.get("bootstatuspolicy") != "ignoreallfailures" or "recoveryenabled" not in values:
        return refuted(f"the boot entry has {values}")
    own.machine.kill()
    own.boot_again()
    return decided(True, f"it answers again; the boot entry has {values}")


STATEMENTS = (
    Statement(
        id="dump-fits-the-page-file",
        text="the dump fits through the page file, with 5 GB free on C:",
        proof=Decided(decide=_dumped, by_hand=f"{in_guest(_PAGE_FILE)}, then a bugcheck", needs="vm"),
    ),
    Statement(
        id="nmi-makes-a-dump",
        text="an NMI makes a dump",
        proof=Decided(decide=_nmi, by_hand="`inject-nmi` on `qmp.sock` of a guest of `lab up`", needs="vm"),
    ),
    Statement(
        id="panic-is-reported-and-dumped",
        text="`hv-crash` with `-action panic=none` reports the bugcheck and lets Windows write its dump (KVM only)",
        proof=Decided(
            decide=_panicked,
            by_hand="a bugcheck in a guest of `lab up`: `GUEST_PANICKED` in its events, and `MEMORY.DMP`",
            needs="vm",
        ),
        only_kvm=True,
    ),
    Statement(
        id="panic-has-the-code",
        text="`GUEST_PANICKED` has the bugcheck's code and its parameters (KVM only)",
        proof=Decided(
            decide=_code,
            by_hand="`inject-nmi` on `qmp.sock` of a guest of `lab up`: `arg1` of the event is 128, NMI_HARDWARE_FAILURE",
            needs="vm",
        ),
        only_kvm=True,
    ),
    Statement(
        id="killed-guest-starts-again",
        text="a killed guest starts again without Automatic Repair",
        proof=Decided(
            decide=_killed,
            by_hand=f"{in_guest('bcdedit /enum {current}')}: `bootstatuspolicy`, `recoveryenabled`; kill QEMU, boot its disk",
            needs="vm",
        ),
    ),
)
