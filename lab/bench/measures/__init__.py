"""One module for each measure, and the list of all measures in the order in which a bench runs them."""

from __future__ import annotations

from lab.bench.measures.boot import BootMeasure
from lab.bench.measures.clock import ClockMeasure
from lab.bench.measures.coverage import CoverageMeasure
from lab.bench.measures.files import FilesMeasure
from lab.bench.measures.kd import KdMeasure
from lab.bench.measures.kdfork import KdForkMeasure
from lab.bench.measures.loop import LoopMeasure
from lab.bench.measures.memory import MemoryMeasure
from lab.bench.measures.overhead import OverheadMeasure
from lab.bench.measures.peer import PeerMeasure
from lab.bench.measures.prints import PrintsMeasure
from lab.bench.measures.suites import SuitesMeasure
from lab.bench.measures.winrm import WinRmMeasure
from lab.bench.protocol import Measure


def all_measures() -> tuple[Measure, ...]:
    """Every measure; the short ones first, those that need the host without other guests last."""
    return (
        KdMeasure(),
        WinRmMeasure(),
        FilesMeasure(),
        PrintsMeasure(),
        OverheadMeasure(),
        BootMeasure(),
        KdForkMeasure(),
        MemoryMeasure(),
        PeerMeasure(),
        LoopMeasure(),
        SuitesMeasure(),
        ClockMeasure(),
        CoverageMeasure(),
    )
