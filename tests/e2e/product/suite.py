"""The tests of the boiler's makers; :mod:`tests.e2e.test_product` runs it in a copy of this folder."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

from lab.plugin.drivers import LoadedDriver
from lab.plugin.fixtures import Client
from lab.plugin.reader import DeviceReader
from lab.prints.stream import PrintStream


def wide(text: str) -> str:
    return text.encode("utf-16-le").hex()


@pytest.mark.lab_driver("meter")
def test_the_drivers_find_what_the_manifest_promises(prints: PrintStream, drivers: Mapping[str, LoadedDriver]) -> None:
    assert list(drivers) == ["meter", "gauge"]
    assert [text.strip() for text in prints.texts()] == [
        "gauge: reads 42",
        "meter: built by the manifest, banner of the boiler",
        "meter: gauge 00000000",
        "meter: Greeting is 1:" + wide('hello "boiler"\0'),
        "meter: Level is 4:07000000",
        "meter: Home is 2:" + wide("%SystemRoot%\\boiler\0"),
        "meter: Names is 7:" + wide("north\0south\0\0"),
        "meter: Serial is 11:0200000001000000",
        "meter: Key is 3:0102ff",
        "meter: file 00000000 curve of the boiler",
        "meter: file 00000000 limits of the boiler",
    ]


@pytest.mark.lab_driver("meter")
def test_the_client_of_the_product_asks_the_driver(client: Client) -> None:
    assert client("meterctl", "7").check().text.split() == ["21", "21", "0"]


@pytest.mark.lab_driver("meter")
def test_the_lab_s_own_client_asks_it_too(reader: DeviceReader) -> None:
    answer = reader.ioctl(0x222004, out=4)
    assert (answer.error, answer.data) == (0, struct.pack("<I", 21))


@pytest.mark.lab_driver("meter")
def test_what_was_loaded_first_is_unloaded_last(prints: PrintStream, drivers: Mapping[str, LoadedDriver]) -> None:
    for name in ("meter", "gauge"):
        drivers[name].stop()
        drivers[name].wait_unloaded()
    assert [record.text.strip() for record in prints.drain()][-2:] == ["meter: unloaded", "gauge: unloaded"]


@pytest.mark.lab_driver("finished")
def test_a_finished_driver(prints: PrintStream, driver: LoadedDriver) -> None:
    prints.expect("finished: 42")
    driver.stop()
    prints.expect("finished: unloaded")


@pytest.mark.lab_driver("rusty")
def test_a_driver_in_rust(prints: PrintStream, driver: LoadedDriver) -> None:
    prints.expect("rusty: 42")
    driver.stop()
    prints.expect("rusty: unloaded")


@pytest.mark.lab_driver("boilerpnp")
def test_a_package_is_installed(driver: LoadedDriver) -> None:
    driver.reload()
