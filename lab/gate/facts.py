"""What is known of one execution of a test: from this alone, :mod:`lab.gate.verdict` gives the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lab.config import KnownIssue
from lab.prints.record import FaultRecord, GapRecord
from lab.vm.processor_time import ProcessorTime
from lab.vm.spec import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseFact:
    """How one phase of a test ended.

    Attributes:
        when: ``setup`` and ``teardown`` are the fixtures', ``call`` is the test's own.
        outcome: As pytest reports it.
        error: The exception that failed it (``call.excinfo.value``), where there is one.
        text: pytest's text when there is no exception, for example ``[XPASS(strict)] …``.
    """

    when: Literal["setup", "call", "teardown"]
    outcome: Literal["passed", "failed", "skipped"]
    error: BaseException | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that is known about one execution of a test.

    Attributes:
        phases: In the order in which they ran.
        faults: Driver faults that the guest reported inside of the test's window.
        gaps: Losses inside of the test's window.
        crash_sign: How the guest ended itself, by QEMU's events; empty when it did not, or when the test provokes that.
        guest_alive: The virtual machine still runs; ``True`` too when the test used no guest.
        guest_answers: After a hang: another command was answered (True), was not (False), none was tried (None).
        missing_capability: Why the test was skipped, when a capability was the reason.
        skip_reason: The reason of any other skip.
        xfail_reason: The reason of an ``xfail`` mark when pytest honoured it (the report has ``wasxfail``).
        expected_fault: The fault code that the test says it provokes, if it does.
        uses_lab: The test uses a fixture or a marker of the lab; one that does not proves nothing about a driver.
        lacks: What was missing to load a driver, as the guest reported it, see :mod:`lab.guest.lacks`.
        behind: The guest had faulted before the test began: where, for example ``the guest's boot``.
        known: The entries in force of the lab file that name this test (:func:`lab.gate.known_issues.match_known`).
        processor: How long the guest waited for a processor until the failure; None if unknown.
        clock: The guest's.
        host_sleep: The first sleep of the suite's code on the host, in which a virtual clock stands still; else empty.
        fails_allocations: Driver Verifier failed allocations of the guest's drivers on purpose.
        can_repeat: The test can be run again in a fresh guest.
        repeated: This is its second run.
        accused: The driver that a fault is held against, if one is.
        fault_place: Where in it the first fault was, see :func:`lab.toolchain.address.locate`.
        pool_tags: With which its code allocates, see :mod:`lab.toolchain.pool_tags`.
    """

    phases: Sequence[PhaseFact]
    faults: Sequence[FaultRecord] = ()
    gaps: Sequence[GapRecord] = ()
    crash_sign: str = ""
    guest_alive: bool = True
    guest_answers: bool | None = None
    missing_capability: str | None = None
    skip_reason: str = ""
    xfail_reason: str | None = None
    expected_fault: int | None = None
    uses_lab: bool = True
    lacks: str = ""
    behind: str | None = None
    known: Sequence[KnownIssue] = ()
    processor: ProcessorTime | None = None
    clock: Clock = "real"
    host_sleep: str = ""
    fails_allocations: bool = False
    can_repeat: bool = False
    repeated: bool = False
    accused: str | None = None
    fault_place: str = ""
    pool_tags: tuple[str, ...] = ()
