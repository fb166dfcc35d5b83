"""Loading and unloading by the service manager: states, error codes, and what remains after an unload."""

from __future__ import annotations

import pytest

from lab.guest.services import ServiceState
from lab.plugin.drivers import LoadedDriver
from lab.plugin.reader import DeviceReader
from lab.prints.stream import PrintStream
from suites.helpers import ALREADY_RUNNING, FILE_NOT_FOUND, INVALID_CONTROL, NOT_ACTIVE

both = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.lab_driver(name, reload=False)) for name in ("sync", "async")]
)
sync = pytest.mark.lab_driver("sync", reload=False)


@both
def test_sc_unloads_the_driver_and_loads_it_again(name: str, driver: LoadedDriver) -> None:
    driver.stop()
    assert (driver.name, driver.wait_state(ServiceState.STOPPED)) == (name, ServiceState.STOPPED)
    driver.start()
    assert driver.state() == ServiceState.RUNNING


@both
def test_unloading_takes_the_link_away(name: str, driver: LoadedDriver, reader: DeviceReader) -> None:
    done = reader.run(
        f"open a {{link}}; close a; service stop {driver.service}; open b {{link}}; service start {driver.service}"
    )
    assert (driver.name, done.errors) == (name, [0, 0, 0, FILE_NOT_FOUND, 0])


@both
def test_the_link_and_the_device_can_be_made_again_after_an_unload(
    name: str, driver: LoadedDriver, reader: DeviceReader
) -> None:
    # The second load fails if the unload left the link or the device.
    done = reader.run(f"service stop {driver.service}; service start {driver.service}; open h {{link}}; read h 13")
    assert (driver.name, done.errors) == (name, [0, 0, 0, 0])


@sync
def test_starting_a_loaded_driver_is_refused_with_error_1056_and_leaves_it_at_work(
    driver: LoadedDriver, reader: DeviceReader
) -> None:
    done = reader.run(f"service start {driver.service}; service query {driver.service}; open h {{link}}; read h 20")
    assert done.errors == [ALREADY_RUNNING, 0, 0, 0]
    assert done.operations[1].returned == ServiceState.RUNNING


@sync
def test_stopping_an_unloaded_driver_is_refused(driver: LoadedDriver, reader: DeviceReader) -> None:
    done = reader.run(f"service stop {driver.service}; service stop {driver.service}; service start {driver.service}")
    # Which of the two is the service manager's choice, not the driver's: Windows has 1062, an NT-like kernel 1052.
    assert done.errors in ([0, NOT_ACTIVE, 0], [0, INVALID_CONTROL, 0])


@sync
def test_the_service_manager_tells_the_state_at_every_step(driver: LoadedDriver, reader: DeviceReader) -> None:
    done = reader.run("; ".join(f"service {verb} {driver.service}" for verb in ("query", "stop", "query", "start", "query")))
    stopped, running = ServiceState.STOPPED, ServiceState.RUNNING
    assert [op.returned for op in done.operations] == [running, stopped, stopped, running, running]


@both
def test_loading_and_unloading_print_nothing(
    name: str, driver: LoadedDriver, reader: DeviceReader, prints: PrintStream
) -> None:
    reader.run("; ".join([f"service stop {driver.service}; service start {driver.service}"] * 2))
    assert driver.name == name
    prints.expect_none()
