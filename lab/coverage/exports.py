"""gcovr's reports of a run's coverage: HTML pages, lcov, Cobertura, and its own JSON."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab.coverage.assemble import Measured
from lab.coverage.gcno import compiled_in
from lab.host.process import run

_TIMEOUT_S = 300.0
#: What CI systems and diff-cover read.
COBERTURA, LCOV, PAGE, GCOVR_JSON = "cobertura.xml", "lcov.info", "index.html", "gcovr.json"


def write_exports(out: Path, drivers: Sequence[Measured], *, project: Path) -> tuple[Path, ...]:
    """Write the reports.

    Args:
        out: Their folder.
        drivers: Those that counted their lines.
        project: Names of files are relative to it.

    Returns:
        The files that a reader opens.

    Raises:
        HostToolError: gcovr, or gcov, failed.
    """
    root = project.resolve()
    with tempfile.TemporaryDirectory(prefix="lab-gcovr-") as scratch:
        # One by one: two drivers may be for two processors, and each has its gcov.
        traces = [_trace(Path(scratch) / str(number), driver, root) for number, driver in enumerate(drivers)]
        added = [word for trace in traces for word in ("--add-tracefile", str(trace))]
        # A driver may lie outside of the project, so the filter lets all files through.
        added += ["--filter", "/"]
        files = {"--html-details": PAGE, "--lcov": LCOV, "--cobertura": COBERTURA, "--json": GCOVR_JSON}
        added += [word for option, name in files.items() for word in (option, str(out / name))]
        # gcovr reads the sources again, for its pages and for the checksums in lcov: here they are as they were built.
        built = Path(scratch).resolve() / "built"
        _below(built, root).mkdir(parents=True)
        for driver in drivers:
            for file, text in driver.notes.texts.items():
                _write(_below(built, Path(file)), text)
        _gcovr(_below(built, root), [*added, "--html-title", "Coverage of the drivers"])
        for name in (LCOV, COBERTURA):  # both name the root
            (out / name).write_bytes((out / name).read_bytes().replace(os.fsencode(built), b""))
    return tuple(out / name for name in files.values())


def _trace(scratch: Path, driver: Measured, root: Path) -> Path:
    """Make gcovr's JSON of one driver.

    The names in notes are relative to the folder in which the compiler ran, and gcov writes files into the folder in which it
    runs. So it runs in a copy of the user's folder, with the sources alone, as they were built. A source that the compiler
    found through a symbolic link is a file in its place there.
    """
    tree, objects = scratch / "tree", scratch / "objects"
    folder = _below(tree, driver.notes.folder)
    for needed in (objects, folder):
        needed.mkdir(parents=True)
    places: dict[str, Path] = {}
    for name, file in driver.notes.names.items():
        place = _below(tree, Path(name))
        _write(place, driver.notes.texts[file])
        places[str(place.relative_to(tree))] = Path(file)
    sums = driver.all
    for name, note in driver.notes.files.items():
        (objects / name).write_bytes(compiled_in(note, folder))
        if name in sums:
            (objects / name).with_suffix(".gcda").write_bytes(sums[name].bytes())
    trace = scratch / "trace.json"
    # Without ^: gcovr takes an expression that does not begin with a slash for one about relative names.
    filters = [word for file in places for word in ("--filter", f"{re.escape(str(tree / file))}$")]
    where = ["--gcov-executable", driver.notes.gcov, "--gcov-object-directory", str(folder)]
    _gcovr(tree, [*where, *filters, "--json", str(trace), str(objects)])
    found = json.loads(trace.read_text(encoding="utf-8"))
    for part in found["files"]:
        part["file"] = os.path.relpath(places[part["file"]], root)
    trace.write_text(json.dumps(found), encoding="utf-8")
    return trace


def _below(tree: Path, path: Path) -> Path:
    """The place of an absolute path in the copy."""
    return tree / path.relative_to(path.anchor)


def _write(file: Path, text: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text)


def _gcovr(root: Path, words: Sequence[str]) -> None:
    run([sys.executable, "-m", "gcovr", "--root", str(root), *words], _TIMEOUT_S, cwd=root)
