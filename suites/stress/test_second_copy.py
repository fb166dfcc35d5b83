"""A second copy of a driver is loaded while the first is at work: the name of its device is taken."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from lab.errors import ServiceError
from lab.guest.services import ServiceState
from lab.live.payload import guest_path
from lab.plugin.drivers import LoadedDriver
from lab.plugin.reader import DeviceReader
from lab.suite import LiveGuest


@contextlib.contextmanager
def second_service(driver: LoadedDriver, guest: LiveGuest) -> Iterator[str]:
    """A service of a copy of the driver's file: a kernel loads one file once."""
    image, service = guest_path(driver.package.image), f"{driver.service}Twin"
    copy = image.replace(".sys", "-twin.sys")
    assert guest.transport.run(f"copy /b {image} {copy}", timeout=30).exit_code == 0
    guest.services.create(service, copy, group=driver.package.load_order_group)
    try:
        yield service
    finally:
        guest.services.delete(service)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.lab_driver(name)) for name in ("sync", "async")])
def test_a_second_copy_is_refused_and_the_first_works_on(
    name: str, driver: LoadedDriver, reader: DeviceReader, guest: LiveGuest
) -> None:
    with second_service(driver, guest) as twin:
        with pytest.raises(ServiceError):
            guest.services.start(twin)
        assert guest.services.state(twin) == ServiceState.STOPPED
        assert (driver.name, driver.state()) == (name, ServiceState.RUNNING)
        assert [read.text for read in reader.read(13)] == ["hi, lyshark A" if name == "sync" else "hello lyshark"]
