"""Invented runs for the tests of comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.compare.recorded import Recorded
from lab.gate.verdict import Verdict
from lab.report.model import (
    Attempt,
    DriverEntry,
    ImageEntry,
    PrintEntry,
    ProcessorEntry,
    RunReport,
    TestEntry,
    kind_entry,
)

OTHER_DRIVER = [DriverEntry(name="ring", path="ring.sys", sha256="b" * 64, arch="x64", compiler="gcc 12")]


def prints_of(texts: Sequence[str]) -> list[PrintEntry]:
    return [PrintEntry(sequence=i, host_time=1.0 + i, source="wine", raw="", text=text) for i, text in enumerate(texts)]


def entry(
    name: str,
    verdict: Verdict = "passed",
    *,
    signature: str = "",
    prints: Sequence[str] = (),
    seconds: float = 1.0,
    waited: float = 0.0,
    earlier: Sequence[Attempt] = (),
) -> TestEntry:
    """A test of the driver ring; ``earlier`` are its attempts before the last one."""
    last = attempt(verdict, seconds=seconds)
    return TestEntry(
        nodeid=f"suites/test_ring.py::{name}",
        verdict=verdict,
        reason="" if verdict == "passed" else f"it is {verdict}",
        signature=signature,
        duration_s=seconds,
        started=1.0,
        worker="gw0",
        drivers=["ring"],
        prints=prints_of(prints),
        attempts=len(earlier) + 1,
        history=[*earlier, last] if earlier else [],
        processor=ProcessorEntry(wall_s=seconds, waited_s=waited, share=waited / seconds) if waited else None,
    )


def attempt(verdict: Verdict, *, seconds: float = 1.0, prints: Sequence[str] = ()) -> Attempt:
    return Attempt(verdict=verdict, reason="", duration_s=seconds, prints=prints_of(prints))


def recorded(tests: Sequence[TestEntry], *, label: str = "run", **changed: Any) -> Recorded:
    totals: dict[Verdict, int] = {}
    for test in tests:
        totals[test.verdict] = totals.get(test.verdict, 0) + 1
    report = RunReport(
        lab_version="0.1.0",
        started="2026-09-21T14:13:20Z",
        duration_s=10.0,
        exit_code=0,
        guest="a guest",
        image=ImageEntry(name="wine", key="3f" * 32, guest="a guest", kind=kind_entry("wine"), capabilities=[]),
        accelerator="tcg",
        qemu="7.2",
        workers=2,
        drivers=[DriverEntry(name="ring", path="ring.sys", sha256="a" * 64, arch="x64", compiler="gcc 12")],
        totals=totals,
        prints=0,
        unattributed_prints=0,
        tests=list(tests),
    )
    return Recorded(label=label, report=report.model_copy(update=changed))
