"""The state of one execution of a test: the facts of its phases, and the report's entry that is made from them."""

from __future__ import annotations

from collections.abc import Sequence

from lab.crash.signs import CrashSign
from lab.gate.findings import Findings
from lab.gate.verdict import Decision
from lab.lease.lease import Lease
from lab.plugin.markers import Wishes
from lab.plugin.phases import Closing, Gathered, HandOver, Hang, PhaseEnd, Plan, Service, Skip
from lab.plugin.repeat import number_of, origin
from lab.prints.record import EventRecord, Record
from lab.prints.stream import PrintStream
from lab.prints.window import Window
from lab.report.entries import event_entry, fault_entry, print_entry, processor_entry, sign_entry, step_entries
from lab.report.model import EvidenceFile, TestEntry
from lab.vm.processor_time import ProcessorReading, ProcessorTime, between


class TestRun:
    """One execution of a test, from its setup to its teardown.

    The state is a set of facts (:mod:`lab.plugin.phases`). Each is recorded by one method, and nothing else changes it.

    Args:
        plan: What is known before its setup.

    Attributes:
        plan: As above.
    """

    #: Not a test class, whatever its name begins with.
    __test__ = False

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._skip: Skip | None = None
        self._service: Service | None = None
        self._drivers: tuple[str, ...] = ()
        self._phases: list[PhaseEnd] = []
        self._load_refused = False
        self._host_sleep = ""
        self._answers: bool | None = None
        self._sign: CrashSign | None = None
        self._hand_over = HandOver()
        self._hang: Hang | None = None
        self._closing: Closing | None = None
        self._gathered = Gathered()
        self._processor: ProcessorReading | None = None

    # The facts of its phases, in their possible order.

    def skip(self, skip: Skip) -> None:
        """The guest cannot serve the test."""
        self._skip = skip

    def serve(self, service: Service) -> None:
        """A guest serves the test, and its window is open."""
        self._service = service

    def use_drivers(self, names: Sequence[str]) -> None:
        """The test's fixtures load these drivers."""
        self._drivers = tuple(names)

    def refuse_load(self) -> None:
        """A driver's start ended with an error that a missing module has."""
        self._load_refused = True

    def sleep_on_host(self, what: str) -> None:
        """The test sleeps on the host while its guest has a virtual clock, for the first time."""
        self._host_sleep = what

    def end_phase(self, end: PhaseEnd) -> None:
        """Setup, call or teardown has ended."""
        self._phases.append(end)

    def note_processor(self, reading: ProcessorReading | None) -> None:
        """A phase has failed, or the window is closed: how long the VM has waited. The first one that is known counts."""
        self._processor = self._processor or reading

    def note_answer(self, answers: bool) -> None:
        """After a hang, another command was sent: the guest answered it or not."""
        self._answers = answers

    def note_sign(self, sign: CrashSign | None) -> None:
        """QEMU's events were read: how the guest ended itself, if it did."""
        self._sign = sign

    def end_by_hang(self, hang: Hang) -> None:
        """The guest answered nothing, and the lab has ended it."""
        self._hang = hang
        self._gathered = Gathered(evidence=hang.evidence)

    def hand_over(self, hand_over: HandOver) -> None:
        """The teardown begins, and the next test is known."""
        self._hand_over = hand_over

    def close(self, closing: Closing) -> None:
        """The window is closed."""
        self._closing = closing

    def gather(self, gathered: Gathered) -> None:
        """The evidence is saved."""
        self._gathered = gathered

    # Queries of other modules.

    @property
    def nodeid(self) -> str:
        """The test."""
        return self.plan.nodeid

    @property
    def wishes(self) -> Wishes:
        """What its markers ask for."""
        return self.plan.wishes

    @property
    def lease(self) -> Lease | None:
        """The guest that serves it, once it has one."""
        return self._service.lease if self._service else None

    @property
    def stream(self) -> PrintStream | None:
        """Its prints while it runs."""
        return self._service.stream if self._service else None

    @property
    def events_from(self) -> int:
        """Number of the last of QEMU's events before its window."""
        return self._service.events_from if self._service else 0

    @property
    def hang(self) -> Hang | None:
        """How the lab ended a guest that answered nothing, if it did."""
        return self._hang

    @property
    def answers(self) -> bool | None:
        """After a hang: whether the guest answered another command; None if none was sent."""
        return self._answers

    @property
    def sign(self) -> CrashSign | None:
        """QEMU's report that the guest ended itself."""
        return self._sign

    @property
    def window(self) -> Window | None:
        """Its prints after its end."""
        return self._closing.window if self._closing else None

    @property
    def guest_alive(self) -> bool:
        """Whether the guest's virtual machine still ran at the end."""
        return self._closing is None or self._closing.guest_alive

    @property
    def keep_loaded(self) -> frozenset[str]:
        """Drivers that the next test wants as they are."""
        return self._hand_over.keep_loaded

    @property
    def last_here(self) -> bool:
        """No other test will use its fork."""
        return self._hand_over.last_here

    @property
    def gathered(self) -> Gathered:
        """What was saved of its crash or hang."""
        return self._gathered

    @property
    def processor(self) -> ProcessorTime | None:
        """How long its guest waited for a processor, until its first failure or its end; None if unknown."""
        return between(self._service.processor, self._processor) if self._service else None

    @property
    def uses_lab(self) -> bool:
        """Whether it concerns a driver at all; a test may also request a fixture by its name while it runs."""
        return self.plan.uses_guest or self.lease is not None or self.wishes != Wishes()

    @property
    def findings(self) -> Findings:
        """The findings so far, as :mod:`lab.gate` takes them."""
        skipped = (phase.skip_reason for phase in self._phases if phase.skip_reason)
        expected = (phase.xfail_reason for phase in reversed(self._phases) if phase.xfail_reason is not None)
        return Findings(
            nodeid=origin(self.nodeid),
            started=self.plan.started,
            drivers=self.wishes.drivers,
            marked=tuple(name for name in self.wishes.drivers if name not in self.wishes.brought),
            expected_fault=self.wishes.expected_fault,
            uses_lab=self.uses_lab,
            own_modules=self.plan.own_modules,
            privileged_at=self.plan.privileged_at,
            phases=tuple(phase.fact for phase in self._phases),
            records=self._records(),
            window=self.window,
            sign=self._sign,
            hung=self._hang is not None,
            guest_alive=self.guest_alive,
            guest_answers=self._answers,
            missing=self._skip.missing if self._skip else (),
            skip_reason=self._skip.reason if self._skip else next(skipped, ""),
            xfail_reason=next(expected, None),
            load_refused=self._load_refused,
            behind=self._service.behind if self._service else None,
            processor=self.processor,
            clock=self.lease.life.clock if self.lease else "real",
            host_sleep=self._host_sleep,
            fails_allocations=self._fails_allocations,
            can_repeat=self.plan.can_repeat,
            repeated=self.plan.first_run is not None,
            fault_place=self._gathered.where,
            loaded_in=origin(self.lease.unloaded_from) if self.lease else "",
            pool_tags_of=self.plan.pool_tags_of,
        )

    def entry(self, decision: Decision, worker: str, files: Sequence[EvidenceFile] = ()) -> TestEntry:
        """The report's entry.

        Args:
            decision: The gate's verdict.
            worker: ``gw0``, …
            files: The evidence as the report names it.
        """
        findings = self.findings
        first = next(iter(findings.all_faults), None) or findings.anothers_fault
        accused = findings.accused
        tags = self.plan.pool_tags_of(accused) if accused else ()
        fault = fault_entry(first, driver=accused, where=self._gathered.where, pool_tags=tags) if first is not None else None
        if findings.lacks:
            fault = None  # a missing function of the stand-in does not count against a driver
        elif fault is None and self._sign is not None:
            fault = sign_entry(self._sign)
        window, saved = self.window, self._gathered.evidence
        events = [record for record in window.records if isinstance(record, EventRecord)] if window else []
        return TestEntry(
            nodeid=origin(self.nodeid),
            repetition=number_of(self.nodeid),
            verdict=decision.verdict,
            reason=decision.reason,
            signature=decision.signature,
            duration_s=round(sum(phase.duration_s for phase in self._phases), 6),
            started=self.plan.started,
            worker=worker,
            guest_id=self.lease.life.guest_id if self.lease else None,
            clock=self.lease.life.clock if self.lease else None,
            missing_capability=findings.capability,
            drivers=list(self._drivers or self.wishes.drivers),
            fault=fault,
            left_by=findings.left_by,
            details="\n\n".join(phase.detail for phase in self._phases if phase.detail is not None),
            prints=[print_entry(record) for record in window.prints] if window else [],
            events=[event_entry(record) for record in events],
            evidence=list(files),
            evidence_steps=step_entries(saved.steps) if saved else [],
            hang=saved.hang if saved else None,
            note=self._note(),
            processor=processor_entry(self.processor),
        )

    def _note(self) -> str:
        """Why it was run again, with the figures of both runs; empty for a first run."""
        first = self.plan.first_run
        if first is None:
            return ""
        this = f"it {self.processor.text}" if self.processor is not None else "how long it waited for a processor is unknown"
        return f"run again in a fresh guest: the first run failed by time while its guest {first.text}; in this run {this}"

    @property
    def _fails_allocations(self) -> bool:
        verifier = self.lease.guest.verifier if self.lease else None
        return verifier is not None and verifier.fails_allocations

    def _records(self) -> Sequence[Record]:
        """The records in the test's window."""
        if self._closing is not None:
            return self._closing.window.records
        return tuple(self.lease.ledger.peek()) if self.lease is not None else ()
