"""From workers to one report: ``run.json`` is made of what the workers wrote down, in whatever order they did."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lab.report.model import NO_CODE, Attempt, Fault, ForksEntry, GuestEntry, RunReport, TemplateEntry, TestEntry, Verdict
from lab.report.runfiles import RunMeta
from lab.report.sessionfile import CollectionError, SessionFacts, read_session
from lab.report.workers import read_workers


def assemble(
    out: Path,
    meta: RunMeta,
    *,
    exit_code: Callable[[Mapping[str, int]], int],
    duration_s: float | None = None,
    ended: str = "",
    interrupted: bool = False,
) -> RunReport:
    """Make the report of a run from what its workers left.

    Args:
        out: The run's folder.
        meta: What was known before the first test.
        exit_code: The gate's rule: totals -> exit code (:func:`lab.gate.exitcode.exit_code`).
        duration_s: Wall time of the whole run; from ``meta.started_at`` to now when not given.
        ended: How the run died, in words; empty when pytest came to its own end. Collected tests that never started are
            then listed as ``infra`` with this reason, unless it was interrupted.
        interrupted: Somebody wanted the run to end: what had not run to its end by then is not run, and nobody's fault.

    Returns:
        The report, tests sorted by their id and guests by worker and start, whatever order the workers wrote in. A driver
        fault outside of every test's window makes the last test on its guest a ``crash``; where no test ran on the guest,
        an entry ``<guest_id>::boot`` stands for it.
    """
    records = read_workers(out)
    session = read_session(out) or SessionFacts()
    interrupted = interrupted or session.stopped_by == "interrupt"
    guests = _last_guests(records.guests)
    # A test in whose middle the run was ended by will is not lost by its worker.
    by_will = interrupted or session.stopped_by == "exit"
    tests = _merge([*records.tests, *([] if by_will else records.unfinished)])
    for guest in guests:
        _blame(tests, guest)
    seen = {test.nodeid for test in tests}
    not_run = [nodeid for nodeid in dict.fromkeys(records.collected) if nodeid not in seen]
    tests += [_not_collected(error, meta) for error in session.collection_errors]
    ended = ended or session.stopped
    wanted = by_will or session.stopped_by == "stop" or (session.stopped_by and session.blame == "test")
    if not_run and not wanted:
        # pytest died, or has lost them, as when xdist gives up after some dead workers.
        ended = ended or "pytest ended before it"
        tests += [_never_ran(nodeid, meta, ended) for nodeid in not_run]
        not_run = []
    tests.sort(key=lambda test: test.nodeid)
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
        qemu=meta.qemu,
        machine=meta.machine,
        workers=meta.workers,
        drivers=meta.drivers,
        totals=dict(totals),
        skipped_for=dict(sorted(missing.items())),
        prints=sum(len(test.prints) + sum(len(a.prints) for a in test.history) for test in tests),
        unattributed_prints=sum(len(guest.unattributed) for guest in guests),
        times=_times(guests, tests),
        templates=_templates(records.forks, guests),
        failed_forks=sum(entry.failed for entry in records.forks),
        fork_notes=list(dict.fromkeys(note for entry in records.forks for note in entry.notes)),
        guests=guests,
        tests=tests,
        not_run=not_run,
        ended=ended,
        deselected=session.deselected,
        # A folder may hold more than one selection of tests is about: it was checked when one of its drivers was.
        unused_drivers=[name for names in meta.driver_paths if _used(tests).isdisjoint(names) for name in names],
    )


def _used(tests: Iterable[TestEntry]) -> set[str]:
    """Names of the drivers that something was tried with."""
    return {name for test in tests if test.verdict != "skipped" for name in test.drivers}


def _not_collected(error: CollectionError, meta: RunMeta) -> TestEntry:
    return TestEntry(
        nodeid=error.nodeid,
        verdict=error.verdict,
        reason=f"cannot be collected: {error.reason}",
        duration_s=0.0,
        started=meta.started_at,
        worker="",
        details=error.details,
    )


def _say(fault: Fault) -> str:
    """A fault in one line."""
    if fault.code == NO_CODE:
        return fault.text
    kind = "bugcheck" if len(fault.parameters) == 4 else "driver fault"
    return f"{kind} {fault.code}: {fault.text}"


def _never_ran(nodeid: str, meta: RunMeta, ended: str) -> TestEntry:
    return TestEntry(
        nodeid=nodeid,
        verdict="infra",
        reason=f"never started: {ended}",
        duration_s=0.0,
        started=meta.started_at,
        worker="",
    )


def _blame(tests: list[TestEntry], guest: GuestEntry) -> None:
    """Have a guest's driver faults that are no test's make the run red; changes ``tests`` in place."""
    if not guest.faults:
        return
    # A test that ran on this guest is here once for each of its attempts there.
    ran = [(test.started, index) for index, test in enumerate(tests) if test.guest_id == guest.guest_id]
    ran += [
        (attempt.started, index)
        for index, test in enumerate(tests)
        for attempt in test.history
        if attempt.guest_id == guest.guest_id
    ]
    if not ran:
        fault = guest.faults[0]
        tests.append(
            TestEntry(
                nodeid=f"{guest.guest_id}::boot",
                verdict="crash",
                reason=f"before any test, on guest {guest.guest_id}: {_say(fault)}",
                duration_s=0.0,
                started=guest.started,
                worker=guest.worker,
                guest_id=guest.guest_id,
                fault=fault,
                evidence=guest.evidence,
            )
        )
        return
    started, index = max(ran)
    test = tests[index]
    # A driver's host that goes down may say so again behind the window that was credited with it.
    new = [fault for fault in guest.faults if test.fault is None or fault.code != test.fault.code]
    if test.verdict == "crash" or not new:
        return
    was = f" (it was {test.verdict}{': ' if test.reason else ''}{test.reason})"
    reason = f"after the test, on its guest: {_say(new[0])}{was}"
    history = [
        attempt.model_copy(update={"verdict": "crash", "reason": reason})
        if (attempt.guest_id, attempt.started) == (guest.guest_id, started)
        else attempt
        for attempt in test.history
    ]
    evidence = [*test.evidence, *guest.evidence]
    changes = {"verdict": "crash", "reason": reason, "fault": new[0], "history": history, "evidence": evidence}
    tests[index] = test.model_copy(update=changes)


def _merge(entries: Iterable[TestEntry]) -> list[TestEntry]:
    """One entry for each id: the last attempt decides, the earlier ones become its history."""
    by_id: dict[str, dict[tuple[float, str], TestEntry]] = {}
    for entry in entries:
        # The same execution written twice (same worker, same start) is one attempt; the later line knows more.
        by_id.setdefault(entry.nodeid, {})[(entry.started, entry.worker)] = entry
    merged = []
    for found in by_id.values():
        attempts = [found[key] for key in sorted(found)]
        last = attempts[-1]
        if len(attempts) == 1:
            merged.append(last)
            continue
        history = [attempt for entry in attempts for attempt in (entry.history or [_attempt(entry, entry is last)])]
        merged.append(last.model_copy(update={"history": history, "attempts": len(history)}))
    return merged


def _attempt(entry: TestEntry, last: bool) -> Attempt:
    return Attempt(
        verdict=entry.verdict,
        reason=entry.reason,
        duration_s=entry.duration_s,
        guest_id=entry.guest_id,
        worker=entry.worker,
        started=entry.started,
        details="" if last else entry.details,
        prints=[] if last else entry.prints,
        evidence=[] if last else entry.evidence,
    )


def _last_guests(entries: Iterable[GuestEntry]) -> list[GuestEntry]:
    last = {entry.guest_id: entry for entry in entries}
    known = [
        guest if guest.ended else guest.model_copy(update={"ended": "its worker ended without a word"})
        for guest in last.values()
    ]
    return sorted(known, key=lambda guest: (guest.worker, guest.started, guest.guest_id))


def _templates(entries: Sequence[ForksEntry], guests: Sequence[GuestEntry]) -> list[TemplateEntry]:
    """Each template that was forked, once; who made it knows how long that took."""
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
