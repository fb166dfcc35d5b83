"""Loading and unloading again and again, at bad moments."""

from __future__ import annotations

import pytest

from lab.guest.services import ServiceState
from lab.plugin.drivers import LoadedDriver
from lab.plugin.reader import DeviceReader
from suites.helpers import Ticks, slots


@pytest.mark.lab_driver("sync", reload=False)
def test_reloads_in_a_row_start_at_slot_a_each_time(driver: LoadedDriver, reader: DeviceReader) -> None:
    once = f"service stop {driver.service}; service start {driver.service}; open h {{link}}; read h 20; close h"
    done = reader.run("; ".join([once] * 5), timeout=120)
    assert done.errors == [0] * 25
    assert [r.text for r in done.reads] == slots("A" * 5)


@pytest.mark.lab_driver("async", reload=False)
def test_unloads_at_every_phase_of_the_tick_leave_no_timer_behind(
    driver: LoadedDriver, reader: DeviceReader, ticks: Ticks
) -> None:
    # An unload that leaves the timer armed, or lets a running DPC arm it again, is a fault within the next second.
    pauses = [975, 990, 1000]
    once = f"sleep {{}}; service stop {driver.service}; service start {driver.service}"
    done = reader.run("; ".join(once.format(ms) for ms in pauses) + "; sleep 1100", timeout=120)
    assert set(done.errors) == {0}
    assert [r.text for r in reader.run("open h {link} overlapped=1; aread h 70; wait all").reads] == ["hello lyshark"]
    ticks(70)


@pytest.mark.lab_driver("async", reload=False)
def test_nothing_happens_after_the_last_unload(driver: LoadedDriver, reader: DeviceReader) -> None:
    done = reader.run(f"sleep 995; service stop {driver.service}; sleep 1500; service start {driver.service}")
    assert done.errors == [0] * 4
    assert driver.state() == ServiceState.RUNNING
