"""The findings about one execution of a test, and which of its faults, gaps and missing functions count.

The plugin collects findings while a test runs. :func:`judge` asks the rules of :mod:`lab.gate.verdict`.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab.config import KnownIssue
from lab.crash.bugcheck import find_bugcheck
from lab.crash.codes import plain_code
from lab.crash.faults import FaultWords, title
from lab.crash.rules import is_left_at_unload
from lab.crash.signs import CrashSign
from lab.errors import EvidenceLost, GuestCrashed, GuestExited, GuestHung, LabError, ServiceError, TransportError
from lab.gate.facts import Facts, PhaseFact
from lab.gate.known_issues import match_known
from lab.gate.reasons import leaves
from lab.gate.verdict import Decision, decide
from lab.guest.lacks import PRIVILEGED, module_of
from lab.prints.record import FaultRecord, GapRecord, NoteRecord, Record
from lab.prints.window import Window
from lab.vm.processor_time import ProcessorTime
from lab.vm.spec import Clock

#: How much of a test's prints is searched for the bugcheck message that a kernel prints last.
_BUGCHECK_TEXT = 8192
#: Exit codes of sc start when a driver's file was not loaded: a module is missing, or an image's initialisation failed.
_NOT_LOADED = (126, 1114)
#: Errors that a client gets because its guest ended.
_CONSEQUENCES = TransportError | GuestExited | GuestHung | EvidenceLost | GuestCrashed


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The findings so far; complete when the test's window is closed.

    Attributes:
        nodeid: The test.
        started: Wall clock in seconds.
        drivers: Names of the drivers of its marker, with those that they need.
        marked: The drivers that the marker itself names.
        expected_fault: Code of the fault that the test provokes, if it does.
        uses_lab: It uses a fixture or a marker of the lab.
        own_modules: File names of the run's own drivers, in lower case: what they lack is not missing in the guest.
        privileged_at: Whether a privileged instruction at an address may be that of a driver of the run.
        phases: How its phases ended, in order.
        records: The records of its window so far.
        window: Its closed window; None while it is open, and for a test without a guest.
        sign: The event by which QEMU reported that the guest ended itself.
        hung: The guest answered nothing, and the lab ended it.
        guest_alive: The virtual machine still ran when the window was closed.
        guest_answers: After a hang: another command was answered (True), was not (False), none was tried (None).
        missing: Capabilities that the test needs and the guest lacks.
        skip_reason: Why it was skipped.
        xfail_reason: Why it was expected to fail, when it did.
        load_refused: A driver's start ended with the error of a missing module.
        behind: The guest had faulted before the test began: where, for example ``the guest's boot``.
        processor: How long the guest waited for a processor until the failure, or until the end; None if unknown.
        clock: The guest's; ``real`` where there was none.
        host_sleep: The first sleep of the suite's code on the host, in which a virtual clock stands still; else empty.
        fails_allocations: Driver Verifier failed allocations of the guest's drivers on purpose.
        can_repeat: The test can be run again in a fresh guest.
        repeated: This is its second run.
        fault_place: Where in its driver the first fault was, as far as that is known.
        loaded_in: The test in which the driver was loaded that the lab unloaded last in this test; empty if it unloaded none.
        pool_tags_of: The tags with which the code of a driver allocates, by its name or file name.
    """

    nodeid: str
    started: float
    drivers: tuple[str, ...] = ()
    marked: tuple[str, ...] = ()
    expected_fault: int | None = None
    uses_lab: bool = True
    own_modules: frozenset[str] = frozenset()
    privileged_at: Callable[[int], bool] = lambda _address: True
    phases: tuple[PhaseFact, ...] = ()
    records: Sequence[Record] = ()
    window: Window | None = None
    sign: CrashSign | None = None
    hung: bool = False
    guest_alive: bool = True
    guest_answers: bool | None = None
    missing: tuple[str, ...] = ()
    skip_reason: str = ""
    xfail_reason: str | None = None
    load_refused: bool = False
    behind: str | None = None
    processor: ProcessorTime | None = None
    clock: Clock = "real"
    host_sleep: str = ""
    fails_allocations: bool = False
    can_repeat: bool = False
    repeated: bool = False
    fault_place: str = ""
    loaded_in: str = ""
    pool_tags_of: Callable[[str], Sequence[str]] = lambda _driver: ()

    @property
    def left_by(self) -> str:
        """The test that loaded a driver which has left something, as its unload in this test's window showed.

        Driver Verifier finds a leak at the unload, and any test that used the driver may have caused it: it is held against the
        test that loaded the driver. Empty if that is this test, or nothing was left.
        """
        if self.loaded_in in ("", self.nodeid):
            return ""
        return self.loaded_in if any(map(_is_left, self._faults_here)) else ""

    @property
    def all_faults(self) -> list[FaultRecord]:
        """The driver faults of the window that are this test's, expected ones included."""
        return [fault for fault in self._faults_here if not (self.left_by and _is_left(fault))]

    @property
    def anothers_fault(self) -> FaultRecord | None:
        """The fault in the window that is held against another test, see :attr:`left_by`."""
        return next(filter(_is_left, self._faults_here), None) if self.left_by else None

    @property
    def _faults_here(self) -> list[FaultRecord]:
        """The driver faults of the window; a bugcheck that only QEMU reported is one, too."""
        faults = [
            dataclasses.replace(record, lacks="") if self._is_the_drivers(record) else record
            for record in self.records
            if isinstance(record, FaultRecord)
        ]
        bugcheck = self.sign.bugcheck if self.sign else None
        if bugcheck is not None and self.sign is not None and not any(len(fault.parameters) == 4 for fault in faults):
            faults.append(
                FaultRecord(
                    sequence=len(self.records),
                    host_time=self.started,
                    guest_time=None,
                    code=bugcheck.code,
                    parameters=bugcheck.parameters,
                    text=self.sign.text,
                )
            )
        return faults

    @property
    def faults(self) -> list[FaultRecord]:
        """Driver faults of the window that the test does not expect; none when the guest's kernel is the cause."""
        return [] if self.lacks else self._unexpected()

    @property
    def lacks(self) -> str:
        """What a driver of the test called, or needed to be loaded, and this guest does not have; mostly empty."""
        first = self._unexpected()[:1]
        return first[0].lacks if first else self.unloadable

    @property
    def unloadable(self) -> str:
        """The missing module because of which a driver was not loaded, as the guest reported it; mostly empty."""
        if not self.load_refused:
            return ""
        missing = (record.lacks for record in self.records if isinstance(record, NoteRecord) and record.lacks)
        return next((name for name in missing if module_of(name) not in self.own_modules), "")

    @property
    def provoked_the_end(self) -> bool:
        """Whether the test provokes a fault that stops the whole guest, and it occurred: the guest's end is expected then."""
        if self.left_by:
            return True
        return self.behind is None and any(
            fault.code == self.expected_fault and FaultWords.of(fault.code, fault.parameters).is_bugcheck
            for fault in self.all_faults
        )

    @property
    def failed(self) -> bool:
        """Whether a phase has failed so far."""
        return any(phase.outcome == "failed" for phase in self.phases)

    @property
    def gaps(self) -> list[GapRecord]:
        """The losses in the window. A last marker that is missing because the guest ended does not count."""
        gaps = [record for record in self.window.records if isinstance(record, GapRecord)] if self.window else []
        known_end = self.hung or self.sign is not None or not self.guest_alive
        if self.window is not None and not self.window.complete and not gaps and not known_end:
            return [GapRecord(sequence=0, host_time=self.started, missing=0, reason=self.window.gaps[-1])]
        return gaps

    @property
    def accused(self) -> str | None:
        """The driver that Windows names in its bugcheck message; else the only one of the test's marker."""
        text = "".join(record.text for record in self.window.prints) if self.window else ""
        found = find_bugcheck(text[-_BUGCHECK_TEXT:])
        if found is not None and found.driver:
            return found.driver
        return self.marked[0] if len(self.marked) == 1 else None

    @property
    def capability(self) -> str | None:
        """The missing capability because of which the test was skipped, if any."""
        return self.lacks or (self.missing[0] if self.missing else None)

    def facts(self, known: Sequence[KnownIssue], *, today: datetime.date) -> Facts:
        """The findings as input of the rules.

        Args:
            known: The lab file's known issues.
            today: The date in UTC.
        """
        provoked = self.provoked_the_end
        return Facts(
            phases=self.phases,
            faults=self.all_faults,
            gaps=self.gaps,
            crash_sign=self.sign.text if self.sign is not None and not provoked else "",
            guest_alive=self.guest_alive or provoked,
            guest_answers=self.guest_answers,
            missing_capability=self.lacks or ", ".join(self.missing) or None,
            skip_reason=self.skip_reason,
            xfail_reason=self.xfail_reason,
            uses_lab=self.uses_lab,
            lacks=self.unloadable,
            expected_fault=self.expected_fault,
            behind=self.behind,
            known=match_known(known, self.nodeid, self.drivers, today=today),
            processor=self.processor,
            clock=self.clock,
            host_sleep=self.host_sleep,
            fails_allocations=self.fails_allocations,
            can_repeat=self.can_repeat,
            repeated=self.repeated,
            accused=self.accused,
            fault_place=self.fault_place,
            pool_tags=tuple(self.pool_tags_of(self.accused)) if self.accused else (),
        )

    def _unexpected(self) -> list[FaultRecord]:
        return [fault for fault in self.all_faults if fault.code != self.expected_fault]

    def _is_the_drivers(self, fault: FaultRecord) -> bool:
        """Whether a fault's lack is not the guest's: it concerns a driver of the run, or an address outside of its drivers."""
        if fault.lacks == PRIVILEGED:
            return not all(self.privileged_at(address) for address in fault.parameters)
        return module_of(fault.lacks) in self.own_modules


