"""From workers to one report: each worker appends flushed JSON lines, and a pure function makes the run of them.

A line is written with one ``write`` to a file opened for appending, so whatever a worker recorded before it was killed is
there. A test is announced before it starts; one without an end is the test in which its worker died.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.prints.record import FaultRecord, PrintRecord
from lab.report.model import (
    Attempt,
    DriverEntry,
    Fault,
    GuestEntry,
    ImageEntry,
    PrintEntry,
    RunReport,
    TestEntry,
    Verdict,
)

META_FILE = "meta.json"
RUN_FILE = "run.json"
WORKERS_DIR = "workers"


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


class ResultWriter:
    """Appends what one worker finds out to three files under ``out/workers/``; safe against being killed.

    ``<worker>.<pid>.tests.jsonl`` has a line for each finished test, ``….guests.jsonl`` one for each thing learned about a
    guest, ``….begun.jsonl`` the list of collected tests and the announcement of each test. The process id keeps a torn last
    line of a killed worker apart from the lines of its successor.

    Args:
        out: The run's folder; made if it is not there.
        worker: ``gw0``, …; ``master`` without xdist.
    """

    def __init__(self, out: Path, worker: str) -> None:
        self._folder = out / WORKERS_DIR
        self._folder.mkdir(parents=True, exist_ok=True)
        self._stem = f"{worker}.{os.getpid()}"
        self._files: dict[str, int] = {}
        self.worker = worker

    def collected(self, nodeids: Sequence[str]) -> None:
        """Record the ids of all tests of the run; one worker is enough, more do no harm."""
        self._append("begun", json.dumps({"collected": list(nodeids)}))

    def begin(self, nodeid: str, *, started: float, guest_id: str | None = None) -> None:
        """Announce a test before its setup, so that it is known when the worker dies in it.

        Args:
            nodeid: The test.
            started: Host wall clock in seconds.
            guest_id: The guest that will serve it, where it is known already.
        """
        self._append("begun", json.dumps({"nodeid": nodeid, "started": started, "guest_id": guest_id}))

    def test(self, entry: TestEntry) -> None:
        """Record one finished execution of a test; a rerun writes another entry with the same id."""
        self._append("tests", entry.model_dump_json())

    def guest(self, entry: GuestEntry) -> None:
        """Record a guest: once it is ready, and again whenever more is known. The last entry of an id wins."""
        self._append("guests", entry.model_dump_json())

    def close(self) -> None:
        """Close the files; safe to call twice."""
        while self._files:
            os.close(self._files.popitem()[1])

    def __enter__(self) -> ResultWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _append(self, kind: str, line: str) -> None:
        if kind not in self._files:
            path = self._folder / f"{self._stem}.{kind}.jsonl"
            self._files[kind] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        payload = line.encode("utf-8") + b"\n"
        while payload:
            payload = payload[os.write(self._files[kind], payload) :]


class _Begun(BaseModel):
    """A line of ``….begun.jsonl``: the collected tests, or the announcement of one."""

    collected: list[str] = Field(default_factory=list)
    nodeid: str = ""
    started: float = 0.0
    guest_id: str | None = None


@dataclass(slots=True)
class WorkerRecords:
    """What the JSON lines of a run say, before anything is concluded from it."""

    collected: list[str] = field(default_factory=list)
    tests: list[TestEntry] = field(default_factory=list)
    guests: list[GuestEntry] = field(default_factory=list)
    #: Tests that were announced and have no end, as the entries that they get in the report.
    unfinished: list[TestEntry] = field(default_factory=list)
    #: Lines that are no records, with file and line number; a torn last line is normal for a killed worker.
    damaged: list[str] = field(default_factory=list)


def write_meta(out: Path, meta: RunMeta) -> None:
    """Keep ``meta`` in the out folder for whoever assembles the report, also when pytest dies."""
    out.mkdir(parents=True, exist_ok=True)
    _replace(out / META_FILE, meta.model_dump_json(indent=2) + "\n")


def read_meta(out: Path) -> RunMeta | None:
    """Read what :func:`write_meta` kept; None when the run died before that."""
    path = out / META_FILE
    return RunMeta.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None


def read_workers(out: Path) -> WorkerRecords:
    """Read all workers' files, in the order of their names."""
    records = WorkerRecords()
    folder = out / WORKERS_DIR
    stems = {path.name.rsplit(".", 2)[0] for path in folder.glob("*.jsonl")}
    for stem in sorted(stems):
        tests = list(_lines(folder / f"{stem}.tests.jsonl", TestEntry, records.damaged))
        records.tests += tests
        records.guests += _lines(folder / f"{stem}.guests.jsonl", GuestEntry, records.damaged)
        begun = list(_lines(folder / f"{stem}.begun.jsonl", _Begun, records.damaged))
        records.collected += [nodeid for line in begun for nodeid in line.collected]
        records.unfinished += _unfinished(stem.split(".", 1)[0], begun, tests)
    return records


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
        The report, tests sorted by their id and guests by worker and start, whatever order the workers wrote in.
    """
    records = read_workers(out)
    guests = _last_guests(records.guests)
    tests = _merge([*records.tests, *records.unfinished])
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


_Line = TypeVar("_Line", bound=BaseModel)


def _lines(path: Path, model: type[_Line], damaged: list[str]) -> Iterator[_Line]:
    if not path.exists():
        return
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            yield model.model_validate_json(line)
        except ValidationError:
            damaged.append(f"{path.name}:{number}")


def _unfinished(worker: str, begun: Iterable[_Begun], tests: Iterable[TestEntry]) -> list[TestEntry]:
    """The announced tests that have no end; an end pairs with the first announcement of the same test."""
    ends = Counter(test.nodeid for test in tests)
    found = []
    for line in begun:
        if not line.nodeid:
            continue
        if ends[line.nodeid]:
            ends[line.nodeid] -= 1
            continue
        found.append(
            TestEntry(
                nodeid=line.nodeid,
                verdict="infra",
                reason=f"worker {worker} ended in the middle of this test",
                duration_s=0.0,
                started=line.started,
                worker=worker,
                guest_id=line.guest_id,
            )
        )
    return found


def _never_ran(nodeid: str, meta: RunMeta, ended: str) -> TestEntry:
    return TestEntry(
        nodeid=nodeid,
        verdict="infra",
        reason=f"never started: {ended}",
        duration_s=0.0,
        started=meta.started_at,
        worker="",
    )


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


def _times(guests: Sequence[GuestEntry], tests: Sequence[TestEntry]) -> dict[str, float]:
    """Means over the guests that have the figure, and the wall time from the first test's start to the last one's end."""
    columns = {
        "boot": [guest.boot_s for guest in guests],
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
