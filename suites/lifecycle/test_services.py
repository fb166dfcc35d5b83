"""Loading and unloading by the service manager: states, error codes, and what is left behind."""

from __future__ import annotations

import pytest

from lab.errors import ServiceError
from lab.guest.probe import Reader
from lab.guest.services import ServiceState
from lab.plugin.drivers import LoadedDriver
from lab.prints.stream import PrintStream
from suites.helpers import ALREADY_RUNNING, FILE_NOT_FOUND, NOT_ACTIVE, Probe

both = pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.lab_driver(n)) for n in ("sync", "async")])
sync = pytest.mark.lab_driver("sync", reload=False)


@both
def test_a_loaded_driver_is_running_and_its_link_opens(name: str, driver: LoadedDriver, probe: Probe) -> None:
    assert (driver.name, driver.state()) == (name, ServiceState.RUNNING)
    assert probe("open h {link}").errors == [0]


@both
def test_unloading_stops_the_service_and_takes_the_link_away(name: str, driver: LoadedDriver, probe: Probe) -> None:
    driver.stop()
    assert (driver.name, driver.wait_state(ServiceState.STOPPED)) == (name, ServiceState.STOPPED)
    assert probe("open h {link}").errors == [FILE_NOT_FOUND]


@both
def test_the_link_and_the_device_can_be_made_again_after_an_unload(name: str, driver: LoadedDriver, probe: Probe) -> None:
    driver.stop()
    driver.wait_state(ServiceState.STOPPED)
    driver.start()  # fails where the unload has left the link or the device
    assert driver.name == name
    assert [r.error for r in probe("open h {link}; read h 20").reads] == [0]


@sync
def test_starting_a_loaded_driver_is_refused_with_error_1056(driver: LoadedDriver) -> None:
    with pytest.raises(ServiceError) as refused:
        driver.start()
    assert refused.value.exit_code == ALREADY_RUNNING
    assert driver.state() == ServiceState.RUNNING


@sync
def test_a_refused_second_start_leaves_the_driver_at_work(driver: LoadedDriver, reader: Reader) -> None:
    with pytest.raises(ServiceError):
        driver.start()
    [read] = reader.read(length=20)
    assert (read.error, read.returned) == (0, 20)


@sync
def test_stopping_an_unloaded_driver_is_refused_with_error_1062(driver: LoadedDriver) -> None:
    driver.stop()
    driver.wait_state(ServiceState.STOPPED)
    with pytest.raises(ServiceError) as refused:
        driver.stop()
    assert refused.value.exit_code == NOT_ACTIVE


@pytest.mark.lab_driver("sync", "async")
def test_loading_and_unloading_print_nothing(drivers: dict[str, LoadedDriver], prints: PrintStream) -> None:
    for driver in drivers.values():
        driver.reload()
        driver.stop()
    prints.expect_none()