def judge(findings: Findings, known: Sequence[KnownIssue], *, today: datetime.date) -> Decision:
    """The verdict of one execution of a test.

    Args:
        findings: All that was found out.
        known: The lab file's known issues.
        today: The date in UTC.
    """
    decision = decide(findings.facts(known, today=today))
    if decision.verdict == "skipped" and findings.missing and not findings.lacks:
        return Decision(verdict="skipped", reason=findings.skip_reason)
    return decision


def may_be_the_provoked_end(findings: Findings, error: BaseException) -> bool:
    """Whether a phase failed only by errors that the end of the guest causes, in a test that provokes that end."""
    provokes = findings.expected_fault is not None or bool(findings.left_by)
    return provokes and all(isinstance(leaf, _CONSEQUENCES) for leaf in leaves(error))


def _is_left(fault: FaultRecord) -> bool:
    return is_left_at_unload(plain_code(fault.code), fault.parameters)


def is_refused_load(error: BaseException) -> bool:
    """Whether a driver's file was not loaded: the guest may report which module was missing."""
    return any(isinstance(leaf, ServiceError) and leaf.exit_code in _NOT_LOADED for leaf in leaves(error))


def window_error(findings: Findings, exited: Callable[[], LabError]) -> LabError | None:
    """The error for a test that has not failed so far, but whose closed window shows one; None when all is well.

    Args:
        findings: All that was found out.
        exited: Makes the error that says how the virtual machine ended.

    Returns:
        GuestCrashed if a driver faulted, or QEMU reported that the guest crashed; the error of ``exited`` if the virtual
        machine has ended; EvidenceLost if prints are missing.
    """
    if findings.window is None:
        return None
    if findings.faults:
        fault = findings.faults[0]
        words = FaultWords.of(fault.code, fault.parameters)
        return GuestCrashed(fault.code, fault.parameters, message=title(fault.code, fault.parameters), hint=words.hint)
    if findings.provoked_the_end:
        return None
    if findings.sign is not None:
        return GuestCrashed(0, message=findings.sign.text)
    if not findings.guest_alive:
        return exited()
    try:
        findings.window.check()
    except EvidenceLost as error:
        return error
    return None
