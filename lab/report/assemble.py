"""From workers to one report: ``run.json`` is made from the workers' files, whatever their order."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lab.gate.exitcode import exit_code
from lab.gate.outside import (
    NO_REASON,
    FaultVerdict,
    ended_on_purpose,
    fault_after_test,
    fault_before_tests,
    never_started,
    not_collected,
)
from lab.gate.repeats import deciding, passes
from lab.gate.verdict import Decision, Verdict
from lab.report.covered import make_coverage
from lab.report.leaks import forget_leaks, move_leaks
from lab.report.model import Attempt, Fault, ForksEntry, GuestEntry, RateEntry, RunReport, TemplateEntry, TestEntry
from lab.report.runfiles import RunMeta
from lab.report.sessionfile import SessionFacts, read_session
from lab.report.worker_files import read_workers


def assemble(
    out: Path,
    meta: RunMeta,
    *,
    duration_s: float | None = None,
    ended: str = "",
    interrupted: bool = False,
) -> RunReport:
    """Make the report of a run from its workers' files.

    Args:
        out: The run's folder.
        meta: What was known before the first test.
        duration_s: Wall time of the whole run; from ``meta.started_at`` to now when not given.
        ended: Why the run ended early, in words; empty if pytest ended by itself. Collected tests that never started are
            then listed as ``infra`` with this reason, unless it was interrupted.
        interrupted: The user ended the run: unfinished tests are listed as not run, without a verdict.

    Returns:
        The report, tests sorted by their id and guests by worker and start, whatever order the workers wrote in. A driver
        fault outside of every test's window makes the last test on its guest a ``crash``; where no test ran on the guest,
        an entry ``<guest_id>::boot`` stands for it.
    """
    records = read_workers(out)
    session = read_session(out) or SessionFacts()
    interrupted = interrupted or session.stopped_by == "interrupt"
    guests = _last_guests(records.guests)
    # A test that was interrupted on purpose was not lost by its worker.
    by_will = interrupted or session.stopped_by == "exit"
    runs = _each_once([*records.tests, *([] if by_will else records.unfinished)])
    tests = _merge(move_leaks(runs, meta.known), repeat=meta.repeat)
    for guest in guests:
        _apply_faults(tests, guest)
    forget_leaks(tests)
    seen = {test.nodeid for test in tests}
    not_run = [nodeid for nodeid in dict.fromkeys(records.collected) if nodeid not in seen]
    for error in session.collection_errors:
        decision = not_collected(error.verdict, error.reason)
        tests.append(_without_run(error.nodeid, decision, meta, details=error.details))
    ended = ended or session.stopped
    wanted = ended_on_purpose(session.stopped_by, suites_fault=session.blame == "test", interrupted=interrupted)
    if not_run and not wanted:
        tests += [_without_run(nodeid, never_started(ended), meta) for nodeid in not_run]
        ended = ended or NO_REASON
        not_run = []
    tests.sort(key=lambda test: test.nodeid)
    coverage = make_coverage(out, meta, records.coverage, order=[test.nodeid for test in tests], used=_used(tests))
    totals: Counter[Verdict] = Counter(test.verdict for test in tests)
    missing = Counter(test.missing_capability for test in tests if test.verdict == "skipped" and test.missing_capability)
    return RunReport(
        lab_version=meta.lab_version,
        started=meta.started,
        duration_s=round(time.time() - meta.started_at if duration_s is None else duration_s, 3),
        command=meta.command,
        root=meta.root,
        exit_code=exit_code({str(verdict): count for verdict, count in totals.items()}),
        guest=meta.guest,
        image=meta.image,
        accelerator=meta.accelerator,
        clock=meta.clock,
        qemu=meta.qemu,
        machine=meta.machine,
        verifier=meta.verifier,
        workers=meta.workers,
        repeat=meta.repeat,
        drivers=meta.drivers,
        totals=dict(totals),
        skipped_for=dict(sorted(missing.items())),
        prints=sum(len(test.prints) + sum(len(a.prints) for a in test.history) for test in tests),
        unattributed_prints=sum(len(guest.unattributed) for guest in guests),
        times=_times(guests, tests),
        templates=_templates(records.forks, guests),
        failed_forks=sum(entry.failed for entry in records.forks),
        coverage=coverage,
        fork_notes=list(dict.fromkeys(note for entry in records.forks for note in entry.notes)),
        guests=guests,
        tests=tests,
        not_run=not_run,
        ended=ended,
        deselected=session.deselected,
        # A folder may have more drivers than the selected tests use: it was checked if one of its drivers was.
        unused_drivers=[name for names in meta.driver_paths if _used(tests).isdisjoint(names) for name in names],
    )


def _used(tests: Iterable[TestEntry]) -> set[str]:
    """Names of the drivers that tests used."""
    return {name for test in tests if test.verdict != "skipped" for name in test.drivers}


def _without_run(nodeid: str, decision: Decision, meta: RunMeta, *, details: str = "") -> TestEntry:
    """The entry of a test that was never run, or of a suite that was not collected."""
    return TestEntry(
        nodeid=nodeid,
        verdict=decision.verdict,
        reason=decision.reason,
        signature=decision.signature,
        duration_s=0.0,
        started=meta.started_at,
        worker="",
        details=details,
    )


def _apply_faults(tests: list[TestEntry], guest: GuestEntry) -> None:
    """Let the gate judge a guest's driver faults outside of every window; changes ``tests`` in place."""
    # A test that ran on this guest is listed once for each of its attempts there.
    ran = [(test.started, index) for index, test in enumerate(tests) if test.guest_id == guest.guest_id]
    ran += [
        (attempt.started, index)
        for index, test in enumerate(tests)
        for attempt in test.history
        if attempt.guest_id == guest.guest_id
    ]
    if not ran:
        early = fault_before_tests(guest.guest_id, guest.faults)
        if early is not None:
            tests.append(_boot_entry(guest, early))
        return
    started, index = max(ran)
    test = tests[index]
    code = test.fault.code if test.fault is not None else None
    late = fault_after_test(guest.faults, verdict=test.verdict, reason=test.reason, known_code=code)
    if late is None:
        return
    changed = {"verdict": late.decision.verdict, "reason": late.decision.reason, "signature": late.decision.signature}
    history = [
        attempt.model_copy(update=changed) if (attempt.guest_id, attempt.started) == (guest.guest_id, started) else attempt
        for attempt in test.history
    ]
    more = {"fault": late.fault, "history": history, "evidence": [*test.evidence, *guest.evidence]}
    tests[index] = test.model_copy(update=changed | more)


