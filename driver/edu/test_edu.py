"""The edu driver on QEMU's device: what docs/specs/edu.rst of QEMU promises, through a driver.

Of the device's abilities the free guest has registers and its interrupt pin. It has no physical memory to give to a driver, so
nothing of the device's DMA is checked there, nor is its MSI.
"""

from __future__ import annotations

import math
import re

import pytest

from lab.plugin.drivers import LoadedDriver
from lab.plugin.fixtures import Client
from lab.prints.stream import PrintStream

pytestmark = [pytest.mark.lab_driver("edu", reload=False), pytest.mark.lab_needs("pci_devices")]


def number(client: Client, *words: str) -> int:
    """The driver's answer."""
    return int(client("edutool", *words).check().text, 16)


@pytest.mark.lab_driver("edu")
def test_the_driver_finds_the_device_and_its_interrupt(driver: LoadedDriver, prints: PrintStream) -> None:
    assert driver.package.name == "edu"
    found = [text for text in prints.texts() if text.startswith("edu: slot")]
    assert len(found) == 1
    assert re.fullmatch(r"edu: slot \d+, registers at 0x[0-9a-f]+, identification 0x010000ed", found[0].strip())


def test_the_device_identifies_itself(client: Client) -> None:
    assert number(client, "identify") == 0x010000ED


@pytest.mark.parametrize("value", [0, 1, 0x12345678, 0xFFFFFFFF])
def test_the_liveness_register_inverts_what_is_written(client: Client, value: int) -> None:
    assert number(client, "invert", hex(value)) == ~value & 0xFFFFFFFF


@pytest.mark.parametrize("n", [0, 1, 10, 12, 13])
def test_the_device_computes_factorials_modulo_two_to_the_32(client: Client, n: int) -> None:
    assert number(client, "factorial", str(n)) == math.factorial(n) & 0xFFFFFFFF


@pytest.mark.lab_needs("interrupts")
def test_an_interrupt_completes_the_request_that_waits_for_it(client: Client, prints: PrintStream) -> None:
    assert [number(client, "interrupt", value) for value in ("0x1", "0x80000000", "0x2a")] == [1, 0x80000000, 0x2A]
    prints.expect(["edu: interrupt 0x00000001", "edu: interrupt 0x80000000", "edu: interrupt 0x0000002a"])


@pytest.mark.lab_needs("interrupts")
def test_the_device_says_by_an_interrupt_that_a_factorial_is_there(client: Client, prints: PrintStream) -> None:
    assert number(client, "factorial-by-interrupt", "10") == math.factorial(10)
    prints.expect(["edu: interrupt 0x00000001"])


def test_a_question_that_the_driver_does_not_understand_is_refused(client: Client) -> None:
    """Nothing is raised by a zero: the request would wait for ever."""
    assert client("edutool", "interrupt", "0").exit_code == 87


@pytest.mark.lab_needs("dma")
def test_the_device_takes_memory_and_gives_it_back(client: Client) -> None:
    assert number(client, "copy", "0x12345678") == 0x12345678
