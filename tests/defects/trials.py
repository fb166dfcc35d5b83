"""Invented runs with defects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.defects.catalogue import Change, Defect, Planted
from lab.gate.verdict import Verdict
from lab.report.model import ImageEntry, RunReport, TestEntry, kind_entry

BEGAN = 1_000.0


def planted(name: str = "ring-off", **changed: Any) -> Planted:
    """A defect of the driver ring that `test_a` must notice."""
    said = {
        "name": name,
        "what": "it counts one more",
        "fact": "it counts",
        "tests": ("suites/test_ring.py::test_a",),
        "changes": (Change(old="1", new="2"),),
    }
    defect = Defect.model_validate({**said, **changed})
    return Planted(defect=defect, driver="ring", folder=Path("driver/ring"), file="ring.c", place="ring.yaml:1")


def run_of(ended: str = "", **verdicts: Verdict) -> RunReport:
    """A run: each test began a second after the one before it, and took half a second."""
    tests = [
        TestEntry(
            nodeid=f"suites/test_ring.py::test_{name}",
            verdict=verdict,
            reason="" if verdict == "passed" else f"it is {verdict}",
            duration_s=0.5,
            started=BEGAN + number,
            worker="master",
        )
        for number, (name, verdict) in enumerate(verdicts.items(), 1)
    ]
    return RunReport(
        lab_version="1",
        started="2026-01-01T00:00:00",
        duration_s=1,
        exit_code=0,
        guest="a guest",
        image=ImageEntry(name="wine", key="k", guest="a guest", kind=kind_entry("wine"), capabilities=[]),
        accelerator="tcg",
        qemu="7.2",
        workers=1,
        drivers=[],
        totals={},
        prints=0,
        unattributed_prints=0,
        tests=tests,
        ended=ended,
    )