def _boot_entry(guest: GuestEntry, early: FaultVerdict[Fault]) -> TestEntry:
    """The entry that stands for a guest which crashed before any test."""
    return TestEntry(
        nodeid=f"{guest.guest_id}::boot",
        verdict=early.decision.verdict,
        reason=early.decision.reason,
        signature=early.decision.signature,
        duration_s=0.0,
        started=guest.started,
        worker=guest.worker,
        guest_id=guest.guest_id,
        fault=early.fault,
        evidence=guest.evidence,
    )


def _each_once(entries: Iterable[TestEntry]) -> list[TestEntry]:
    """The executions: one that was written twice (same worker, same start) is one, and its later line has more facts."""
    return list({(entry.nodeid, entry.started, entry.worker): entry for entry in entries}.values())


def _merge(entries: Iterable[TestEntry], *, repeat: int) -> list[TestEntry]:
    """One entry for each id: the last attempt decides, the earlier ones become its history.

    Of a repeated test, the gate says which one decides; it is the last one of the history then.
    """
    by_id: dict[str, list[TestEntry]] = {}
    for entry in entries:
        by_id.setdefault(entry.nodeid, []).append(entry)
    merged = []
    for found in by_id.values():
        attempts = sorted(found, key=lambda entry: (entry.started, entry.worker))
        if repeat > 1:
            attempts.append(attempts.pop(deciding([attempt.verdict for attempt in attempts])))
        last = attempts[-1]
        rate = _rate(attempts, repeat) if repeat > 1 else None
        if len(attempts) == 1:
            merged.append(last.model_copy(update={"rate": rate}) if rate else last)
            continue
        history = [attempt for entry in attempts for attempt in (entry.history or [_attempt(entry, entry is last)])]
        merged.append(last.model_copy(update={"history": history, "attempts": len(history), "rate": rate}))
    return merged


def _rate(attempts: Sequence[TestEntry], wanted: int) -> RateEntry | None:
    failures = passes([attempt.verdict for attempt in attempts])
    if failures is None:
        return None
    low, high = failures.interval()
    return RateEntry(
        wanted=wanted,
        runs=failures.runs,
        failed=failures.failed,
        lost=sum(attempt.verdict == "infra" for attempt in attempts),
        low=round(1 - high, 4),
        high=round(1 - low, 4),
    )


def _attempt(entry: TestEntry, last: bool) -> Attempt:
    return Attempt(
        verdict=entry.verdict,
        reason=entry.reason,
        signature=entry.signature,
        duration_s=entry.duration_s,
        guest_id=entry.guest_id,
        worker=entry.worker,
        started=entry.started,
        details="" if last else entry.details,
        prints=[] if last else entry.prints,
        evidence=[] if last else entry.evidence,
        processor=entry.processor,
    )


def _last_guests(entries: Iterable[GuestEntry]) -> list[GuestEntry]:
    last = {entry.guest_id: entry for entry in entries}
    known = [
        guest if guest.ended else guest.model_copy(update={"ended": "its worker ended unexpectedly"}) for guest in last.values()
    ]
    return sorted(known, key=lambda guest: (guest.worker, guest.started, guest.guest_id))


def _templates(entries: Sequence[ForksEntry], guests: Sequence[GuestEntry]) -> list[TemplateEntry]:
    """Each template that was forked, once; its maker's entry has the time that it took."""
    found: dict[str, TemplateEntry] = {}
    for template in (template for entry in entries for template in entry.templates):
        known = found.setdefault(template.key, template)
        if known.made_s is None:
            found[template.key] = template
    forks = Counter(guest.template for guest in guests if guest.template)
    used = (t.model_copy(update={"forks": forks[t.key]}) for t in found.values() if forks[t.key])
    return sorted(used, key=lambda t: t.name)


def _times(guests: Sequence[GuestEntry], tests: Sequence[TestEntry]) -> dict[str, float]:
    """Means over the guests that have the figure, and the wall time from the first test's start to the last one's end."""
    columns = {
        "boot": [guest.boot_s for guest in guests],
        "fork": [guest.fork_s for guest in guests],
        "wait for a fork": [guest.wait_s for guest in guests if guest.template],
        "copy": [guest.copy_s for guest in guests],
        "load": [guest.load_s for guest in guests],
    }
    times = {}
    for name, column in columns.items():
        values = [value for value in column if value is not None]
        if values:
            times[name] = round(sum(values) / len(values), 3)
    ran = [test for test in tests if test.worker]
    if ran:
        times["suites"] = round(max(t.started + t.duration_s for t in ran) - min(t.started for t in ran), 3)
    return times
