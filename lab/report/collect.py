"""From workers to one report: ``run.json`` is made of what the workers wrote down, in whatever order they did."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from lab.prints.record import FaultRecord, PrintRecord
from lab.report.model import (
    Attempt,
    DriverEntry,
    Fault,
    ForksEntry,
    GuestEntry,
    ImageEntry,
    PrintEntry,
    RunReport,
    TemplateEntry,
    TestEntry,
    Verdict,
)
from lab.report.workers import WORKERS_DIR, ResultWriter, WorkerRecords, read_workers

__all__ = [
    "META_FILE",
    "RUN_FILE",
    "WORKERS_DIR",
    "ResultWriter",
    "RunMeta",
    "WorkerRecords",
    "assemble",
    "fault_entry",
    "print_entry",
    "read_meta",
    "read_run",
    "read_workers",
    "write_meta",
    "write_run",
]

META_FILE = "meta.json"
RUN_FILE = "run.json"


class RunMeta(BaseModel):
    """What is known about a run before its first test; kept in the out folder so that a dead run can be reported."""

    model_config = ConfigDict(extra="forbid")

    lab_version: str
    started: str = Field(description="UTC, ISO 8601")
    started_at: float = Field(description="the same moment in seconds since the epoch")
    command: list[str] = Field(default_factory=list)
    guest: str
    image: ImageEntry
    accelerator: str
    qemu: str
    workers: int
    drivers: list[DriverEntry] = Field(default_factory=list)


def write_meta(out: Path, meta: RunMeta) -> None:
    """Keep ``meta`` in the out folder for whoever assembles the report, also when pytest dies."""
    out.mkdir(parents=True, exist_ok=True)
    _replace(out / META_FILE, meta.model_dump_json(indent=2) + "\n")


def read_meta(out: Path) -> RunMeta | None:
    """Read what :func:`write_meta` kept; None when the run died before that."""
    path = out / META_FILE
    return RunMeta.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None


def assemble(
    out: Path,
    meta: RunMeta,
    *,
    exit_code: Callable[[Mapping[str, int]], int],
    duration_s: float | None = None,
    ended: str = "",
) -> RunReport:
    """Make the report of a run from what its workers left.

    Args:
        out: The run's folder.
        meta: What was known before the first test.
        exit_code: The gate's rule: totals -> exit code (:func:`lab.gate.exitcode.exit_code`).
        duration_s: Wall time of the whole run; from ``meta.started_at`` to now when not given.
        ended: How the run died, in words; empty when it came to its end. Collected tests that never started are then
            listed as ``infra`` with this reason; in a run that came to its end they were left out on purpose (``-x``).

    Returns:
        The report, tests sorted by their id and guests by worker and start, whatever order the workers wrote in. A driver
        fault outside of every test's window makes the last test on its guest a ``crash``; where no test ran on the guest,
        an entry ``<guest_id>::boot`` stands for it.
    """
    records = read_workers(out)
    guests = _last_guests(records.guests)
    tests = _merge([*records.tests, *records.unfinished])
    for guest in guests:
        _blame(tests, guest)
    if ended:
        seen = {test.nodeid for test in tests}
        tests += [_never_ran(nodeid, meta, ended) for nodeid in dict.fromkeys(records.collected) if nodeid not in seen]
    tests.sort(key=lambda test: test.nodeid)
    totals: Counter[Verdict] = Counter(test.verdict for test in tests)
    missing = Counter(test.missing_capability for test in tests if test.verdict == "skipped" and test.missing_capability)
    return RunReport(
        lab_version=meta.lab_version,
        started=meta.started,
        duration_s=round(time.time() - meta.started_at if duration_s is None else duration_s, 3),
        command=meta.command,
        exit_code=exit_code({str(verdict): count for verdict, count in totals.items()}),
        guest=meta.guest,
        image=meta.image,
        accelerator=meta.accelerator,
        qemu=meta.qemu,
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
    )


def write_run(out: Path, report: RunReport) -> Path:
    """Write ``run.json`` into the out folder, in one step."""
    path = out / RUN_FILE
    _replace(path, report.model_dump_json(indent=2) + "\n")
    return path


def read_run(out: Path) -> RunReport | None:
    """Read ``run.json`` of an out folder; None when there is none."""
    path = out / RUN_FILE
    return RunReport.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None


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
    )


def fault_entry(record: FaultRecord, *, driver: str | None = None) -> Fault:
    """Turn a fault of a source into its entry in the report."""
    return Fault(
        code=f"0x{record.code:08X}",
        parameters=[f"0x{value:x}" for value in record.parameters],
        text=record.text,
        driver=driver,
    )


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
                reason=f"before any test, on guest {guest.guest_id}: driver fault {fault.code}: {fault.text}",
                duration_s=0.0,
                started=guest.started,
                worker=guest.worker,
                guest_id=guest.guest_id,
                fault=fault,
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
    reason = f"after the test, on its guest: driver fault {new[0].code}: {new[0].text}{was}"
    history = [
        attempt.model_copy(update={"verdict": "crash", "reason": reason})
        if (attempt.guest_id, attempt.started) == (guest.guest_id, started)
        else attempt
        for attempt in test.history
    ]
    changes = {"verdict": "crash", "reason": reason, "fault": new[0], "history": history}
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
    )


def _last_guests(entries: Iterable[GuestEntry]) -> list[GuestEntry]:
    last = {entry.guest_id: entry for entry in entries}
    known = [
        guest if guest.ended else guest.model_copy(update={"ended": "its worker ended without a word"})
        for guest in last.values()
    ]
    return sorted(known, key=lambda guest: (guest.worker, guest.started, guest.guest_id))


def _templates(entries: Sequence[ForksEntry], guests: Sequence[GuestEntry]) -> list[TemplateEntry]:
    """Each template once; who made it knows how long that took."""
    found: dict[str, TemplateEntry] = {}
    for template in (template for entry in entries for template in entry.templates):
        known = found.setdefault(template.key, template)
        if known.made_s is None:
            found[template.key] = template
    forks = Counter(guest.template for guest in guests if guest.template)
    return sorted((t.model_copy(update={"forks": forks[t.key]}) for t in found.values()), key=lambda t: t.name)


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


def _replace(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
