"""Unloading while a client still has the device open, or a read pended.

NT keeps a driver in STOP_PENDING until the last handle is closed. The free guest unloads at once; what is checked there is
that nothing breaks: reads that were left come back, and the driver loads and works again.
"""

from __future__ import annotations

import pytest

from lab.guest.services import ServiceState
from lab.plugin.drivers import LoadedDriver
from lab.plugin.reader import DeviceReader
from lab.prints.stream import PrintStream
from suites.helpers import OPERATION_ABORTED, Ticks, slots, texts


@pytest.mark.lab_needs("unload_waits_for_handles")
@pytest.mark.lab_driver("sync")
def test_an_unload_waits_until_the_last_handle_is_closed(driver: LoadedDriver, reader: DeviceReader) -> None:
    done = reader.run(f"open h {{link}}; service stop {driver.service}; read h 20; service query {driver.service}; close h")
    assert done.reads[0].text == "hi, lyshark A"
    assert done.operations[3].returned == ServiceState.STOP_PENDING
    driver.wait_state(ServiceState.STOPPED)
    driver.start()


@pytest.mark.lab_needs("unload_waits_for_handles")
@pytest.mark.lab_driver("async")
def test_an_unload_waits_for_the_reads_that_ticks_still_complete(
    driver: LoadedDriver, reader: DeviceReader, ticks: Ticks
) -> None:
    done = reader.run(
        f"open h {{link}} overlapped=1; aread h 31 tag=a; aread h 32 tag=b; service stop {driver.service}; wait all; close h"
    )
    assert [done.by_tag[tag].text for tag in "ab"] == ["hello lyshark"] * 2
    ticks(31, 32)
    driver.wait_state(ServiceState.STOPPED)
    driver.start()


@pytest.mark.lab_driver("sync", reload=False)
def test_an_unload_under_an_open_handle_breaks_nothing(driver: LoadedDriver, reader: DeviceReader) -> None:
    reader.run(f"open h {{link}}; read h 20; service stop {driver.service}; close h")
    driver.wait_unloaded()
    driver.start()
    assert [r.text for r in reader.run("open h {link}; read h 20").reads] == slots("A")


@pytest.mark.lab_driver("async", reload=False)
def test_an_unload_with_pended_reads_gives_every_one_of_them_back(
    driver: LoadedDriver, reader: DeviceReader, prints: PrintStream
) -> None:
    done = reader.run(
        "open h {link} overlapped=1; aread h 30 tag=s; wait s; aread h 31 times=3; "
        f"service stop {driver.service}; wait all timeout=15000; close h"
    )
    # Back means completed by a tick, as on NT, or cancelled by the unload; never lost, and never both.
    ends = [read.error for read in done.reads]
    assert len(ends) == 4
    assert set(ends) <= {0, OPERATION_ABORTED}
    driver.wait_unloaded()
    assert len(texts(prints)) == 2 * ends.count(0)
    driver.start()


@pytest.mark.lab_driver("async", reload=False)
def test_the_driver_works_again_after_an_unload_with_pended_reads(driver: LoadedDriver, reader: DeviceReader) -> None:
    reader.run(f"open h {{link}} overlapped=1; aread h 31 times=3; service stop {driver.service}; close h")
    driver.wait_unloaded()
    driver.start()
    done = reader.run("open h {link} overlapped=1; aread h 40; wait all")
    assert [r.text for r in done.reads] == ["hello lyshark"]
