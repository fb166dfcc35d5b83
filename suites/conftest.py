"""Fixtures of the suites on top of the lab's own."""

from __future__ import annotations

import pytest

from lab.guest.probe import ProbeResult, Reader
from lab.plugin.drivers import LoadedDriver
from lab.prints.stream import PrintStream
from suites.helpers import Probe, Tick, Ticks, expect_ticks


@pytest.fixture
def probe(reader: Reader, driver: LoadedDriver) -> Probe:
    """Runs a drvprobe script in one guest process; ``{link}`` in it stands for the driver's first link."""

    def run(script: str, *, timeout: float = 60) -> ProbeResult:
        return reader.run(script.replace("{link}", driver.package.links[0]), timeout=timeout)

    return run


@pytest.fixture
def ticks(prints: PrintStream) -> Ticks:
    """Waits for the pairs of prints of the async driver's ticks: ``ticks(13, 13)``."""

    def run(*lengths: int, timeout: float = 20) -> list[Tick]:
        __tracebackhide__ = True
        return expect_ticks(prints, lengths, timeout=timeout)

    return run
