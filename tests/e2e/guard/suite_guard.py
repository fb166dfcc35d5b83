"""Structured exception handling of a driver that Clang compiles. Run by tests/e2e/test_drvprobe.py, in the free guest."""

from __future__ import annotations

import re
import struct

import pytest

from lab.suite import DeviceReader, LoadedDriver, PrintStream, ctl_code

pytestmark = pytest.mark.lab_driver("guard")

READ, WRITE, STRUCTURE, COPY, CALL, DIVIDE, PROBE_READ, PROBE_WRITE, LOCK, RAISE, WALK, OPEN = (
    ctl_code("unknown", 0x900 + number, "neither") for number in range(12)
)
#: Nothing is mapped at address 16 of any process, and no program's memory reaches the other address.
NOWHERE, BEYOND = 0x10, 0xFFFF_8000_0000_0000
ACCESS_VIOLATION, MISALIGNED = 0xC0000005, 0x80000002
DIVIDE_BY_ZERO, ACCESS_DENIED = 0xC0000094, 0xC0000022


def orders(*given: tuple[int, int, int, int]) -> str:
    """A script of drvprobe that sends orders: control code, address, size, status."""
    sent = (f"ioctl h {code} hex={struct.pack('<QII', *order).hex()} out=4" for code, *order in given)
    return "; ".join(["open h {link}", *sent])


def test_each_kind_of_bad_access_is_caught(reader: DeviceReader, prints: PrintStream) -> None:
    codes = (READ, WRITE, STRUCTURE, COPY, CALL)
    done = reader.run(orders(*((code, NOWHERE, 128, 0) for code in codes), (DIVIDE, 0, 0, 0), (DIVIDE, 0, 25, 0)))
    *caught, divided, fine = done.transfers
    assert [one.status for one in caught] == [ACCESS_VIOLATION] * len(codes)
    assert divided.status == DIVIDE_BY_ZERO
    assert (fine.status, fine.data) == (0, struct.pack("<I", 4 + 2))
    prints.skip_load()
    for way in ("read", "write", "read", "read", "read"):
        prints.expect(re.compile(rf"guard: c0000005 by a {way} at 0x[18]0"))  # a structure may be read from its end
        prints.expect("guard: c0000005, step 1")
    prints.expect(["guard: c0000094", "guard: c0000094, step 1", "guard: 00000000, step 2"])


def test_what_the_kernel_raises_is_caught(reader: DeviceReader, prints: PrintStream) -> None:
    done = reader.run(
        orders(
            *((PROBE_READ, NOWHERE + 2, 4, 0), (PROBE_READ, BEYOND, 4, 0), (PROBE_READ, 1, 0, 0), (PROBE_WRITE, NOWHERE, 4, 0)),
            *((LOCK, NOWHERE, 4, 0), (RAISE, 0, 0, ACCESS_DENIED)),
        )
    )
    assert [one.status for one in done.transfers] == [
        *(MISALIGNED, ACCESS_VIOLATION, 0, ACCESS_VIOLATION),
        *(ACCESS_VIOLATION, ACCESS_DENIED),
    ]
    prints.expect("guard: the MDL is free", skip_others=True)


def test_blocks_run_in_the_order_of_nt(reader: DeviceReader, prints: PrintStream) -> None:
    [walked] = reader.run(orders((WALK, NOWHERE, 0, 0))).transfers
    assert (walked.status, walked.data) == (0, struct.pack("<I", 2))
    prints.skip_load()
    prints.expect(
        [
            "guard: c0000005 by a read at 0x10",
            "guard: inner finally, step 111, abnormal 1",
            "guard: outer handler c0000005, step 111",
            "guard: within a handler c000007f",
            "guard: handled c0000005, step 11",
            "guard: outer finally, step 111, abnormal 0",
            *(f"guard: way 0, step {step}, abnormal 0" for step in (11, 22)),
            *(f"guard: way 1, step {step}, abnormal 0" for step in (10, 20)),
            "guard: way 2, step 10, abnormal 1",
            *(f"guard: way 3, step {step}, abnormal 1" for step in (10, 20)),
            "guard: 00000000, step 2",
        ]
    )


@pytest.mark.lab_expect_fault(ACCESS_VIOLATION)
def test_what_is_not_guarded_still_is_a_fault(reader: DeviceReader, driver: LoadedDriver) -> None:
    reader.run(orders((OPEN, NOWHERE, 0, 0)))
