"""The facts about each phase of a test: made once, by the module that finds them, and never changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from lab.gate.facts import PhaseFact
from lab.lease.lease import Lease
from lab.live.evidence import SavedEvidence
from lab.plugin.markers import Wishes
from lab.prints.stream import PrintStream
from lab.prints.window import Window
from lab.vm.processor_time import ProcessorReading, ProcessorTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is known about a test before its setup.

    Attributes:
        nodeid: The test, or a repetition of it, see :mod:`lab.plugin.repeat`.
        wishes: What its markers ask for.
        started: Wall clock in seconds.
        uses_guest: It asks for one of the lab's fixtures.
        own_modules: File names of the run's own drivers, in lower case: what they lack is not missing in the guest.
        privileged_at: Whether a privileged instruction at an address may be that of a driver of the run.
        pool_tags_of: The tags with which the code of a driver of the run allocates, by its name or file name.
        scope: What its fork is for, by the isolation.
        can_repeat: It can be run again in a fresh guest.
        first_run: In a second run: the processor time of the first run's guest.
    """

    nodeid: str
    wishes: Wishes
    started: float
    uses_guest: bool = True
    own_modules: frozenset[str] = frozenset()
    privileged_at: Callable[[int], bool] = lambda _address: True
    pool_tags_of: Callable[[str], Sequence[str]] = lambda _driver: ()
    scope: str = ""
    can_repeat: bool = False
    first_run: ProcessorTime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """Why a test is skipped before it starts.

    Attributes:
        missing: What the guest lacks.
        reason: The sentence for people.
    """

    missing: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The guest that serves a test.

    Attributes:
        lease: The guest at work.
        stream: The test's prints while it runs.
        events_from: Number of the last of QEMU's events before the test's window.
        behind: If the guest had faulted before the test began: where, such as ``the guest's boot``.
        processor: How long its VM had waited for a processor by then; None if unknown.
    """

    lease: Lease
    stream: PrintStream
    events_from: int = 0
    behind: str | None = None
    processor: ProcessorReading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEnd:
    """How setup, call or teardown ended, as pytest reports it.

    Attributes:
        fact: For the rules.
        duration_s: How long it took.
        detail: The failure as pytest shows it; None where there is none.
        skip_reason: Why it was skipped.
        xfail_reason: Why it was expected to fail, when it did.
    """

    fact: PhaseFact
    duration_s: float
    detail: str | None = None
    skip_reason: str = ""
    xfail_reason: str | None = None

    @staticmethod
    def of(report: pytest.TestReport, error: BaseException | None) -> PhaseEnd:
        """Read pytest's report of a phase.

        Args:
            report: The report, with the outcome that counts.
            error: The exception that the phase ended with.
        """
        text = skip_reason = ""
        detail: str | None = None
        xfail_reason: str | None = None
        if report.outcome == "failed":
            detail = report.longreprtext
            if error is None:
                text = detail.strip().splitlines()[-1] if detail.strip() else "failed"
        elif report.outcome == "skipped":
            if hasattr(report, "wasxfail"):
                xfail_reason = str(report.wasxfail).removeprefix("reason: ")
                detail = report.longreprtext
            else:
                skip_reason = str(getattr(error, "msg", "") or error or "skipped")
        return PhaseEnd(
            fact=PhaseFact(when=report.when or "call", outcome=report.outcome, error=error, text=text),
            duration_s=report.duration,
            detail=detail,
            skip_reason=skip_reason,
            xfail_reason=xfail_reason,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """What the teardown of a test leaves for the next test.

    Attributes:
        keep_loaded: Drivers that the next test needs as they are.
        last_here: No other test will use its fork.
    """

    keep_loaded: frozenset[str] = frozenset()
    last_here: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """A guest that answered nothing any more, and that the lab therefore ended. Later events come from the lab.

    Attributes:
        events_to: Only events of QEMU before this one come from the guest itself.
        records_to: Number of records of the window at that time.
        evidence: What was saved of it.
    """

    events_to: int
    records_to: int
    evidence: SavedEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """The closed window of a test.

    Attributes:
        window: Its prints.
        guest_alive: The guest's virtual machine still ran.
    """

    window: Window
    guest_alive: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What was saved when the window was closed.

    Attributes:
        evidence: The files, where there was a crash or a hang.
        where: Function and line of the test's fault, if that lies in one of its drivers.
    """

    evidence: SavedEvidence | None = None
    where: str = ""
