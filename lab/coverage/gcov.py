"""From counters to lines, by gcov: the program belongs to the compiler that wrote the notes."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lab.coverage.gcda import Counters
from lab.errors import HostToolError
from lab.host.process import run
from lab.toolchain.instrument import Notes

_TIMEOUT_S = 300.0
#: Files of counters that one process reads: a command line has a limit.
_AT_ONCE = 200

#: Name of a note file → the counters of that source.
CounterSet = Mapping[str, Counters]
#: Source file → line → how often it ran. Lines without code are left out.
Lines = dict[Path, dict[int, int]]


def lines_of(notes: Notes, sets: Sequence[CounterSet]) -> list[Lines]:
    """The lines of a driver for each of several sets of counters.

    Args:
        notes: Of the driver's build. Files that are not the user's own, such as the compiler's headers, are left out.
        sets: For example those of each test. A source without counters in a set never ran there.

    Raises:
        HostToolError: gcov failed, or refused the counters.
    """
    found: list[Lines] = [defaultdict(dict) for _ in sets]
    jobs = [(number, name) for number, _ in enumerate(sets) for name in notes.files]
    for at in range(0, len(jobs), _AT_ONCE):
        for (number, _), (file, line, count) in _read(notes, sets, jobs[at : at + _AT_ONCE]):
            lines = found[number][file]
            # A line of a header, or of a function that was inlined, belongs to several functions and sources.
            lines[line] = lines.get(line, 0) + count
    return found


def _read(
    notes: Notes, sets: Sequence[CounterSet], jobs: Sequence[tuple[int, str]]
) -> Iterator[tuple[tuple[int, str], tuple[Path, int, int]]]:
    with tempfile.TemporaryDirectory(prefix="lab-gcov-") as scratch:
        folder, names = Path(scratch), []
        for place, (number, name) in enumerate(jobs):
            note = folder / f"{place}.gcno"
            note.write_bytes(notes.files[name])
            counters = sets[number].get(name)
            if counters is not None:
                note.with_suffix(".gcda").write_bytes(counters.bytes())
            names.append(note.name)
        argv = [notes.gcov, "--json-format", "--stdout", *names]
        done = run(argv, _TIMEOUT_S, cwd=folder, hint="apt-get install gcc-mingw-w64-x86-64 gcc-mingw-w64-i686")
        if "mismatch" in done.stderr:
            # gcov then shows lines without counts, and ends with 0.
            hint = "build the driver again: delete the folder `coverage` in its folder of builds"
            raise HostToolError(argv[:1], done.exit_code, message=f"{notes.gcov} refused counters: {done.stderr}", hint=hint)
        answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if len(answers) != len(jobs):
            raise HostToolError(argv[:1], done.exit_code, message=f"{notes.gcov} read {len(answers)} of {len(jobs)} files")
    own = {Path(file) for file in notes.sources}
    for job, answer in zip(jobs, answers, strict=True):
        for part in answer["files"]:
            file = notes.source(part["file"])
            if file in own:
                for line in part["lines"]:
                    yield job, (file, int(line["line_number"]), int(line["count"]))
