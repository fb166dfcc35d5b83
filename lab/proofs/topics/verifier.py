"""Statements about Driver Verifier: how it is switched on, what its answers look like, and what it finds."""

from __future__ import annotations

from lab.live.restart import restart_guest
from lab.proofs.statement import Bench, Outcome, Statement, decided
from lab.proofs.ways import Ask, Decided, InGuest, SuitesPass

_RESTART_S = 900.0
_PREFETCH = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters"
_LOWRES = 'verifier /volatile /faults 600 "" "" 1 /adddriver labtest.sys & verifier /query'


def _restarted(bench: Bench) -> Outcome:
    own = bench.own_machine()
    restart_guest(own.machine, own.transport, own.wait_ready, timeout=_RESTART_S)
    return decided(True, "QEMU reported RESET, and the guest answers from a new boot")


STATEMENTS = (
    Statement(
        id="verifier-without-restart",
        text="Driver Verifier's standard checks come into force without a restart, and `/query` shows them in each fork",
        proof=SuitesPass(options=("--verifier", "standard"), suites=("suites/sync",)),
        windows=("10", "11", "server-2022", "server-2025"),
    ),
    Statement(
        id="verifier-with-restart",
        text="Driver Verifier's settings of the registry are in force after one restart (`/bootmode oneboot`)",
        proof=SuitesPass(options=("--verifier", "systematic"), suites=("suites/sync",)),
        windows=("10", "server-2022"),
    ),
    Statement(
        id="verifier-low-resources",
        text="`verifier /volatile /faults` takes empty texts for defaults, and `/query` shows the flag 0x4",
        proof=InGuest(
            command=_LOWRES,
            says=r"Flags:\s*0x[0-9a-f]*[4-7c-f]\b[\s\S]*labtest\.sys",
            exit_code=None,
            seen="flag 0x4, labtest.sys",
        ),
    ),
    Statement(
        id="verifier-query",
        text="`verifier /query` prints flags and drivers that are in force now, in English words",
        proof=InGuest(
            command="verifier /query",
            says=r"No drivers are currently (being )?verified|Verifier (Volatile )?Flags:\s*0x|MODULE:",
            exit_code=None,
            seen="flags and modules, or that no driver is verified",
        ),
    ),
    Statement(
        id="boot-has-a-number",
        text="the registry counts the boots of a guest",
        proof=InGuest(
            command=f'reg query "{_PREFETCH}" /v BootId', says=r"BootId\s+REG_DWORD\s+0x[0-9a-f]+", seen="a number that grows"
        ),
    ),
    Statement(
        id="restart-inside-the-vm",
        text="a guest restarts inside of its VM once resets are allowed, and answers from another boot",
        proof=Decided(
            decide=_restarted,
            by_hand="`lab run --guest windows-10 --verifier systematic`: its log says `the guest restarts`, and tests run",
            needs="vm",
        ),
    ),
    Statement(
        id="verifier-finds-a-leak",
        text="pool that a driver does not free is bugcheck 0xC4 with 0x62 at its unload, in the test that loaded it",
        proof=Ask(
            question="Is the test red, with `rule 0x62` in its signature, if its driver does not free an allocation?",
            by_hand="`lab run --guest windows-server-2022 --verifier standard --driver DIR` with a driver that leaks",
        ),
    ),
)
