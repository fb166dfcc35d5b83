"""The files that workers write during a run, and reading them.

A line is written at once to a file opened for appending, so the records of a killed worker are complete. A test is announced
before it starts; one without an end is the test during which its worker died.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from lab.coverage.recorded import TestCounters
from lab.gate.outside import never_ended
from lab.host.passed import said
from lab.prints.live import PrintFile
from lab.report.elsewhere import all_folders, other_folders
from lab.report.model import ForksEntry, GuestEntry, TestEntry, Text, as_json

_LOG = logging.getLogger(__name__)
WORKERS_DIR = "workers"
_PRINT_FILE = TypeAdapter(PrintFile)


class ResultWriter:
    """Appends the results of one worker to files under ``out/workers/``; they survive a kill.

    ``<worker>.<pid>.tests.jsonl`` has a line for each finished test, ``….guests.jsonl`` one for each new fact about a guest,
    ``….coverage.jsonl`` one for what a test has run of a driver, ``….prints.jsonl`` one for the file with the prints of a
    guest, ``….begun.jsonl`` the list of collected tests and the announcement of each test. The process id keeps a torn last
    line of a killed worker apart from the lines of its successor.

    Args:
        out: The run's folder; made if it is not there.
        worker: ``gw0``, …; ``master`` without xdist.
    """

    def __init__(self, out: Path, worker: str) -> None:
        #: Folders for the lines; the next one is used when one is full.
        self._folders = [folder / WORKERS_DIR for folder in (out, *other_folders(out))]
        self._stem = f"{worker}.{os.getpid()}"
        self._files: dict[str, int] = {}
        self.worker = worker

    def collected(self, nodeids: Sequence[str]) -> None:
        """Record the ids of all tests of the run; one worker is enough, and more do no harm."""
        self._append("begun", as_json(_Begun(collected=list(nodeids))))

    def begin(self, nodeid: str, *, started: float, guest_id: str | None = None) -> None:
        """Announce a test before its setup, so that it is known when the worker dies in it.

        Args:
            nodeid: The test.
            started: Host wall clock in seconds.
            guest_id: Its guest, if that is known already.
        """
        _LOG.info("begins: %s", nodeid)
        self._append("begun", as_json(_Begun(nodeid=nodeid, started=started, guest_id=guest_id)))

    def test(self, entry: TestEntry) -> None:
        """Record one finished execution of a test; a rerun writes another entry with the same id."""
        reason = f": {entry.reason}" if entry.reason else ""
        _LOG.info("%s after %.2f s: %s%s", entry.verdict, entry.duration_s, entry.nodeid, reason)
        self._append("tests", as_json(entry))

    def guest(self, entry: GuestEntry) -> None:
        """Record a guest: once it is ready, and again whenever more is known. The last entry of an id wins."""
        self._append("guests", as_json(entry))

    def coverage(self, entry: TestCounters) -> None:
        """Record what a test has run of a driver."""
        self._append("coverage", as_json(entry))

    def forks(self, entry: ForksEntry) -> None:
        """Record the facts about this worker's forks, at its end."""
        self._append("forks", as_json(entry))

    def prints(self, file: PrintFile) -> None:
        """Record where the prints of a guest that is ready are, for `lab prints`; the folder is removed with the guest."""
        self._append("prints", _PRINT_FILE.dump_json(file).decode("utf-8"))

    def close(self) -> None:
        """Close the files; safe to call twice."""
        while self._files:
            os.close(self._files.popitem()[1])

    def __enter__(self) -> ResultWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _append(self, kind: str, line: str) -> None:
        payload = line.encode("utf-8") + b"\n"
        while True:
            try:
                self._write(kind, payload)
                return
            except OSError as error:
                _LOG.warning("%s cannot store more results: %s", self._folders[0], said(error))
                # The rest of a torn line is not a record; this line is written again completely.
                if len(self._folders) == 1:
                    raise
                self._folders.pop(0)
                self.close()

    def _write(self, kind: str, payload: bytes) -> None:
        if kind not in self._files:
            self._folders[0].mkdir(parents=True, exist_ok=True)
            path = self._folders[0] / f"{self._stem}.{kind}.jsonl"
            self._files[kind] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        while payload:
            payload = payload[os.write(self._files[kind], payload) :]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPrints:
    """The guests of a worker's process, whose prints can be read.

    Attributes:
        worker: ``gw0``, …; ``master`` without xdist.
        pid: Its process.
        files: One for each guest, in their order.
    """

    worker: str
    pid: int
    files: tuple[PrintFile, ...]


