"""Loading and unloading by the service manager: states, error codes, and what is left behind."""

from __future__ import annotations

import pytest

from lab.guest.services import ServiceState
from lab.plugin.drivers import LoadedDriver
from lab.plugin.reader import DeviceReader
from lab.prints.stream import PrintStream
from suites.helpers import ALREADY_RUNNING, FILE_NOT_FOUND, NOT_ACTIVE

both = pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.lab_driver(n)) for n in ("sync", "async")])
sync = pytest.mark.lab_driver("sync", reload=False)


@both
def test_a_loaded_driver_is_running_and_its_link_opens(name: str, driver: LoadedDriver, reader: DeviceReader) -> None:
    assert (driver.name, driver.state()) == (name, ServiceState.RUNNING)
    assert reader.run("open h {link}").errors == [0]


@both
def test_unloading_stops_the_service_and_takes_the_link_away(name: str, driver: LoadedDriver, reader: DeviceReader) -> None:
    driver.stop()
    assert (driver.name, driver.wait_state(ServiceState.STOPPED)) == (name, ServiceState.STOPPED)
    assert reader.run("open h {link}").errors == [FILE_NOT_FOUND]


@both
def test_the_link_and_the_device_can_be_made_again_after_an_unload(
    name: str, driver: LoadedDriver, reader: DeviceReader
) -> None:
    driver.stop()
    driver.wait_state(ServiceState.STOPPED)
    driver.start()  # fails where the unload has left the link or the device
    assert driver.name == name
    assert [r.error for r in reader.run("open h {link}; read h 20").reads] == [0]


@sync
def test_starting_a_loaded_driver_is_refused_with_error_1056_and_leaves_it_at_work(
    driver: LoadedDriver, reader: DeviceReader
) -> None:
    done = reader.run(f"service start {driver.service}; service query {driver.service}; open h {{link}}; read h 20")
    assert done.errors == [ALREADY_RUNNING, 0, 0, 0]
    assert done.operations[1].returned == ServiceState.RUNNING


@sync
def test_stopping_an_unloaded_driver_is_refused_with_error_1062(driver: LoadedDriver, reader: DeviceReader) -> None:
    done = reader.run(f"service stop {driver.service}; service stop {driver.service}; service start {driver.service}")
    assert done.errors == [0, NOT_ACTIVE, 0]


@sync
def test_the_service_manager_tells_the_state_at_every_step(driver: LoadedDriver, reader: DeviceReader) -> None:
    done = reader.run("; ".join(f"service {verb} {driver.service}" for verb in ("query", "stop", "query", "start", "query")))
    stopped, running = ServiceState.STOPPED, ServiceState.RUNNING
    assert [op.returned for op in done.operations] == [running, stopped, stopped, running, running]


@pytest.mark.lab_driver("sync", "async")
def test_loading_and_unloading_print_nothing(drivers: dict[str, LoadedDriver], prints: PrintStream) -> None:
    for driver in drivers.values():
        driver.reload()
        driver.stop()
    prints.expect_none()
