"""The files of a run's folder: ``meta.json``, written before the first test, and ``run.json``, the report of all tests."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from lab.config import KnownIssue
from lab.report.elsewhere import find, write_text
from lab.report.model import DriverEntry, ImageEntry, MachineEntry, RunReport, Text, WantedVerifier, as_json
from lab.vm.spec import Clock

META_FILE = "meta.json"
RUN_FILE = "run.json"
HTML_FILE = "report.html"


class RunMeta(BaseModel):
    """What is known about a run before its first test; kept in the out folder so that a dead run can be reported."""

    model_config = ConfigDict(extra="forbid")

    lab_version: str
    started: str = Field(description="UTC, ISO 8601")
    started_at: float = Field(description="the same moment in seconds since the epoch")
    command: list[str] = Field(default_factory=list)
    root: Text = Field(default="", description="pytest's root folder: the files of test ids are relative to it")
    guest: str
    image: ImageEntry
    accelerator: str
    clock: Clock = "real"
    qemu: str
    machine: MachineEntry | None = None
    verifier: WantedVerifier | None = None
    workers: int
    repeat: int = 1
    known: list[KnownIssue] = Field(default_factory=list, description="the lab file's known issues")
    project: Text = Field(default="", description="the user's project; the files of its drivers are relative to it")
    drivers: list[DriverEntry] = Field(default_factory=list)
    driver_paths: list[list[str]] = Field(
        default_factory=list, description="for each path that the user named, the names of the drivers that it means"
    )

    @property
    def named_drivers(self) -> list[str]:
        """Names of all drivers that the user named."""
        return [name for names in self.driver_paths for name in names]


def write_meta(out: Path, meta: RunMeta) -> None:
    """Write ``meta`` into the out folder for the process that assembles the report, also if pytest dies."""
    write_text(out, META_FILE, as_json(meta, indent=2) + "\n")


def read_meta(out: Path) -> RunMeta | None:
    """Read the file of :func:`write_meta`; None if the run ended before that."""
    path = find(out, META_FILE)
    return RunMeta.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None


def write_run(out: Path, report: RunReport) -> Path:
    """Write ``run.json`` into the out folder, in one step, or elsewhere if that folder is full; return its path."""
    return write_text(out, RUN_FILE, as_json(report, indent=2) + "\n")


def read_run(out: Path) -> RunReport | None:
    """Read ``run.json`` of an out folder; None when there is none."""
    path = find(out, RUN_FILE)
    return RunReport.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None
