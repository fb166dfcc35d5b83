"""Statements about Driver Verifier: how it is switched on, what its answers look like, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass

from lab.gate.exitcode import OK
from lab.guest.verifier.ways import Way
from lab.live.restart import restart_guest
from lab.proofs.statement import Bench, Need, Outcome, Statement, decided, not_reached, proved, refuted
from lab.proofs.ways import EXAMPLE, RED, Ask, Decided, InGuest, answer
from lab.report.runfiles import read_run

_RESTART_S = 900.0
_SUITE = "suites/sync"
_PREFETCH = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters"
_LOWRES = 'verifier /volatile /faults 600 "" "" 1 /adddriver labtest.sys & verifier /query'


def _restarted(bench: Bench) -> Outcome:
    own = bench.own_machine()
    restart_guest(own.machine, own.transport, own.wait_ready, timeout=_RESTART_S)
    return decided(True, "QEMU reported RESET, and the guest answers from a new boot")


@dataclass(frozen=True, slots=True, kw_only=True)
class InForceIn:
    """A run with a profile, whose report must say that Driver Verifier came into force in one of some ways.

    Whether its tests pass says nothing of that: Driver Verifier may have found a fault of a driver.

    Attributes:
        profile: The profile; one of this repository's lab.yaml, or a built-in one.
        ways: The ways of ``guests[].verifier.way`` in run.json that prove it.
        forked: At least one guest must be a fork of a template.
    """

    profile: str
    ways: tuple[Way, ...]
    forked: bool = False
    needs: Need = "run"

    @property
    def by_hand(self) -> str:
        """See :class:`lab.proofs.statement.Proof`."""
        ways = " or ".join(f"`{way}`" for way in self.ways)
        forked = ", and one of the guests has a `template`" if self.forked else ""
        command = f"`lab run --guest {EXAMPLE} --verifier {self.profile} {_SUITE}`"
        return f"{command}: each `verifier.way` in its run.json is {ways}{forked}"

    def prove(self, bench: Bench) -> Outcome:
        """See :class:`lab.proofs.statement.Proof`."""
        out = bench.new_run_folder()
        result = bench.lab("run", "--guest", str(bench.folder), "--out", str(out), "--verifier", self.profile, _SUITE)
        report = read_run(out)
        if result.exit_code not in (OK, *RED) or report is None:
            return not_reached(f"the run decided nothing: {answer(result)}")
        guests = [guest for guest in report.guests if guest.verifier is not None]
        ways = sorted({guest.verifier.way for guest in guests if guest.verifier is not None})
        notes = dict.fromkeys(note for guest in guests if guest.verifier is not None for note in guest.verifier.notes)
        said = "\n".join([f"in force in {len(guests)} guest(s), by: {', '.join(ways)}", *notes, answer(result)])
        if not guests:
            return not_reached(f"the report has no guest with Driver Verifier: {answer(result)}")
        if not set(ways) <= set(self.ways):
            return refuted(said)
        if self.forked and not any(guest.template for guest in guests):
            return not_reached(f"no guest of the run was a fork; {said}")
        return proved(said)


STATEMENTS = (
    Statement(
        id="verifier-without-restart",
        text="Driver Verifier's standard checks come into force without a restart, and `/query` shows them in each fork",
        proof=InForceIn(profile="standard", ways=("now", "volatile"), forked=True),
        windows=("10", "11", "server-2022", "server-2025"),
    ),
    Statement(
        id="verifier-with-restart",
        text="Driver Verifier's settings of the registry are in force after one restart (`/bootmode oneboot`)",
        proof=InForceIn(profile="standard-restart", ways=("reboot",)),
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
