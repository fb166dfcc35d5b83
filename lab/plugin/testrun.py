"""What becomes known about one execution of a test, and the entry that the report gets of it."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pytest

from lab.config import KnownIssue
from lab.crash.bugcheck import find_bugcheck
from lab.crash.faults import FaultWords
from lab.crash.signs import CrashSign
from lab.gate.known import match_known
from lab.gate.verdict import Decision, Facts, PhaseFact, decide
from lab.guest.lacks import PRIVILEGED, module_of
from lab.lease.lease import Lease
from lab.live.evidence import SavedEvidence
from lab.plugin.markers import Wishes
from lab.prints.record import EventRecord, FaultRecord, GapRecord, NoteRecord, Record
from lab.prints.stream import PrintStream
from lab.prints.window import Window
from lab.report.entries import event_entry, fault_entry, print_entry, sign_entry, step_entries
from lab.report.model import EvidenceFile, TestEntry

#: How much of a test's prints is searched for the kernel's last words.
_BUGCHECK_TEXT = 8192


@dataclass(slots=True, kw_only=True)
class TestRun:
    """One execution of a test, from its setup to its teardown.

    Attributes:
        nodeid: The test.
        wishes: What its markers ask for.
        started: Wall clock in seconds.
        uses_guest: It asks for one of the lab's fixtures.
        drivers: Names of the drivers that it uses: its marker's, or all that its fixtures loaded.
        own_modules: File names of the run's own drivers, in lower case: what they lack is no fault of the guest.
        privileged_at: Whether a privileged instruction at an address may be that of a driver of the run.
        lease: The guest that serves it, once it has one.
        stream: Its prints while it runs.
        window: Its prints afterwards.
        keep_loaded: Drivers that the next test wants as they are.
        scope: What its fork is for, by the isolation.
        last_here: No other test will use its fork.
        phases: How its phases ended.
        guest_alive: Whether the guest's virtual machine still ran at the end.
        guest_answers: After a hang: whether the guest answered something else.
        missing: Capabilities that the guest lacks.
        skip_reason: Why it was skipped.
        xfail_reason: Why it was expected to fail, when it did.
        load_refused: A driver's start ended with an error that a missing module has.
        behind: What was before, when the guest had faulted before the test did anything.
        details: The failures as pytest shows them.
        sign: QEMU's word that the guest ended itself.
        evidence: What was saved of its crash or hang.
        where: Function and line of its fault, if that lies in a driver of the test.
        events_from: Number of the last of QEMU's events before its window.
        events_to: Only events before this one are the guest's own doing: the lab began to look into a hang there.
        records_to: As many records of the window had come by then.
    """

    #: Not a test class, whatever its name begins with.
    __test__ = False

    nodeid: str
    wishes: Wishes
    started: float
    uses_guest: bool = True
    drivers: tuple[str, ...] = ()
    own_modules: frozenset[str] = frozenset()
    privileged_at: Callable[[int], bool] = lambda _address: True
    lease: Lease | None = None
    stream: PrintStream | None = None
    window: Window | None = None
    keep_loaded: frozenset[str] = frozenset()
    scope: str = ""
    last_here: bool = False
    phases: list[PhaseFact] = field(default_factory=list)
    duration_s: float = 0.0
    guest_alive: bool = True
    guest_answers: bool | None = None
    missing: tuple[str, ...] = ()
    skip_reason: str = ""
    xfail_reason: str | None = None
    load_refused: bool = False
    behind: str | None = None
    details: list[str] = field(default_factory=list)
    sign: CrashSign | None = None
    evidence: SavedEvidence | None = None
    where: str = ""
    events_from: int = 0
    events_to: int | None = None
    records_to: int | None = None

    @property
    def hung(self) -> bool:
        """Whether the guest answered nothing any more, and was ended by the lab for that."""
        return self.events_to is not None

    @property
    def uses_lab(self) -> bool:
        """Whether it has to do with a driver at all; a fixture may also be asked for by its name while the test runs."""
        return self.uses_guest or self.lease is not None or self.wishes != Wishes()

    @property
    def provoked_the_end(self) -> bool:
        """Whether the test provokes a fault that stops the whole guest, and it came: what follows is no trouble."""
        faults = self._all_faults()
        return self.behind is None and any(
            fault.code == self.wishes.expected_fault and FaultWords.of(fault.code, fault.parameters).is_bugcheck
            for fault in faults
        )

    @property
    def failed(self) -> bool:
        """Whether a phase has failed so far."""
        return any(phase.outcome == "failed" for phase in self.phases)

    @property
    def faults(self) -> list[FaultRecord]:
        """Driver faults of the window that the test does not expect; none when the guest's kernel is to blame."""
        return [] if self.lacks else self._unexpected()

    @property
    def lacks(self) -> str:
        """What a driver of the test called, or could not be loaded for, and this guest does not have; mostly empty."""
        first = self._unexpected()[:1]
        return first[0].lacks if first else self._unloadable()

    def _unloadable(self) -> str:
        """The module for want of which a driver was not loaded, by the guest's own words."""
        if not self.load_refused:
            return ""
        missing = (record.lacks for record in self._records() if isinstance(record, NoteRecord) and record.lacks)
        return next((name for name in missing if module_of(name) not in self.own_modules), "")

    def saw(self, error: BaseException | None, report: pytest.TestReport) -> None:
        """Take down how a phase ended, and with which exception."""
        self.duration_s += report.duration
        text = ""
        if report.outcome == "failed":
            self.details.append(report.longreprtext)
            if error is None:
                text = report.longreprtext.strip().splitlines()[-1] if report.longreprtext.strip() else "failed"
        elif report.outcome == "skipped":
            if hasattr(report, "wasxfail"):
                self.xfail_reason = str(report.wasxfail).removeprefix("reason: ")
                self.details.append(report.longreprtext)
            else:
                self.skip_reason = self.skip_reason or str(getattr(error, "msg", "") or error or "skipped")
        when: Literal["setup", "call", "teardown"] = report.when or "call"
        self.phases.append(PhaseFact(when=when, outcome=report.outcome, error=error, text=text))

    def decide(self, known: Sequence[KnownIssue]) -> Decision:
        """The verdict."""
        today = datetime.datetime.now(tz=datetime.UTC).date()
        records = self.window.records if self.window else ()
        gaps = [record for record in records if isinstance(record, GapRecord)]
        known_end = self.hung or self.sign is not None
        if self.window is not None and not self.window.complete and self.guest_alive and not gaps and not known_end:
            gaps = [GapRecord(sequence=0, host_time=self.started, missing=0, reason=self.window.gaps[-1])]
        lacks = self.lacks
        if lacks:
            self.missing = (lacks,)
        decision = decide(
            Facts(
                phases=self.phases,
                faults=self._all_faults(),
                gaps=gaps,
                crash_sign=self.sign.text if self.sign is not None and not self.provoked_the_end else "",
                guest_alive=self.guest_alive or self.provoked_the_end,
                guest_answers=self.guest_answers,
                missing_capability=", ".join(self.missing) or None,
                skip_reason=self.skip_reason,
                xfail_reason=self.xfail_reason,
                uses_lab=self.uses_lab,
                lacks=self._unloadable(),
                expected_fault=self.wishes.expected_fault,
                behind=self.behind,
                known=match_known(known, self.nodeid, self.wishes.drivers, today=today),
            )
        )
        if decision.verdict == "skipped" and self.missing and not lacks:
            return Decision(verdict="skipped", reason=self.skip_reason)
        return decision

    def entry(self, decision: Decision, worker: str, files: Sequence[EvidenceFile] = ()) -> TestEntry:
        """The report's entry; ``files`` is the evidence as the report names it."""
        faults = self._all_faults()
        fault = fault_entry(faults[0], driver=self._blamed(), where=self.where) if faults else None
        if self.lacks:
            fault = None  # nobody is accused of what the stand-in lacks
        elif fault is None and self.sign is not None:
            fault = sign_entry(self.sign)
        return TestEntry(
            nodeid=self.nodeid,
            verdict=decision.verdict,
            reason=decision.reason,
            duration_s=round(self.duration_s, 6),
            started=self.started,
            worker=worker,
            guest_id=self.lease.life.guest_id if self.lease else None,
            missing_capability=self.missing[0] if self.missing else None,
            drivers=list(self.drivers or self.wishes.drivers),
            fault=fault,
            details="\n\n".join(self.details),
            prints=[print_entry(record) for record in self.window.prints] if self.window else [],
            events=[event_entry(record) for record in self.window.records if isinstance(record, EventRecord)]
            if self.window
            else [],
            evidence=list(files),
            evidence_steps=step_entries(self.evidence.steps) if self.evidence else [],
            hang=self.evidence.hang if self.evidence else None,
        )

    def _blamed(self) -> str | None:
        """The driver that Windows blames in its message; else the only one that the test uses."""
        text = "".join(record.text for record in self.window.prints) if self.window else ""
        found = find_bugcheck(text[-_BUGCHECK_TEXT:])
        if found is not None and found.driver:
            return found.driver
        own = [name for name in self.wishes.drivers if name not in self.wishes.brought]
        return own[0] if len(own) == 1 else None

    def _unexpected(self) -> list[FaultRecord]:
        return [fault for fault in self._all_faults() if fault.code != self.wishes.expected_fault]

    def _records(self) -> Sequence[Record]:
        """What has come in the test's window."""
        return self.window.records if self.window else self.lease.ledger.peek() if self.lease and self.stream else ()

    def _is_the_drivers(self, fault: FaultRecord) -> bool:
        """Whether what a fault lacks is no lack of the guest's: it is the run's own, or was met in no driver's code."""
        if fault.lacks == PRIVILEGED:
            return not all(self.privileged_at(address) for address in fault.parameters)
        return module_of(fault.lacks) in self.own_modules

    def _all_faults(self) -> list[FaultRecord]:
        """The faults of the window; a bugcheck that QEMU alone reported is one, too."""
        records = self._records()
        faults = [
            dataclasses.replace(record, lacks="") if self._is_the_drivers(record) else record
            for record in records
            if isinstance(record, FaultRecord)
        ]
        bugcheck = self.sign.bugcheck if self.sign else None
        if bugcheck is not None and self.sign is not None and not any(len(fault.parameters) == 4 for fault in faults):
            faults.append(
                FaultRecord(
                    sequence=len(records),
                    host_time=self.started,
                    guest_time=None,
                    code=bugcheck.code,
                    parameters=bugcheck.parameters,
                    text=self.sign.text,
                )
            )
        return faults
