"""Entries of the report, made from objects of the lab: prints, events, faults, steps, guests and their forks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lab.config.verifier import LOW_RESOURCES
from lab.crash.faults import FaultWords
from lab.crash.signs import NO_CODE, CrashSign
from lab.crash.steps import Step
from lab.lease.life import GuestLife
from lab.live.verifier import InForce, VerifierWish
from lab.prints.record import EventRecord, FaultRecord, PrintRecord
from lab.report.model import (
    EventEntry,
    EvidenceFile,
    EvidenceStep,
    Fault,
    ForksEntry,
    GuestEntry,
    PrintEntry,
    ProcessorEntry,
    TemplateEntry,
    VerifierEntry,
    WantedVerifier,
)
from lab.snapshot.fork_request import ForkFigures
from lab.vm.processor_time import ProcessorTime


def print_entry(record: PrintRecord) -> PrintEntry:
    """Turn a print of a source into its entry in the report."""
    return PrintEntry(
        sequence=record.sequence,
        host_time=record.host_time,
        guest_time=record.guest_time,
        source=record.source,
        cpu=record.cpu,
        thread=record.thread,
        component=record.component,
        level=record.level,
        raw=record.raw.hex(),
        text=record.text,
        by_kernel=record.by_kernel,
        unlike_nt=record.unlike_nt,
    )


def event_entry(record: EventRecord) -> EventEntry:
    """Turn an event of a source into its entry in the report."""
    return EventEntry(sequence=record.sequence, host_time=record.host_time, kind=record.kind, text=record.text)


def fault_entry(record: FaultRecord, *, driver: str | None = None, where: str = "", pool_tags: Sequence[str] = ()) -> Fault:
    """Turn a fault of a source into its entry in the report."""
    words = FaultWords.of(record.code, record.parameters, pool_tags=pool_tags)
    return Fault(
        code=f"0x{record.code:08X}",
        parameters=[f"0x{value:x}" for value in record.parameters],
        text=record.text,
        driver=driver,
        name=words.name,
        hint=words.hint,
        where=where,
    )


def sign_entry(sign: CrashSign) -> Fault:
    """Turn a guest's end that QEMU reported into its entry in the report; one without a code has the code 0."""
    bugcheck = sign.bugcheck
    if bugcheck is None:
        return Fault(code=NO_CODE, text=sign.text)
    return Fault(
        code=f"0x{bugcheck.code:08X}",
        parameters=[f"0x{value:x}" for value in bugcheck.parameters],
        text=sign.text,
        name=bugcheck.name,
        hint=bugcheck.hint,
    )


def step_entries(steps: Iterable[Step]) -> list[EvidenceStep]:
    """Turn the steps of a collection into their entries in the report."""
    return [EvidenceStep(name=s.name, seconds=round(s.seconds, 3), ok=s.ok, skipped=s.skipped, detail=s.detail) for s in steps]


def processor_entry(processor: ProcessorTime | None) -> ProcessorEntry | None:
    """Turn the facts about a guest's processor time into its entry in the report."""
    if processor is None:
        return None
    return ProcessorEntry(
        wall_s=round(processor.wall_s, 3),
        waited_s=round(processor.waited_s, 3),
        share=round(processor.share, 3),
        stolen_s=None if processor.stolen_s is None else round(processor.stolen_s, 3),
        pressure_s=None if processor.pressure_s is None else round(processor.pressure_s, 3),
    )


def verifier_entry(found: InForce | None) -> VerifierEntry | None:
    """Turn what Driver Verifier checks in a guest into its entry in the report."""
    if found is None:
        return None
    return VerifierEntry(
        profile=found.profile,
        way=found.way,
        checks=list(found.checks),
        unseen=list(found.unseen),
        left_out=list(found.left_out),
        drivers=list(found.drivers),
        flags=f"0x{found.flags:08X}",
        notes=list(found.notes),
        answer=found.answer,
    )


def wanted_verifier(wish: VerifierWish | None) -> WantedVerifier | None:
    """Turn what a run asks of Driver Verifier into its entry in the report."""
    if wish is None:
        return None
    checks = [check.name for check in wish.profile.chosen]
    low = LOW_RESOURCES in checks
    return WantedVerifier(
        profile=wish.name,
        checks=checks,
        drivers=list(wish.drivers),
        probability=wish.profile.probability if low else None,
        pool_tags=list(wish.profile.pool_tags),
        applications=list(wish.profile.applications),
        delay_minutes=wish.profile.delay_minutes if low else None,
    )


def guest_entry(
    life: GuestLife, *, worker: str, sign: CrashSign | None = None, evidence: Sequence[EvidenceFile] = ()
) -> GuestEntry:
    """Turn what is known about a guest into its entry in the report.

    Args:
        life: The guest's life so far.
        worker: Whose guest it is.
        sign: How it ended itself outside of every test, by QEMU; its fault if the kernel reported none.
        evidence: What was saved of that.
    """
    account = life.attribution
    faults = [fault_entry(record) for record in account.faults if not record.lacks]
    if sign is not None and not faults:
        faults = [sign_entry(sign)]
    return GuestEntry(
        guest_id=life.guest_id,
        worker=worker,
        clock=life.clock,
        started=life.started,
        boot_s=life.boot_s,
        fork_s=life.fork_s,
        wait_s=life.wait_s,
        template=life.template,
        copy_s=life.copy_s,
        copied_by=life.copied_by,
        copy_note=life.copy_note,
        load_s=life.load_s,
        verifier=verifier_entry(life.verifier),
        ended=life.ended,
        kept_as=life.kept_as,
        prints=account.total,
        unattributed=[print_entry(record) for record in account.unattributed],
        boot_prints=[print_entry(record) for record in account.boot],
        gaps=list(account.gaps),
        faults=faults,
        evidence=list(evidence),
    )


def forks_entry(figures: ForkFigures) -> ForksEntry:
    """Turn the facts about a worker's templates and forks into their entry in the report."""
    templates = [
        TemplateEntry(
            key=template.key,
            name=template.name,
            drivers=list(template.drivers),
            smp=template.smp,
            boot_s=template.boot_s,
            made_s=template.made_s if template.key in figures.made else None,
        )
        for template in {**figures.used, **figures.made}.values()
    ]
    return ForksEntry(templates=templates, failed=figures.failed, notes=list(figures.notes))
