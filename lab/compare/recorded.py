"""A recorded run: the report of a folder, or of a file ``run.json``."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from lab.coverage.model import Coverage, read_coverage
from lab.errors import ConfigError
from lab.host.passed import passed_over
from lab.report.elsewhere import find
from lab.report.model import RunReport
from lab.report.runfiles import RUN_FILE

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A run to compare.

    Attributes:
        label: How people see it: the path that was given, or ``baseline NAME``.
        report: Its report.
        file: Where that was read.
        coverage: The lines of its drivers; None if they were not counted, or are not kept.
    """

    label: str
    report: RunReport
    file: Path = Path(RUN_FILE)
    coverage: Coverage | None = None


def read_recorded(path: Path, *, label: str = "") -> Recorded:
    """Read a run.

    Args:
        path: Folder of a run, or its ``run.json``.
        label: See :class:`Recorded`; empty: the path.

    Raises:
        ConfigError: There is none, or it was not written by this version of the lab.
    """
    file = find(path, RUN_FILE) if path.is_dir() else path
    try:
        report = RunReport.model_validate_json(file.read_bytes())
    except OSError as error:
        what = f"{path} is not the folder of a run: it has no {RUN_FILE}" if path.is_dir() else f"{path}: {error.strerror}"
        raise ConfigError(what, hint="give the folder of a run, for example out/latest, or its run.json") from None
    except ValueError as error:
        said = str(error).partition("\n")[0]
        raise ConfigError(
            f"is no {RUN_FILE} of this version of the lab: {said}",
            file=str(file),
            hint="run the suites again",
        ) from None
    return Recorded(label=label or str(path), report=report, file=file, coverage=_coverage(file.parent))


def _coverage(folder: Path) -> Coverage | None:
    with passed_over(_LOG, f"lines are not compared: the coverage in {folder} cannot be read", OSError, ValueError):
        return read_coverage(folder)
    return None