def read_prints(out: Path) -> list[WorkerPrints]:
    """Where the prints of a run's guests are, by worker; also during the run."""
    found = []
    for path in (path for folder in all_folders(out) for path in sorted((folder / WORKERS_DIR).glob("*.prints.jsonl"))):
        worker, _, pid = path.name.removesuffix(".prints.jsonl").partition(".")
        whole = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        files = tuple(dict.fromkeys(_PRINT_FILE.validate_json(line) for line in whole))
        found.append(WorkerPrints(worker=worker, pid=int(pid), files=files))
    return found


class _Begun(BaseModel):
    """A line of ``….begun.jsonl``: the collected tests, or the announcement of one."""

    collected: list[Text] = Field(default_factory=list)
    nodeid: Text = ""
    started: float = 0.0
    guest_id: str | None = None


@dataclass(slots=True)
class WorkerRecords:
    """The content of a run's JSON lines, without conclusions."""

    collected: list[str] = field(default_factory=list)
    tests: list[TestEntry] = field(default_factory=list)
    guests: list[GuestEntry] = field(default_factory=list)
    forks: list[ForksEntry] = field(default_factory=list)
    coverage: list[TestCounters] = field(default_factory=list)
    #: Tests that were announced and have no end, as the entries that they get in the report.
    unfinished: list[TestEntry] = field(default_factory=list)
    #: Invalid lines, with file and line number; a torn last line is normal for a killed worker.
    damaged: list[str] = field(default_factory=list)


def read_workers(out: Path) -> WorkerRecords:
    """Read all workers' files, in the order of their names."""
    records = WorkerRecords()
    folders = [folder / WORKERS_DIR for folder in all_folders(out)]
    stems = {path.name.rsplit(".", 2)[0] for folder in folders for path in folder.glob("*.jsonl")}
    for stem in sorted(stems):
        tests = list(_lines(folders, f"{stem}.tests.jsonl", TestEntry, records.damaged))
        records.tests += tests
        records.guests += _lines(folders, f"{stem}.guests.jsonl", GuestEntry, records.damaged)
        records.coverage += _lines(folders, f"{stem}.coverage.jsonl", TestCounters, records.damaged)
        records.forks += _lines(folders, f"{stem}.forks.jsonl", ForksEntry, records.damaged)
        begun = list(_lines(folders, f"{stem}.begun.jsonl", _Begun, records.damaged))
        records.collected += [nodeid for line in begun for nodeid in line.collected]
        records.unfinished += _unfinished(stem.split(".", 1)[0], begun, tests)
    return records


_Line = TypeVar("_Line", bound=BaseModel)


def _lines(folders: Sequence[Path], name: str, model: type[_Line], damaged: list[str]) -> Iterator[_Line]:
    for path in (folder / name for folder in folders):
        if not path.exists():
            continue
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                yield model.model_validate_json(line)
            except ValidationError:
                damaged.append(f"{path.name}:{number}")


def _unfinished(worker: str, begun: Iterable[_Begun], tests: Iterable[TestEntry]) -> list[TestEntry]:
    """The announced tests that have no end; an end pairs with the first announcement of the same test."""
    ends = Counter(test.nodeid for test in tests)
    decision = never_ended(worker)
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
                verdict=decision.verdict,
                reason=decision.reason,
                signature=decision.signature,
                duration_s=0.0,
                started=line.started,
                worker=worker,
                guest_id=line.guest_id,
            )
        )
    return found
