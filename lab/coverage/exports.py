"""gcovr's reports of a run's coverage: HTML pages, lcov, Cobertura, and its own JSON."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab.coverage.assemble import Measured
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
    with tempfile.TemporaryDirectory(prefix="lab-gcovr-") as scratch:
        traces: list[Path] = []
        for number, driver in enumerate(drivers):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            sums = driver.all
            for name, note in driver.notes.files.items():
                (folder / name).write_bytes(note)
                if name in sums:
                    (folder / name).with_suffix(".gcda").write_bytes(sums[name].bytes())
            # One by one: two drivers may be for two processors, and each has its gcov.
            traces.append(Path(scratch) / f"{number}.json")
            # Without ^: gcovr takes an expression that does not begin with a slash for one about relative names.
            filters = [word for file in driver.notes.sources for word in ("--filter", f"{re.escape(file)}$")]
            _gcovr(project, ["--gcov-executable", driver.notes.gcov, *filters, "--json", str(traces[-1]), str(folder)])
        added = [word for trace in traces for word in ("--add-tracefile", str(trace))]
        files = {"--html-details": PAGE, "--lcov": LCOV, "--cobertura": COBERTURA, "--json": GCOVR_JSON}
        wanted = [word for option, name in files.items() for word in (option, str(out / name))]
        # A driver may lie outside of the project.
        _gcovr(project, [*added, "--filter", "/", *wanted, "--html-title", "Coverage of the drivers"])
    return tuple(out / name for name in files.values())


def _gcovr(project: Path, words: Sequence[str]) -> None:
    run([sys.executable, "-m", "gcovr", "--root", str(project.resolve()), *words], _TIMEOUT_S, cwd=project)
